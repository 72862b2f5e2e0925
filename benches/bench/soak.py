"""A bounded soak of Dyelane: mixed tenants and bodies, a reload every two seconds, memory watched.

The tenant `alice` is switched off and on by rewriting the file, as an operator would. Each flip is
awaited at the answers: alice's lane while she is on, the baseline while she is off.
"""

import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import load, machine
from .load import Column
from .machine import Cores
from .peers import PEERS
from .rounds import Running, backends, proxy

FLIP_EVERY = 2.0
# Requests a second by tenant; small and large answers.
MIX = {"alice": 800, "bob": 800, "carol": 400}
GROWTH = 1.1
MIB = 1024 * 1024


@dataclass
class Watch:
    """What the soak saw."""

    memory: list = field(default_factory=list)
    flips: int = 0
    missed: int = 0
    slowest: float = 0.0


def run(binary: Path, cores: Cores, minutes: float) -> int:
    """Soaks for so many minutes; 0 if nothing failed and memory stayed flat."""
    peer = next(each for each in PEERS if each.name == "dyelane")
    with tempfile.TemporaryDirectory() as name, backends(Path(name), cores):
        scratch = Path(name)
        with proxy(peer, binary, scratch, cores.proxy) as running:
            outcomes = [scratch / f"soak-{tenant}" for tenant in MIX]
            started = [
                start(running, tenant, rate, minutes, cores, output)
                for (tenant, rate), output in zip(MIX.items(), outcomes)
            ]
            watch = follow(running, scratch / "dyelane-1" / "sidecar.toml", started)
            failed = sum(summary(each) for each in outcomes)
    return verdict(watch, failed)


def start(running: Running, tenant: str, rate: int, minutes: float, cores: Cores, output: Path):
    """Starts the traffic of one tenant: eight connections at a fixed rate."""
    column = Column(tenant, tenant, 8, 8, rate=rate)
    base = f"http://127.0.0.1:{running.peer.port}"
    command = load.command(column, base + column.path, int(rate * minutes * 60), tenant)
    return machine.start([*command, base + "/16384", base + "/128"], cores.load, output)


def follow(running: Running, file: Path, started: list) -> Watch:
    """Flips alice and samples memory until the traffic has ended."""
    watch = Watch()
    enabled = True
    begun = time.monotonic()
    while any(process.poll() is None for process in started):
        watch.memory.append((time.monotonic() - begun, machine.resident(running.process.pid)))
        if len(watch.memory) % max(1, round(60 / FLIP_EVERY)) == 1:
            since, used = watch.memory[-1]
            print(f"{since / 60:6.1f} min  {used / MIB:6.2f} MiB  {watch.flips} flips", flush=True)
        enabled = not enabled
        rewrite(file, enabled)
        running.process.send_signal(signal.SIGHUP)
        await_flip(running, enabled, watch)
        time.sleep(FLIP_EVERY)
    if not enabled:
        rewrite(file, True)
    return watch


def rewrite(file: Path, enabled: bool) -> None:
    """Replaces the file at once, with alice on or off."""
    text = file.read_text().replace("enabled = false\n", "")
    if not enabled:
        text = text.replace("[tenants.alice]\n", "[tenants.alice]\nenabled = false\n")
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def await_flip(running: Running, enabled: bool, watch: Watch) -> None:
    """Asks until the answer comes from the right backend, five seconds at most."""
    right = "alice" if enabled else "baseline"
    begun = time.monotonic()
    while load.fetch(running.peer.port, "/lane", "alice") != right:
        if time.monotonic() - begun > 5:
            watch.missed += 1
            break
    watch.flips += 1
    watch.slowest = max(watch.slowest, time.monotonic() - begun)


def summary(output: Path) -> int:
    """Prints one tenant's traffic; gives its failed requests."""
    outcome = load.parse(output.read_text(errors="replace"))
    tenant = output.name.removeprefix("soak-")
    print(f"{tenant:8}{outcome.done:9} requests {outcome.failed:6} failed {outcome.rps:9.0f} rps")
    return outcome.failed


def verdict(watch: Watch, failed: int) -> int:
    """Prints the end of it."""
    used = [each for _, each in watch.memory]
    # Buffers and tables fill at first: what counts is what is added after the first fifth.
    settled = max(used[: max(4, len(used) // 5)])
    print(f"memory   start {used[0] / MIB:.2f}, settled {settled / MIB:.2f}, ", end="")
    print(f"highest {max(used) / MIB:.2f}, end {used[-1] / MIB:.2f} MiB")
    print(f"flips    {watch.flips}, {watch.missed} missed, ", end="")
    print(f"slowest seen after {watch.slowest:.3f} s")
    flat = used[-1] <= settled * GROWTH + MIB
    good = flat and not failed and not watch.missed
    print("good" if good else "not good")
    return 0 if good else 1
