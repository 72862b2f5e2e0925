"""Processes on loopback: real sidecars, and the peers around them that no one here wrote."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
STATE = ROOT / "target" / "interop"
BINARY = Path(os.environ.get("DYELANE", ROOT / "target" / "debug" / "dyelane"))
#: How long anything may take to start, stop or be noticed.
PATIENCE = 20.0

Table = dict[str, Any]

# Nothing here leaves this machine, whatever proxy it uses for the rest.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "*"


def free_ports(count: int) -> list[int]:
    """Finds `count` ports of loopback that nobody listens on."""
    with ExitStack() as stack:
        holders = [stack.enter_context(socket.socket()) for _ in range(count)]
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [holder.getsockname()[1] for holder in holders]


def await_that(what: str, holds: Callable[[], bool], patience: float = PATIENCE) -> float:
    """Asks until `holds`; returns the seconds it took, or fails naming `what` was awaited."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > patience:
            raise TimeoutError(f"{what}: not within {patience} s")
        time.sleep(0.01)
    return time.monotonic() - started


def get(url: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """GETs `url`; returns status and text, of errors too."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@dataclass
class Process:
    """A child that is ended with the lab; what it says is kept in a file."""

    name: str
    child: subprocess.Popen[bytes]
    said: Path

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Sends `how` and awaits the end; one that does not heed it is killed. Returns its code."""
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            return self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise TimeoutError(f"{self.name} did not end after {how.name}\n{self.text()}") from None

    def text(self) -> str:
        return self.said.read_text(errors="replace")

    def expect_running(self) -> None:
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.child.returncode}\n{self.text()}")


@dataclass
class Peer:
    """An application: a server that told us its port."""

    process: Process
    address: str


@dataclass
class Sidecar:
    """A running `dyelane run FILE`."""

    process: Process
    file: Path
    table: Table
    inbound: str
    outbound: str
    admin: str

    def write(self, table: Table) -> None:
        """Replaces the file's content in one step, as an editor does."""
        self.table = table
        replace(self.file, tomli_w.dumps(table))

    def config(self) -> Table:
        status, text = get(f"http://{self.admin}/config")
        assert status == 200, text
        return json.loads(text)

    def generation(self) -> int:
        return int(self.config()["generation"])

    def await_generation_after(self, before: int) -> int:
        await_that(f"a generation after {before}", lambda: self.generation() > before)
        return self.generation()

    def metric(self, name: str, **labels: str) -> float:
        """Sums the samples of `name` that have these labels."""
        _, text = get(f"http://{self.admin}/metrics")
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in text.splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(line.split()[-1]) for line in lines if all(it in line for it in wanted))


@dataclass
class Registry:
    """A running `dyelane registry`."""

    process: Process
    command: list[str]
    address: str

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    def status(self) -> Table:
        code, text = get(self.url("/v1/status"))
        assert code == 200, text
        return json.loads(text)


def replace(file: Path, text: str) -> None:
    beside = file.with_name(file.name + ".next")
    beside.write_text(text)
    beside.rename(file)


