"""User instructions per request (by valgrind) and system calls per request (by perf).

Both repeat within a percent even on a busy machine, so they show what a change did when times
cannot be trusted.
"""

import re
import subprocess
import tempfile
import time
from pathlib import Path

from . import install, load
from .load import Column
from .machine import Cores
from .rounds import Running, backends, proxy

WARM, COUNTED = 2_000, 10_000
SYSTEM_CALLS = "raw_syscalls:sys_enter"


def run(peers: list, columns: list, binaries: dict, cores: Cores) -> None:
    """Prints both as a table in Markdown."""
    valgrind = install.tool("valgrind")
    print("Thousands of user instructions / system calls a request.\n")
    print("| proxy | " + " | ".join(column.title for column in columns) + " |")
    print("|---|" + "--:|" * len(columns))
    with tempfile.TemporaryDirectory() as name, backends(Path(name), cores):
        for peer in peers:
            binary = binaries[peer.name]
            profile = install.ROOT / "target" / f"callgrind.{peer.name}"
            for old in profile.parent.glob(profile.name + ".*"):
                old.unlink()
            under = (valgrind, "--tool=callgrind", f"--callgrind-out-file={profile}")
            with proxy(peer, binary, Path(name), cores.proxy, under=under) as running:
                found = [instructions(running, column, cores, profile) for column in columns]
            with proxy(peer, binary, Path(name), cores.proxy) as running:
                calls = [system_calls(running, column, cores) for column in columns]
            cells = [f"{first:.1f} / {second}" for first, second in zip(found, calls)]
            print(f"| {peer.title} | " + " | ".join(cells) + " |", flush=True)
    print("\nProfiles for callgrind_annotate: target/callgrind.PROXY.NUMBER, one a column")


def instructions(running: Running, column: Column, cores: Cores, profile: Path) -> float:
    """Thousands of instructions between two points, over the requests between them."""
    port = running.peer.port
    load.run(column, port, cores.load, requests=WARM)
    control(running, "--zero")
    outcome = load.run(column, port, cores.load, requests=COUNTED)
    before = set(profile.parent.glob(profile.name + ".*"))
    control(running, "--dump")
    dumps = set(profile.parent.glob(profile.name + ".*")) - before
    return sum(map(total, dumps)) / outcome.done / 1000


def control(running: Running, order: str) -> None:
    """Tells callgrind something."""
    command = ["callgrind_control", order, str(running.process.pid)]
    subprocess.run(command, check=True, capture_output=True)


def total(dump: Path) -> int:
    """The instructions of one dump."""
    found = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(errors="replace"), re.M)
    return int(found[1]) if found else 0


def system_calls(running: Running, column: Column, cores: Cores) -> str:
    """System calls of all threads over the requests; a dash where perf may not count them."""
    port = running.peer.port
    load.run(column, port, cores.load, requests=WARM)
    command = ["perf", "stat", "-x,", "-e", SYSTEM_CALLS, "-p", str(running.process.pid)]
    try:
        counting = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        return "-"
    # It does not say when it has begun.
    time.sleep(0.5)
    outcome = load.run(column, port, cores.load, requests=COUNTED)
    counting.send_signal(2)
    found = re.search(r"^(\d+),", counting.communicate()[1], re.M)
    return f"{int(found[1]) / outcome.done:.2f}" if found else "-"
