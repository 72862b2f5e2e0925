"""What this machine spent: CPU by process and by core, resident memory, pinning to a core.

All of it is read from /proc. Processor time is in seconds, memory in bytes.
"""

import os
import platform
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cores:
    """Which core the proxy has to itself, and which the load generator and the backend share."""

    proxy: int
    load: int

    @staticmethod
    def parse(text: str) -> "Cores":
        """Parses `PROXY,LOAD`; the two must differ."""
        proxy, load = (int(part) for part in text.split(","))
        if proxy == load:
            raise ValueError("the proxy needs a core of its own")
        return Cores(proxy, load)

    @staticmethod
    def default() -> "Cores":
        """The last core we may use for the proxy, the one before it for the rest."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise SystemExit("compare: two processor cores are needed, one for the proxy alone")
        return Cores(usable[-1], usable[-2])


def start(command: list, core: int, output: Path) -> subprocess.Popen:
    """Starts a process on one core, with its output in a file."""
    with output.open("wb") as sink:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )


def stop(process: subprocess.Popen) -> None:
    """Ends a process we started: politely, after five seconds for good."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def process_seconds(pid: int) -> float:
    """User and system time of all living threads of a process, exact to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def busy_seconds(cores: set) -> float:
    """Time these cores were not idle, whoever used them, stolen time included."""
    names = {f"cpu{core}" for core in cores}
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name in names:
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, rest.split()[:8])
            total += user + nice + system + irq + softirq + steal
    return total * TICK


def await_quiet(cores: Cores, share: float, patience: float) -> None:
    """Waits until the cores are idle but for `share` of one, at most `patience` seconds."""
    watched = {cores.proxy, cores.load}
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before, begun = busy_seconds(watched), time.monotonic()
        time.sleep(0.3)
        # The counters are as coarse as a tick, so a share below one of them is none.
        if busy_seconds(watched) - before <= share * (time.monotonic() - begun) + TICK:
            return


def resident(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def allow_many_files() -> None:
    """Raises our limit of open files to the hard limit; what we start inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


def describe() -> str:
    """The machine in a few words, without its name."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {model}, Linux {platform.release().split('-')[0]}, {platform.machine()}"
