"""The API of bilibili/discovery, spoken by hand: what its clients send, and how it is answered."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable
from typing import Any

import requests

from lab import PATIENCE, Registry, Table

OK, NOT_MODIFIED, BAD_REQUEST, NOT_FOUND, CONFLICT = 0, -304, -400, -404, -409

Fields = Iterable[tuple[str, Any]]


class Wire:
    """One consumer or provider, on one connection to one node."""

    def __init__(self, node: Registry, env: str = "prod", zone: str = "sh001") -> None:
        self.node, self.env, self.zone = node, env, zone
        self.session = requests.Session()

    def post(self, call: str, fields: Fields, *, by_query: bool = False) -> Table:
        """Sends a form; with `by_query` as Kratos 2 does, all of it in the query."""
        fields = list(fields)
        url = self.node.url(f"/discovery/{call}")
        given = {"params": fields} if by_query else {"data": fields}
        return self.answer(self.session.post(url, timeout=PATIENCE, **given))

    def get(self, call: str, fields: Fields = (), patience: float = 40.0, **headers: str) -> Table:
        url = self.node.url(f"/discovery/{call}")
        return self.answer(self.session.get(url, params=list(fields), timeout=patience, headers=headers))

    @staticmethod
    def answer(response: requests.Response) -> Table:
        """The envelope of an answer: always 200, with its code in a header too."""
        assert response.status_code == 200, (response.status_code, response.text)
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        envelope = response.json()
        assert response.headers["kratos-status-code"] == str(envelope["code"])
        return envelope

    def key(self, appid: str, hostname: str) -> list[tuple[str, Any]]:
        return [("zone", self.zone), ("env", self.env), ("appid", appid), ("hostname", hostname)]

    def register(self, appid: str, hostname: str, *addrs: str, by_query: bool = False,
                 **more: Any) -> Table:
        addrs = addrs or (f"grpc://10.0.0.1:{1000 + len(hostname)}",)
        fields = [*self.key(appid, hostname), *(("addrs", addr) for addr in addrs)]
        fields += {"status": 1, **more}.items()
        return self.post("register", fields, by_query=by_query)

    def renew(self, appid: str, hostname: str, **more: Any) -> Table:
        return self.post("renew", [*self.key(appid, hostname), *more.items()])

    def cancel(self, appid: str, hostname: str) -> Table:
        return self.post("cancel", self.key(appid, hostname))

    def fetch(self, appid: str, status: int = 1, **more: Any) -> Table:
        return self.get("fetch", [("env", self.env), ("appid", appid), ("status", status), *more.items()])

    def hostnames(self, appid: str, status: int = 3) -> list[str]:
        """The names of all instances of a service."""
        answer = self.fetch(appid, status)
        zones = (answer.get("data") or {}).get("instances") or {}
        return sorted(it["hostname"] for zone in zones.values() for it in zone)

    def polls(self, known: dict[str, int], consumer: str = "consumer", **headers: str) -> Table:
        """Polls for services of which the consumer knows these timestamps."""
        fields = [("env", self.env), ("hostname", consumer)]
        for appid, timestamp in known.items():
            fields += [("appid", appid), ("latest_timestamp", timestamp)]
        return self.get("polls", fields, **headers)

    def timestamp(self, appid: str) -> int:
        return int(self.fetch(appid, 3)["data"]["latest_timestamp"])


class Poll(threading.Thread):
    """A poll in the background."""

    def __init__(self, wire: Wire, known: dict[str, int], consumer: str = "consumer") -> None:
        super().__init__(daemon=True)
        # Not on the connection of the other, who goes on.
        self.wire = Wire(wire.node, wire.env, wire.zone)
        self.known, self.consumer = known, consumer
        self.answered: Table | None = None
        self.start()

    def run(self) -> None:
        self.answered = self.wire.polls(self.known, self.consumer)

    def result(self, patience: float = 5.0) -> Table:
        """The answer, which is awaited; a poll that is held longer than `patience` has lost a wake-up."""
        self.join(patience)
        assert self.answered is not None, "the poll is still held"
        return self.answered


def raw(node: Registry, data: bytes, patience: float = 5.0) -> bytes:
    """Sends bytes as they are, and nothing more; returns all that comes until the end or a pause."""
    host, port = node.address.split(":")
    with socket.create_connection((host, int(port)), timeout=patience) as stream:
        stream.settimeout(patience)
        received = b""
        try:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            while part := stream.recv(65536):
                received += part
        except OSError:
            pass
        return received


def metadata(**values: Any) -> str:
    return json.dumps(values)
