"""What is printed: a line a run while measuring, one table of medians at the end."""

import dataclasses
import sys

from . import load, rounds
from .load import Column
from .peers import Peer
from .rounds import Sample

MIB = 1024 * 1024


def progress(number: int, peer: Peer, column: Column, found: Sample) -> None:
    """One run, on stderr."""
    print(
        f"round {number + 1}  {column.name:8} {peer.name:14}"
        f"{found.microseconds:8.2f} us/request {found.rps:9.0f} rps"
        f"{found.latency * 1e6:9.0f} us latency  others {found.strangers:.2f}",
        file=sys.stderr,
        flush=True,
    )


def time_of(found: dict, peer: str, column: str) -> tuple:
    """The median processor time of a request, and a mark where no run of it was quiet."""
    quiet, noisy = found["samples"][peer][column], found["noisy"][peer][column]
    return rounds.median(quiet or noisy, "microseconds"), "" if quiet else "~"


def cell(found: dict, peer: str, column: str) -> str:
    """The same as text."""
    median, mark = time_of(found, peer, column)
    return f"{mark}{median:.1f}"


def table(found: dict, peers: list) -> None:
    """The table in Markdown, on stdout."""
    shown = [c for c in load.COLUMNS if any(c.name in found["samples"][p.name] for p in peers)]
    titles = [column.title for column in shown]
    if found["memory"]:
        titles += ["idle, MiB", "used connection, KiB", "10,000 endpoints, MiB"]
    discarded = sum(len(runs) for each in found["noisy"].values() for runs in each.values())
    print(f"{found['date']}; {found['machine']}; {discarded} noisy runs thrown away")
    print("Processor time of the proxy in microseconds a request, medians; then resident memory.")
    print("A ~ marks a median of runs in which others used the cores too.\n")
    print("| proxy | " + " | ".join(titles) + " |")
    print("|---|" + "--:|" * len(titles))
    for peer in peers:
        cells = [cell(found, peer.name, column.name) for column in shown]
        kept = found["memory"].get(peer.name)
        if kept:
            cells.append(f"{kept['idle'] / MIB:.1f}")
            cells.append(f"{kept['connection'] / 1024:.1f}")
            cells.append(f"{kept['endpoints'] / MIB:.1f}")
        print(f"| {peer.title} | " + " | ".join(cells) + " |")
    shares(found, shown, titles)


def shares(found: dict, shown: list, titles: list) -> None:
    """What Dyelane takes of what each Envoy does, column by column, on stdout."""
    for rival in ("envoy", "envoy-full"):
        if "dyelane" not in found["samples"] or rival not in found["samples"]:
            continue
        cells = []
        for column in shown:
            ours, mark = time_of(found, "dyelane", column.name)
            theirs, more = time_of(found, rival, column.name)
            cells.append(f"{mark or more}{ours / theirs:.2f}")
        for name in ("idle", "connection", "endpoints")[: len(titles) - len(shown)]:
            ours, theirs = (found["memory"][each][name] for each in ("dyelane", rival))
            cells.append(f"{ours / theirs:.2f}")
        print(f"| *Dyelane, of {rival}* | " + " | ".join(cells) + " |")


def plain(found: dict) -> dict:
    """The same as values for JSON, every sample included."""
    values = {
        kind: {
            peer: {column: list(map(dataclasses.asdict, kept)) for column, kept in columns.items()}
            for peer, columns in found[kind].items()
        }
        for kind in ("samples", "noisy")
    }
    return {**found, **values}
