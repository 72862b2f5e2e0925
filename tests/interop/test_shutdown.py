"""SIGTERM with requests and streams under way: what was begun ends well, nothing new begins."""

from __future__ import annotations

import http.client
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from grpc_clients import Ask, Grpcio, Target
from lab import Lab, Sidecar, Table, await_that, get, instance, service


class Conversation:
    """A `Talk` that goes on for as long as it is told to."""

    def __init__(self, target: Target) -> None:
        self.said: queue.Queue[Ask | None] = queue.Queue()
        self.call = Grpcio().stub(target).Talk(self.asks(), timeout=60)

    def asks(self) -> Iterator[Ask]:
        return iter(self.said.get, None)

    def turn(self, text: str) -> str:
        self.said.put(Ask(text=text))
        return next(self.call).text

    def end(self) -> str:
        self.said.put(None)
        assert next(self.call, None) is None
        return self.call.code().name


@pytest.fixture(params=["caller", "callee"])
def chain(lab: Lab, request: pytest.FixtureRequest) -> tuple[Sidecar, Target]:
    """The sidecar that will be told to stop, and where a gRPC client asks."""
    application = lab.peer("grpc_server.py", "baseline")
    patient: Table = {"drain_timeout": "15s"}
    callee = lab.sidecar("echo.shop", application.address, runtime=patient)
    caller = lab.sidecar("caller.shop", services={"echo.shop": service(instance(callee.inbound))}, runtime=patient)
    return {"caller": caller, "callee": callee}[request.param], Target(caller.outbound, "echo.shop")


def unready(sidecar: Sidecar) -> bool:
    try:
        return get(f"http://{sidecar.admin}/readyz")[0] == 503
    except OSError:
        return True


def test_a_stream_under_way_goes_on_and_the_process_ends_after_it(chain: tuple[Sidecar, Target]) -> None:
    stopped, target = chain
    talk = Conversation(target)
    talk.turn("before")

    stopped.process.child.send_signal(signal.SIGTERM)
    await_that("it says it is not ready", lambda: unready(stopped))
    turns = [talk.turn(f"after {at}") for at in range(20)]
    running = stopped.process.child.poll() is None
    ending = talk.end()
    started = time.monotonic()
    code = stopped.process.child.wait(10)

    assert turns == [f"after {at}" for at in range(20)]
    assert (running, ending, code) == (True, "OK", 0)
    assert time.monotonic() - started < 3


def test_a_request_under_way_is_answered(lab: Lab) -> None:
    application = lab.peer("web.js", "http/1.1", "baseline")
    sidecar = lab.sidecar("caller.shop", services={"web.shop": service(instance(application.address))},
                          runtime={"drain_timeout": "15s"})
    address, port = sidecar.outbound.split(":")
    with socket.create_connection((address, int(port)), timeout=10) as connection:
        connection.sendall(b"PUT /echo HTTP/1.1\r\nHost: web.shop\r\nContent-Length: 6\r\n\r\none")
        await_that("it is under way", lambda: sidecar.metric("dyelane_streams_active") >= 1)

        sidecar.process.child.send_signal(signal.SIGTERM)
        await_that("it says it is not ready", lambda: unready(sidecar))
        connection.sendall(b"two")
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert received.startswith(b"HTTP/1.1 200") and b'"length":6' in received
    assert sidecar.process.child.wait(5) == 0


def test_an_idle_connection_does_not_hold_it_up(lab: Lab) -> None:
    application = lab.peer("web.js", "http/1.1", "baseline")
    sidecar = lab.sidecar("caller.shop", services={"web.shop": service(instance(application.address))})
    idle = http.client.HTTPConnection(sidecar.outbound, timeout=10)
    idle.request("GET", "/bytes/1", headers={"Host": "web.shop"})
    idle.getresponse().read()
    started = time.monotonic()

    code = sidecar.process.stop(signal.SIGTERM)

    assert (code, time.monotonic() - started < 3) == (0, True)
    idle.close()


def test_nothing_new_is_accepted_while_it_drains(lab: Lab) -> None:
    application = lab.peer("grpc_server.py", "baseline")
    sidecar = lab.sidecar("caller.shop", services={"echo.shop": service(instance(application.address))})
    talk = Conversation(Target(sidecar.outbound, "echo.shop"))
    talk.turn("before")
    address, port = sidecar.outbound.split(":")

    def refused() -> bool:
        try:
            socket.create_connection((address, int(port)), timeout=1).close()
        except OSError:
            return True
        return False

    sidecar.process.child.send_signal(signal.SIGTERM)
    await_that("connections are refused", refused)

    assert talk.turn("after") == "after"
    assert talk.end() == "OK"


def test_a_stream_that_never_ends_is_cut_at_the_limit(lab: Lab) -> None:
    application = lab.peer("grpc_server.py", "baseline")
    sidecar = lab.sidecar("caller.shop", services={"echo.shop": service(instance(application.address))},
                          runtime={"drain_timeout": "1s"})
    talk = Conversation(Target(sidecar.outbound, "echo.shop"))
    talk.turn("before")
    ended = threading.Event()
    talk.call.add_callback(ended.set)
    started = time.monotonic()

    sidecar.process.stop(signal.SIGTERM)

    assert 0.9 < time.monotonic() - started < 4
    assert ended.wait(5)
