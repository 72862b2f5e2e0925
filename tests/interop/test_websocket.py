"""WebSocket through the sidecars, with the `websockets` package at both ends."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from lab import Lab, Sidecar, instance, service

WAYS = ["direct", "sidecars"]


@pytest.fixture(scope="module")
def server(shared_lab: Lab) -> str:
    return shared_lab.peer("websocket_server.py").address


@pytest.fixture(scope="module")
def caller(shared_lab: Lab, server: str) -> Sidecar:
    callee = shared_lab.sidecar("chat.shop", server)
    return shared_lab.sidecar("caller.shop", services={"chat.shop": service(instance(callee.inbound))})


@pytest.fixture(params=WAYS)
def address(server: str, request: pytest.FixtureRequest) -> str:
    return server if request.param == "direct" else request.getfixturevalue("caller").outbound


def join(address: str, **more: Any) -> ClientConnection:
    host, port = address.split(":")
    plain = socket.create_connection((host, int(port)))
    return connect("ws://chat.shop/room?id=1", sock=plain, subprotocols=[Subprotocol("echo")], proxy=None,
                   max_size=None, **more)


def test_the_upgrade_passes_with_its_fields(address: str) -> None:
    with join(address, additional_headers={"x-tenant": "alice"}) as chat:
        seen = json.loads(chat.recv(timeout=10))

        assert chat.subprotocol == "echo"
        assert seen["path"] == "/room?id=1"
        assert {name.lower(): value for name, value in seen["headers"].items()}["x-tenant"] == "alice"


def test_messages_of_all_sizes_come_back(address: str) -> None:
    messages: list[str | bytes] = ["", "text ü", b"\x00\xff", os.urandom(70_000), os.urandom(5 << 20)]

    with join(address, compression=None) as chat:
        chat.recv(timeout=10)
        received: list[str | bytes] = []
        for message in messages:
            chat.send(message)
            received.append(chat.recv(timeout=20))

    assert received == messages


def chat_on(chat: ClientConnection, messages: int) -> None:
    for at in range(messages):
        chat.send(str(at))


def test_both_sides_may_talk_at_once(address: str) -> None:
    with join(address) as chat:
        chat.recv(timeout=10)
        talker = threading.Thread(target=lambda: chat_on(chat, 2000))
        talker.start()
        received = [chat.recv(timeout=10) for _ in range(2000)]
        talker.join()

    assert received == [str(at) for at in range(2000)]


def test_pings_are_answered_and_closing_has_its_code(address: str) -> None:
    with join(address) as chat:
        chat.recv(timeout=10)

        assert chat.ping().wait(10)
        chat.close(4001, "enough")

        with pytest.raises(ConnectionClosed):
            chat.recv(timeout=5)
        assert (chat.close_code, chat.close_reason) == (4001, "enough")
