"""Eureka's API, spoken by hand to one node, and clients of it that run beside the tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import requests

from lab import PATIENCE, Lab, Peer, Registry, Table, await_that, get

JSON = {"accept": "application/json"}


def urls(nodes: list[str]) -> list[str]:
    """Where clients find Eureka's API at these addresses."""
    return [f"http://{it}/eureka" for it in nodes]


class Eureka:
    """A caller of one node."""

    def __init__(self, address: str) -> None:
        self.url = urls([address])[0]

    def does(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, f"{self.url}/{path}", json=body, headers=JSON, timeout=PATIENCE)

    def register(self, app: str, instance_id: str, **more: Any) -> None:
        instance = {"instanceId": instance_id, "app": app, "hostName": "127.0.0.1", "ipAddr": "127.0.0.1",
                    "vipAddress": app.lower(), "status": "UP", "port": {"$": 8080, "@enabled": "true"},
                    "dataCenterInfo": {"name": "MyOwn"}} | more
        told = self.does("POST", f"apps/{app}", {"instance": instance})
        assert told.status_code == 204, told.text

    def cancel(self, app: str, instance_id: str) -> None:
        told = self.does("DELETE", f"apps/{app}/{instance_id}")
        assert told.status_code == 200, told.text

    def instance(self, app: str, instance_id: str) -> Table | None:
        """What the node shows of an instance; none if there is none."""
        told = self.does("GET", f"apps/{app}/{instance_id}")
        return told.json()["instance"] if told.status_code == 200 else None

    def knows(self, app: str, instance_id: str, status: str = "UP") -> bool:
        instance = self.instance(app, instance_id)
        return instance is not None and instance["status"] == status


@dataclass
class Client:
    """A client in a process of its own, which is an instance too."""

    peer: Peer
    app: str
    instance_id: str

    def tell(self, path: str) -> dict[str, list[Table]]:
        """Has it do something; returns what it then knows, by application or virtual address."""
        code, text = get(f"http://{self.peer.address}/{path}")
        assert code == 200, text
        return json.loads(text)

    def seen(self, app: str) -> dict[str, Table]:
        """The instances it knows of an application, by id."""
        return {it["id"]: it for it in self.tell("seen").get(app, [])}

    def ports(self, app: str, instance_id: str) -> list[int]:
        """Where it believes an instance to be: some clients may know several of one id."""
        return [it["port"] for it in self.tell("seen").get(app, []) if it["id"] == instance_id]

    def await_seen(self, app: str, wanted: dict[str, str]) -> dict[str, Table]:
        """Awaits that it knows these instances and no others, with these statuses."""
        def statuses() -> dict[str, str]:
            return {name: it["status"] for name, it in self.seen(app).items()}

        await_that(f"{self.instance_id} knows {wanted} of {app}", lambda: statuses() == wanted)
        return self.seen(app)


def client(lab: Lab, kind: str, nodes: list[str], app: str, instance_id: str, port: int = 7000) -> Client:
    """Starts a client of a kind, and awaits that it has registered."""
    servers = ",".join(urls(nodes))
    if kind.startswith("eureka-js-client"):
        mode = kind.removeprefix("eureka-js-client-")
        peer = lab.peer("eureka_client.js", servers, app, instance_id, str(port), mode)
    else:
        peer = lab.peer("eureka_client.py", kind, servers, app, instance_id, str(port))
    return Client(peer, app, instance_id)


def addresses(nodes: list[Registry]) -> list[str]:
    return [it.address for it in nodes]
