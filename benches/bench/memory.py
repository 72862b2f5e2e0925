"""Resident memory: idle, for each connection that was used once, and with many endpoints."""

import contextlib
import socket
import tempfile
import time
from pathlib import Path

from . import machine
from .machine import Cores
from .peers import Peer
from .rounds import Running, backends, proxy

CONNECTIONS = 1000
ENDPOINTS = 10_000
# Long enough for a proxy that gives the buffers of quiet connections back.
SETTLE = 8.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, SETTINGS_ACK = b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0"


def request_frame() -> bytes:
    """HEADERS of `GET /128` as literals that are not indexed (RFC 7541 section 6.2.2)."""
    block = bytearray(b"\x82\x86")
    fields = {":path": "/128", ":authority": "order.shop", "baggage": "tenant=alice"}
    for name, value in fields.items():
        block += bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return len(block).to_bytes(3, "big") + b"\1\5\0\0\0\1" + bytes(block)


def receive(connection: socket.socket, length: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise ConnectionError("the proxy closed the connection")
        data += part
    return data


def used_connection(port: int) -> socket.socket:
    """A connection on which one request was answered."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(PREFACE + SETTINGS + request_frame())
    while True:
        header = receive(connection, 9)
        receive(connection, int.from_bytes(header[:3], "big"))
        kind, flags, stream = header[3], header[4], int.from_bytes(header[5:], "big")
        if kind == 4 and not flags & 1:
            connection.sendall(SETTINGS_ACK)
        if kind in (0, 1) and stream == 1 and flags & 1:
            return connection
        if kind in (3, 7):
            raise ConnectionError("the proxy refused the request")


def per_connection(running: Running) -> float:
    """Bytes of memory for each idle connection that was used once."""
    with contextlib.ExitStack() as held:
        held.enter_context(used_connection(running.peer.port))
        time.sleep(0.5)
        before = machine.resident(running.process.pid)
        for _ in range(CONNECTIONS):
            held.enter_context(used_connection(running.peer.port))
        time.sleep(SETTLE)
        return (machine.resident(running.process.pid) - before) / CONNECTIONS


def measure(chosen: list[Peer], binaries: dict, cores: Cores) -> dict:
    """Name of the peer -> idle and 10,000 endpoints in bytes, and bytes a connection."""
    found = {}
    with tempfile.TemporaryDirectory() as name, backends(Path(name), cores):
        for peer in chosen:
            with proxy(peer, binaries[peer.name], Path(name), cores.proxy) as running:
                found[peer.name] = {"idle": running.idle, "connection": per_connection(running)}
            with proxy(peer, binaries[peer.name], Path(name), cores.proxy, ENDPOINTS) as running:
                found[peer.name]["endpoints"] = running.idle
    return found
