"""User instructions per request, counted by valgrind: they repeat even on a busy machine."""

import re
import subprocess
import tempfile
from pathlib import Path

from . import install, load
from .machine import Cores
from .rounds import backends, proxy

WARM, COUNTED = 2_000, 10_000


def run(peers: list, columns: list, binaries: dict, cores: Cores) -> None:
    """Prints thousands of instructions per request."""
    valgrind = install.tool("valgrind")
    print("| proxy | " + " | ".join(column.title for column in columns) + " |")
    print("|---|" + "--:|" * len(columns))
    with tempfile.TemporaryDirectory() as name, backends(Path(name), cores):
        for peer in peers:
            output = install.ROOT / "target" / f"callgrind.{peer.name}"
            under = (valgrind, "--tool=callgrind", "--dump-instr=yes", "--separate-threads=no")
            under += (f"--callgrind-out-file={output}", "--trace-children=no")
            with proxy(peer, binaries[peer.name], Path(name), cores.proxy, under=under) as running:
                cells = [count(running, column, cores, output) for column in columns]
            print(f"| {peer.title} | " + " | ".join(cells) + " |", flush=True)
    print("\nThousands of user instructions a request. Profiles: target/callgrind.NAME.N")


def count(running, column: load.Column, cores: Cores, output: Path) -> str:
    """Instructions between two points, over the requests between them."""
    pid = running.process.pid
    load.run(column, running.peer.port, cores.load, requests=WARM)
    subprocess.run(["callgrind_control", "-z", str(pid)], check=True, stdout=subprocess.DEVNULL)
    outcome = load.run(column, running.peer.port, cores.load, requests=COUNTED)
    before = set(output.parent.glob(output.name + ".*"))
    subprocess.run(["callgrind_control", "-d", str(pid)], check=True, stdout=subprocess.DEVNULL)
    dumps = set(output.parent.glob(output.name + ".*")) - before
    total = sum(int(number) for dump in dumps for number in totals(dump))
    return f"{total / outcome.done / 1000:.1f}"


def totals(dump: Path) -> list:
    """The totals callgrind wrote."""
    return re.findall(r"^(?:totals|summary): (\d+)", dump.read_text(errors="replace"), re.M)[:1]
