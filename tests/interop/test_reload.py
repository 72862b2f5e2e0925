"""`sidecar.toml` changed while requests pass: none is lost, and none goes the old way afterwards."""

from __future__ import annotations

import copy
import http.client
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tomli_w

from lab import BINARY, Lab, Peer, Sidecar, Table, await_that, free_ports, get, instance, replace, run, service

FLIPS = 100


@pytest.fixture
def lanes(lab: Lab) -> dict[str, Peer]:
    return {lane: lab.peer("web.js", "h2", lane) for lane in ("baseline", "alice")}


@pytest.fixture
def caller(lab: Lab, lanes: dict[str, Peer]) -> Sidecar:
    web = service(instance(lanes["baseline"].address), instance(lanes["alice"].address, "alice"), protocol="h2")
    return lab.sidecar("caller.shop", services={"web.shop": web}, tenants={"alice": {"enabled": True}})


def flipped(table: Table, enabled: bool) -> Table:
    """The file with alice switched on or off."""
    table = copy.deepcopy(table)
    table["tenants"]["alice"]["enabled"] = enabled
    return table


def ask(connection: http.client.HTTPConnection, **fields: str) -> str:
    """The lane that answers alice on this connection."""
    connection.request("GET", "/bytes/100", headers={"Host": "web.shop", "x-tenant": "alice", **fields})
    answer = connection.getresponse()
    body = answer.read()
    assert (answer.status, len(body)) == (200, 100), body
    return answer.getheader("x-lane", "")


@pytest.fixture
def connection(caller: Sidecar) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(caller.outbound, timeout=10)
    yield connection
    connection.close()


@contextmanager
def load(address: str, seconds: int) -> Iterator[list[str]]:
    """Runs h2load as alice at full speed for so long, and puts what it reports into the list."""
    command = ["h2load", "-D", str(seconds), "-c", "8", "-m", "16", "--connect-to", address,
               "-H", "x-tenant: alice", "http://web.shop/bytes/100"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    reports: list[str] = []
    yield reports
    reports.append(child.communicate(timeout=seconds + 30)[0])


def assert_nothing_failed(report: str) -> None:
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", report)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", report)
    assert counts and codes, report
    assert counts.groups()[1:] == ("0", "0", "0"), report
    assert codes.groups()[1:] == ("0", "0", "0"), report
    assert int(counts[1]) > 1000, report


def test_flips_under_load_lose_no_request_and_take_hold_at_once(
        caller: Sidecar, connection: http.client.HTTPConnection) -> None:
    first, wrong = caller.generation(), []

    with load(caller.outbound, 12) as reports:
        for at in range(FLIPS):
            enabled = at % 2 == 1
            before = caller.generation()
            caller.write(flipped(caller.table, enabled))
            caller.process.child.send_signal(signal.SIGHUP)
            caller.await_generation_after(before)
            lanes = [ask(connection) for _ in range(5)]
            wrong += [(at, lanes)] if set(lanes) != {"alice" if enabled else "baseline"} else []

    assert_nothing_failed(reports[0])
    assert wrong == []
    assert caller.generation() - first == FLIPS


def test_an_edit_is_noticed_without_a_signal(caller: Sidecar, connection: http.client.HTTPConnection) -> None:
    before = ask(connection)
    generation = caller.generation()

    caller.file.write_text(tomli_w.dumps(flipped(caller.table, False)))
    caller.await_generation_after(generation)

    assert (before, ask(connection)) == ("alice", "baseline")


def test_a_config_map_swap_is_noticed(lab: Lab, caller: Sidecar, connection: http.client.HTTPConnection) -> None:
    volume = lab.folder / "volume"

    def project(version: str, enabled: bool) -> None:
        """Puts a version in place the way the kubelet does."""
        folder = volume / f"..{version}"
        folder.mkdir(parents=True)
        (folder / "sidecar.toml").write_text(tomli_w.dumps(flipped(caller.table, enabled)))
        (volume / "..data_tmp").symlink_to(folder.name)
        (volume / "..data_tmp").rename(volume / "..data")

    def swap(version: str, enabled: bool) -> str:
        generation = caller.generation()
        project(version, enabled)
        caller.await_generation_after(generation)
        return ask(connection)

    project("one", True)
    caller.file.with_suffix(".link").symlink_to(volume / "..data" / "sidecar.toml")
    caller.file.with_suffix(".link").rename(caller.file)
    lanes = [swap("two", False), swap("three", True)]
    shutil.rmtree(volume / "..two")

    assert lanes == ["baseline", "alice"]


