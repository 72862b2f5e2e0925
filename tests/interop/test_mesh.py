"""Sidecars as processes that know nothing but three nodes of a registry, and gRPC clients that never stop asking."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from grpc_clients import Ask, Grpcio, Target
from lab import BINARY, Lab, Registry, Sidecar, await_that, get, run

#: How long the whole registry is gone in the test of an outage.
OUTAGE = float(os.environ.get("DYELANE_TEST_OUTAGE_SECONDS", "4"))
ALICE = (("x-tenant", "alice"),)
TOKEN = "sesame"


class Mesh:
    """A caller, and echoes that registered themselves: the baseline's and alice's."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.nodes = lab.registry(3, token=TOKEN)
        self.echoes = {lane: self.echo(lane) for lane in ("baseline", "alice")}
        self.caller = lab.sidecar("caller.shop", discovery=self.discovery(), workload={"zone": "sh001"})
        self.target = Target(self.caller.outbound, "echo.shop")
        await_that("the caller knows both", lambda: self.known() == 2)

    def discovery(self) -> dict[str, object]:
        return {"registry": {"addresses": [node.address for node in self.nodes], "services": ["*.shop"]}}

    def echo(self, lane: str, host: str = "") -> Sidecar:
        application = self.lab.peer("grpc_server.py", lane)
        workload = {"protocol": "h2", "zone": "sh001"} | ({} if lane == "baseline" else {"lane": lane})
        registration = {"hostname": host or lane, "renew": "1s", "health": {"interval": "100ms"}}
        return self.lab.sidecar("echo.shop", application.address, workload=workload, registration=registration,
                                discovery=self.discovery(), runtime={"drain_delay": "1s"})

    def known(self) -> int:
        """How many echoes the caller's sidecar knows."""
        _, text = get(f"http://{self.caller.admin}/catalog")
        shop = [it for it in json.loads(text)["services"] if it["service"] == "echo.shop"]
        return sum(len(lane["instances"]) for it in shop for lane in it["lanes"])

    def flip(self, *wish: str) -> None:
        command = [str(BINARY), "flip", "alice", *wish, "--yes", "--token", TOKEN]
        done = run(*command, *(word for node in self.nodes for word in ("--registry", node.address)))
        assert done.returncode == 0, done.stderr.decode()

    def lane(self) -> str:
        """Where alice's calls end."""
        return Grpcio().stub(self.target).Unary(Ask(), metadata=ALICE, timeout=10).lane

    @contextmanager
    def load(self) -> Iterator[Counter[tuple[str, str]]]:
        """Calls as alice and as nobody without a pause, and counts who was answered where."""
        landed: Counter[tuple[str, str]] = Counter()
        over = threading.Event()

        def call(tenant: str, metadata: tuple[tuple[str, str], ...]) -> None:
            stub = Grpcio().stub(self.target)
            while not over.is_set():
                try:
                    landed[tenant, stub.Unary(Ask(), metadata=metadata, timeout=10).lane] += 1
                except grpc.RpcError as error:
                    landed[tenant, f"{error.code().name}: {error.details()}"] += 1

        callers = [threading.Thread(target=call, args=it) for it in [("alice", ALICE), ("nobody", ())] * 2]
        for caller in callers:
            caller.start()
        try:
            yield landed
        finally:
            over.set()
            for caller in callers:
                caller.join()


@pytest.fixture
def mesh(lab: Lab) -> Mesh:
    return Mesh(lab)


def more(landed: Counter[tuple[str, str]], calls: int = 200) -> None:
    """Waits until so many more calls were answered."""
    goal = landed.total() + calls
    await_that(f"{calls} more calls", lambda: landed.total() >= goal)


def again(lab: Lab, node: Registry) -> Registry:
    """Starts a node that was killed, with nothing left of what it knew."""
    back = lab.node(node.command, node.address)
    lab.await_node(back)
    return back


def test_instances_are_found_and_each_tenant_gets_its_own(mesh: Mesh) -> None:
    with mesh.load() as landed:
        more(landed)

    assert set(landed) == {("alice", "alice"), ("nobody", "baseline")}, landed


def test_a_flip_in_the_registry_reaches_sidecars_under_load(mesh: Mesh) -> None:
    with mesh.load() as landed:
        more(landed)
        mesh.flip("--off")
        await_that("alice goes like everyone else", lambda: mesh.lane() == "baseline")
        mesh.flip("--on")
        await_that("alice is back", lambda: mesh.lane() == "alice")
        more(landed)

    assert set(landed) == {("alice", "alice"), ("alice", "baseline"), ("nobody", "baseline")}, landed


def test_nodes_die_one_after_the_other_and_no_call_is_lost(mesh: Mesh, lab: Lab) -> None:
    with mesh.load() as landed:
        for number, node in enumerate(mesh.nodes):
            more(landed)
            node.process.stop(signal.SIGKILL)
            mesh.echo("baseline", f"extra-{number}")
            await_that("the caller learns of one more", lambda number=number: mesh.known() == 3 + number)
            mesh.nodes[number] = again(lab, node)
            more(landed)

    assert set(landed) == {("alice", "alice"), ("nobody", "baseline")}, landed


@pytest.mark.timeout(OUTAGE + 90)
def test_the_whole_registry_is_gone_and_no_call_is_lost(mesh: Mesh, lab: Lab) -> None:
    with mesh.load() as landed:
        more(landed)
        for node in mesh.nodes:
            node.process.child.send_signal(signal.SIGKILL)
        time.sleep(OUTAGE)
        more(landed)
        during = mesh.known()
        mesh.nodes = [lab.node(node.command, node.address) for node in mesh.nodes]
        for node in mesh.nodes:
            lab.await_node(node)
        await_that("both have registered again", lambda: all(it.status()["instances"] == 5 for it in mesh.nodes))
        more(landed)

    assert (during, mesh.known()) == (2, 2)
    assert set(landed) == {("alice", "alice"), ("nobody", "baseline")}, landed


def test_a_rolling_release_on_new_addresses_loses_no_call(mesh: Mesh) -> None:
    with mesh.load() as landed:
        for round_ in range(3):
            more(landed)
            for lane, old in mesh.echoes.items():
                mesh.echoes[lane] = mesh.echo(lane, f"{lane}-{round_}")
                await_that("the caller knows the new one", lambda: mesh.known() == 3)
                assert old.process.stop() == 0
                await_that("the old one is forgotten", lambda: mesh.known() == 2)
        more(landed)

    assert set(landed) == {("alice", "alice"), ("nobody", "baseline")}, landed
