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


def cell(samples: list) -> str:
    """The median processor time of a request; a dash where no run was quiet."""
    return f"{rounds.median(samples, 'microseconds'):.1f}" if samples else "-"


def table(found: dict, peers: list) -> None:
    """The table in Markdown, on stdout."""
    shown = [c for c in load.COLUMNS if any(c.name in found["samples"][p.name] for p in peers)]
    titles = [column.title for column in shown]
    if found["memory"]:
        titles += ["idle, MiB", "used connection, KiB", "10,000 endpoints, MiB"]
    print(f"{found['date']}; {found['machine']}; {found['discarded']} noisy runs thrown away")
    print("Processor time of the proxy in microseconds a request, medians; then resident memory.\n")
    print("| proxy | " + " | ".join(titles) + " |")
    print("|---|" + "--:|" * len(titles))
    for peer in peers:
        cells = [cell(found["samples"][peer.name][column.name]) for column in shown]
        kept = found["memory"].get(peer.name)
        if kept:
            cells.append(f"{kept['idle'] / MIB:.1f}")
            cells.append(f"{kept['connection'] / 1024:.1f}")
            cells.append(f"{kept['endpoints'] / MIB:.1f}")
        print(f"| {peer.title} | " + " | ".join(cells) + " |")


def plain(found: dict) -> dict:
    """The same as values for JSON, every sample included."""
    samples = {
        peer: {column: [dataclasses.asdict(each) for each in kept] for column, kept in columns.items()}
        for peer, columns in found["samples"].items()
    }
    return {**found, "samples": samples}