class Lab:
    """Starts processes and ends all of them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lab-", dir=STATE))
        self.processes: list[Process] = []
        self.sidecars: list[Sidecar] = []
        self.registries: list[Registry] = []

    def spawn(self, name: str, command: list[str], **environment: str) -> Process:
        """Starts a program with its output in a file."""
        said = self.folder / f"{len(self.processes)}-{name}.log"
        env = os.environ | {"NODE_PATH": str(STATE / "node_modules"), "PYTHONPATH": str(HERE)} | environment
        with said.open("wb") as output:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=subprocess.STDOUT, env=env, cwd=HERE)
        process = Process(name, child, said)
        self.processes.append(process)
        return process

    def peer(self, script: str, *arguments: str, runner: list[str] | None = None,
             **environment: str) -> Peer:
        """Starts a script of `peers/`, which says `listening PORT` when it does."""
        runner = runner or [sys.executable if script.endswith(".py") else "node"]
        command = [*runner, str(HERE / "peers" / script), *arguments]
        process = self.spawn("-".join([script, *arguments]).replace("/", "_"), command, **environment)

        def listening() -> bool:
            process.expect_running()
            return any(line.startswith("listening ") and line.endswith("\n")
                       for line in process.text().splitlines(keepends=True))

        await_that(f"{process.name} listens", listening)
        line = next(line for line in process.text().splitlines() if line.startswith("listening "))
        return Peer(process, f"127.0.0.1:{line.split()[1]}")

    def sidecar(self, service: str, application: str | None = None, **sections: Any) -> Sidecar:
        """Starts a sidecar beside `application` and awaits its readiness.

        `sections` are those of the file; what the lab must know, it fills in itself.
        """
        return self.sidecars_at_once([(service, application, sections)])[0]

    def sidecars_at_once(self, wanted: list[tuple[str, str | None, Table]]) -> list[Sidecar]:
        started = [self._start(*one) for one in wanted]
        for sidecar in started:
            self._await_ready(sidecar)
        return started

    def _start(self, service: str, application: str | None, sections: Table) -> Sidecar:
        inbound, outbound, admin = (f"127.0.0.1:{port}" for port in free_ports(3))
        table: Table = {
            "workload": {"service": service},
            "inbound": {"listen": inbound},
            "outbound": {"listen": outbound},
            "admin": {"listen": admin},
            "runtime": {"workers": 2, "poll": "100ms"},
        }
        if application is not None:
            table["workload"]["address"] = application
        for name, section in sections.items():
            table[name] = table.get(name, {}) | section if isinstance(section, dict) else section
        file = self.folder / f"{len(self.processes)}-{service}.toml"
        file.write_text(tomli_w.dumps(table))
        process = self.spawn(service, [str(BINARY), "run", str(file)])
        sidecar = Sidecar(process, file, table, inbound, outbound, admin)
        self.sidecars.append(sidecar)
        return sidecar

    def registry(self, nodes: int = 1, zone: str = "sh001", token: str | None = None) -> list[Registry]:
        """Starts so many nodes of one registry and awaits that each answers reads."""
        words = ["--zone", zone]
        if token is not None:
            file = self.folder / "token"
            file.write_text(token)
            words += ["--token-file", str(file)]
        addresses = [f"127.0.0.1:{port}" for port in free_ports(nodes)]
        started = []
        for number, address in enumerate(addresses):
            peers = [word for it in addresses if it != address for word in ("--peer", it)]
            started.append(self.node([str(BINARY), "registry", "--listen", address, *words,
                                      "--host", f"node-{number}", *peers], address))
        for node in started:
            self.await_node(node)
        return started

    def node(self, command: list[str], address: str) -> Registry:
        """Starts one node, which may not answer yet."""
        node = Registry(self.spawn(f"registry-{address.split(':')[1]}", command), command, address)
        self.registries.append(node)
        return node

    @staticmethod
    def await_node(node: Registry) -> None:
        Lab._await_ready_at(node.process, node.url("/readyz"))

    @staticmethod
    def _await_ready(sidecar: Sidecar) -> None:
        Lab._await_ready_at(sidecar.process, f"http://{sidecar.admin}/readyz")

    @staticmethod
    def _await_ready_at(process: Process, url: str) -> None:
        def ready() -> bool:
            process.expect_running()
            try:
                return get(url)[0] == 200
            except OSError:
                return False

        await_that(f"{process.name} is ready", ready)

    def close(self) -> None:
        """Ends everything, and fails if one of ours panicked or would not go."""
        stubborn = []
        for process in reversed(self.processes):
            if process.child.poll() is None:
                process.child.send_signal(
                    signal.SIGTERM if self._is_ours(process) else signal.SIGKILL)
        for process in self.processes:
            try:
                process.stop(signal.SIGTERM)
            except TimeoutError as error:
                stubborn.append(str(error))
        said = [it.process.text() for it in [*self.sidecars, *self.registries]]
        panics = [text for text in said if "panicked at" in text]
        assert not stubborn, "\n".join(stubborn)
        assert not panics, "\n".join(panics)

    def _is_ours(self, process: Process) -> bool:
        return any(it.process is process for it in [*self.sidecars, *self.registries])


def open_lab() -> Iterator[Lab]:
    """A lab as a fixture's body."""
    lab = Lab()
    try:
        yield lab
    finally:
        lab.close()


def instance(address: str, lane: str | None = None) -> Table:
    return {"address": address} | ({"lane": lane} if lane else {})


def service(*instances: Table, **settings: Any) -> Table:
    return {"instances": list(instances)} | settings


def run(*command: str, stdin: bytes = b"",
        patience: float = 60.0) -> subprocess.CompletedProcess[bytes]:
    """Runs a client to its end."""
    return subprocess.run(command, input=stdin, capture_output=True, timeout=patience, check=False)