@pytest.mark.parametrize("text", ["[tenants", "", "[outbound]\nlisten = 'nowhere'\n", "[tenant]\nheadr = 'x'\n"],
                         ids=["no TOML", "empty", "no address", "unknown key"])
def test_a_bad_file_keeps_the_last_good_one(caller: Sidecar, connection: http.client.HTTPConnection, text: str) -> None:
    before = caller.generation()

    replace(caller.file, text)
    await_that("the bad file is noticed", lambda: caller.metric("dyelane_config_last_reload_successful") == 0)

    assert (caller.generation(), ask(connection)) == (before, "alice")
    assert get(f"http://{caller.admin}/readyz")[0] == 200
    assert caller.file.name in caller.config()["status"]["last_error"]["report"]

    caller.write(flipped(caller.table, False))
    caller.await_generation_after(before)

    assert caller.metric("dyelane_config_last_reload_successful") == 1
    assert ask(connection) == "baseline"


def test_a_bad_tenant_does_not_keep_the_others_from_flipping(
        caller: Sidecar, connection: http.client.HTTPConnection) -> None:
    before = caller.generation()
    table = flipped(caller.table, False)
    table["tenants"]["bob"] = {"lane": "not a lane!"}

    caller.write(table)
    caller.await_generation_after(before)

    assert ask(connection) == "baseline"
    [left_out] = caller.config()["status"]["quarantined"]
    assert "bob" in left_out["entry"]


def test_a_file_that_vanishes_changes_nothing(caller: Sidecar, connection: http.client.HTTPConnection) -> None:
    before = caller.generation()
    caller.file.unlink()
    caller.process.child.send_signal(signal.SIGHUP)
    await_that("the loss is noticed", lambda: caller.metric("dyelane_config_last_reload_successful") == 0)
    while_gone = (caller.generation(), ask(connection))

    caller.write(flipped(caller.table, False))
    caller.await_generation_after(before)

    assert while_gone == (before, "alice")
    assert ask(connection) == "baseline"


def test_a_key_that_needs_a_restart_is_named(caller: Sidecar, connection: http.client.HTTPConnection) -> None:
    before = caller.generation()
    table = flipped(caller.table, False)
    table["inbound"]["listen"] = f"127.0.0.1:{free_ports(1)[0]}"

    caller.write(table)
    caller.await_generation_after(before)

    assert ask(connection) == "baseline"
    assert "inbound.listen" in caller.config()["status"]["restart_needed"]


def test_an_instance_that_is_removed_gets_nothing_more(lab: Lab, caller: Sidecar, lanes: dict[str, Peer],
                                                       connection: http.client.HTTPConnection) -> None:
    other = lab.peer("web.js", "h2", "other")
    before = caller.generation()
    table = copy.deepcopy(caller.table)
    table["services"]["web.shop"]["instances"] = [instance(other.address)]

    with load(caller.outbound, 3) as reports:
        caller.write(table)
        caller.await_generation_after(before)
        served = {ask(connection) for _ in range(50)}

    assert_nothing_failed(reports[0])
    assert served == {"other"}


def test_an_instance_killed_under_load_costs_no_request(lab: Lab, lanes: dict[str, Peer]) -> None:
    twins = [lab.peer("web.js", "h2", "twin") for _ in range(2)]
    web = service(*[instance(twin.address) for twin in twins], protocol="h2",
                  retries={"attempts": 3, "on": ["reset", "503"], "budget": 1.0})
    caller = lab.sidecar("caller.shop", services={"web.shop": web})
    connections = [http.client.HTTPConnection(caller.outbound, timeout=10) for _ in range(4)]
    lanes_seen: list[str] = []
    enough = threading.Event()

    def work(connection: http.client.HTTPConnection) -> None:
        while not enough.is_set():
            lanes_seen.append(ask(connection))

    workers = [threading.Thread(target=work, args=(connection,)) for connection in connections]
    for worker in workers:
        worker.start()
    await_that("load", lambda: len(lanes_seen) > 200)
    twins[0].process.child.kill()
    at_kill = len(lanes_seen)
    await_that("load after the kill", lambda: len(lanes_seen) > at_kill + 500 or
               not all(worker.is_alive() for worker in workers))
    enough.set()
    alive = [worker.is_alive() for worker in workers]
    for worker in workers:
        worker.join()

    assert all(alive), "a request failed"


def test_a_first_start_with_a_bad_file_says_where_and_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[workload]\nservice = 'a.shop'\nlanne = 'x'\n")

    done = run(str(BINARY), "run", str(file))

    report = (done.stdout + done.stderr).decode()
    assert done.returncode == 2, report
    assert "bad.toml:3:1" in report and "lanne" in report and "lane" in report
