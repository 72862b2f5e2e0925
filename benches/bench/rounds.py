"""Rounds: each peer does each column once a round, in turn; medians over the quiet ones."""

import socket
import statistics
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from . import install, load, machine
from .load import Column, Outcome
from .machine import Cores
from .peers import BASELINE_PORT, LANE_PORT, Peer


@dataclass(frozen=True)
class Sample:
    """One peer, one column, one round."""

    microseconds: float
    rps: float
    latency: float
    strangers: float
    requests: int


@dataclass
class Running:
    """A proxy that answers."""

    peer: Peer
    process: subprocess.Popen
    requests: dict
    idle: int = 0


def await_port(port: int, process: subprocess.Popen, log: Path) -> None:
    """Waits until something listens there, at most 20 seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    said = log.read_text(errors="replace")[-2000:]
    raise SystemExit(f"compare: nothing listens on {port}\n{said}")


@contextmanager
def backends(scratch: Path, cores: Cores) -> Iterator[list]:
    """Two servers that answer `/128`, `/16384` and `/lane`: the baseline's and alice's."""
    started = []
    try:
        for name, port in (("baseline", BASELINE_PORT), ("alice", LANE_PORT)):
            root = scratch / f"backend-{name}"
            root.mkdir()
            (root / "128").write_bytes(b"a" * 128)
            (root / "16384").write_bytes(b"a" * 16384)
            (root / "lane").write_text(name)
            command = [install.tool("nghttpd"), "--no-tls", "-n", 1, "-m", 1000]
            command += ["-a", "127.0.0.1", "-d", root, port]
            log = scratch / f"backend-{name}.log"
            started.append(machine.start(command, cores.load, log))
            await_port(port, started[-1], log)
        yield started
    finally:
        for process in started:
            machine.stop(process)


@contextmanager
def proxy(
    peer: Peer, binary: Path, scratch: Path, core: int, endpoints: int = 1, under: tuple = ()
) -> Iterator[Running]:
    """A peer, started (`under` a tool, if given), listening, and sending tenants the right way."""
    directory = scratch / f"{peer.name}-{endpoints}"
    directory.mkdir(exist_ok=True)
    log = directory / "log"
    arguments = peer.configure(directory, peer.port, endpoints)
    process = machine.start([*under, binary, *arguments], core, log)
    try:
        await_port(peer.port, process, log)
        time.sleep(1)
        running = Running(peer, process, {}, machine.resident(process.pid))
        check_lanes(peer, endpoints)
        yield running
    finally:
        machine.stop(process)


def check_lanes(peer: Peer, endpoints: int) -> None:
    """Refuses to measure a proxy that answers wrongly."""
    if endpoints > 1:
        return
    for tenant in ("alice", "nobody"):
        answer = load.fetch(peer.port, "/lane", tenant)
        right = {"alice": "alice", "nobody": "baseline"}[tenant]
        if (peer.routes_tenants and answer != right) or answer not in ("alice", "baseline"):
            raise SystemExit(f"compare: {peer.name} sends tenant {tenant} to {answer!r}")


def once(running: Running, column: Column, served: list, cores: Cores, seconds: float) -> Sample:
    """Warms up for a second, then counts the processor time of one run."""
    core = cores.proxy if column.one_core else cores.load
    watched = {cores.proxy, core}
    placed = [process.pid for process in served]
    for pid in placed:
        pin(pid, core)
    port = running.peer.port
    warm = load.run(column, port, core, seconds=1)
    requests = max(100, int(warm.done / max(warm.seconds, 0.5) * seconds))
    pid = running.process.pid
    others = [*placed, pid]
    ours_before = sum(map(machine.process_seconds, others))
    busy_before = machine.busy_seconds(watched)
    proxy_before = machine.process_seconds(pid)
    started = time.monotonic()
    outcome = load.run(column, port, core, requests=requests)
    if outcome.failed:
        raise load.Failed(f"{running.peer.name}, {column.name}: {outcome.failed} requests failed")
    wall = time.monotonic() - started
    used = machine.process_seconds(pid) - proxy_before
    ours = sum(map(machine.process_seconds, others)) - ours_before + outcome.cpu
    strangers = (machine.busy_seconds(watched) - busy_before - ours) / wall
    for pid in placed:
        pin(pid, cores.load)
    return sample(outcome, used, strangers)


def sample(outcome: Outcome, used: float, strangers: float) -> Sample:
    """The numbers of one run."""
    return Sample(
        microseconds=used / outcome.done * 1e6,
        rps=outcome.rps,
        latency=outcome.latency,
        strangers=max(0.0, strangers),
        requests=outcome.done,
    )


def pin(pid: int, core: int) -> None:
    """Moves all threads of a process to one core."""
    subprocess.run(["taskset", "-apc", str(core), str(pid)], check=True, stdout=subprocess.DEVNULL)


def median(samples: list, name: str) -> float:
    """The median of one number over samples."""
    return statistics.median(getattr(each, name) for each in samples)
