"""Clients of Netflix Eureka that no one here wrote, against one node and three.

py_eureka_client and eurekapy read XML, eureka-js-client JSON and needs every status to be the one it
expects, pyeureka counts time in seconds, flask-eureka-client sends numbers for texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from discovery import Client as DiscoveryClient
from discovery import Config
from flask_eureka.eurekaclient import EurekaClient as FlaskEurekaClient
from pyeureka import EurekaClient as PyEurekaClient
from pyeureka.client import EurekaInstanceDoesNotExistException

from eureka_wire import Client, Eureka, addresses, client
from lab import Lab, Registry, await_that

KINDS = ["py_eureka_client", "eurekapy", "eureka-js-client-full", "eureka-js-client-delta"]

Start = Callable[..., Client]


@pytest.fixture(params=[1, 3], ids=["one-node", "three-nodes"])
def registry(lab: Lab, request: pytest.FixtureRequest) -> list[Registry]:
    return lab.registry(request.param)


@pytest.fixture
def nodes(registry: list[Registry]) -> list[str]:
    """The addresses of all nodes: a client is told all of them, an observer asks the last."""
    return addresses(registry)


@pytest.fixture(params=KINDS)
def start(lab: Lab, nodes: list[str], request: pytest.FixtureRequest) -> Start:
    """Starts clients of one kind."""
    return lambda app, instance_id, port=7000: client(lab, request.param, nodes, app, instance_id, port)


@pytest.fixture
def last(nodes: list[str]) -> Eureka:
    return Eureka(nodes[-1])


def test_clients_register_and_see_each_other_whole(start: Start, last: Eureka) -> None:
    one = start("SHOP.CART", "one", 7001)
    other = start("SHOP.CART", "other", 7002)

    for each in (one, other):
        seen = each.await_seen("SHOP.CART", {"one": "UP", "other": "UP"})
        assert {name: it["port"] for name, it in seen.items()} == {"one": 7001, "other": 7002}
        assert all(it["metadata"]["color"] == "alice" and it["ip"] == "127.0.0.1" for it in seen.values())
        assert all(it["vip"].lower() == "shop.cart" for it in seen.values())
    await_that("every node knows it", lambda: last.knows("SHOP.CART", "one"))


def test_a_client_is_told_of_every_change(start: Start, last: Eureka) -> None:
    watching = start("WATCHER", "w")

    last.register("SHOP", "a", port={"$": 1, "@enabled": "true"})
    watching.await_seen("SHOP", {"a": "UP"})
    last.register("SHOP", "b", port={"$": 2, "@enabled": "true"})
    watching.await_seen("SHOP", {"a": "UP", "b": "UP"})
    assert last.does("PUT", "apps/SHOP/a/status?value=OUT_OF_SERVICE").status_code == 200
    assert last.does("PUT", "apps/SHOP/b/metadata?color=red").status_code == 200
    await_that("it is told of the metadata",
               lambda: (watching.seen("SHOP").get("b", {}).get("metadata") or {}).get("color") == "red")
    # In full mode eureka-js-client leaves out what is not up; the others show it.
    await_that("it is told of the status",
               lambda: watching.seen("SHOP").get("a", {"status": "OUT_OF_SERVICE"})["status"] == "OUT_OF_SERVICE")
    last.cancel("SHOP", "b")
    last.register("SHOP", "b", port={"$": 9, "@enabled": "true"})
    await_that("it is told of the new one and of the end of the old",
               lambda: watching.ports("SHOP", "b") == [9])
    last.cancel("SHOP", "b")
    await_that("it is told of the end", lambda: watching.ports("SHOP", "b") == [])


def test_a_client_registers_again_at_a_registry_that_has_forgotten_it(
        lab: Lab, start: Start, registry: list[Registry], last: Eureka) -> None:
    client = start("SHOP", "h")
    await_that("it is known", lambda: last.knows("SHOP", "h"))

    for node in registry:
        node.process.stop()
    again = [lab.node(node.command, node.address) for node in registry]
    for node in again:
        lab.await_node(node)

    await_that("it is known again", lambda: last.knows("SHOP", "h"))
    client.peer.process.expect_running()


def test_a_client_that_stops_is_gone_at_once(start: Start, last: Eureka) -> None:
    staying = start("SHOP", "stays", 7001)
    leaving = start("SHOP", "leaves", 7002)
    staying.await_seen("SHOP", {"stays": "UP", "leaves": "UP"})

    leaving.tell("stop")
    leaving.peer.process.stop()

    await_that("it is gone", lambda: last.instance("SHOP", "leaves") is None)
    staying.await_seen("SHOP", {"stays": "UP"})


def test_what_discovery_registers_clients_of_eureka_see_and_the_other_way_round(
        start: Start, nodes: list[str], last: Eureka) -> None:
    discovery = DiscoveryClient(Config(nodes[0], "sh", "sh001", "prod", "pod-1"), timeout=10, accuracy=0.05)
    discovery.register("shop.cart", ["grpc://10.0.0.7:9000", "http://10.0.0.7:8000"])
    try:
        eureka = start("SHOP.CART", "pod-2", 7002)

        seen = eureka.await_seen("SHOP.CART", {"pod-1": "UP", "pod-2": "UP"})
        await_that("discovery sees both", lambda: len(found(discovery, "shop.cart")) == 2)

        assert (seen["pod-1"]["ip"], seen["pod-1"]["port"]) == ("10.0.0.7", 8000)
        addrs = {it["hostname"]: it["addrs"] for it in found(discovery, "shop.cart")}
        assert addrs["pod-2"] == ["http://127.0.0.1:7002"]
    finally:
        discovery._crontab._stoped = True


def found(discovery: DiscoveryClient, appid: str) -> list[dict]:
    return [it for zone in discovery.fetch(appid).values() for it in zone]


@pytest.mark.parametrize("kind", ["py_eureka_client", "eurekapy"])
def test_a_client_puts_a_status_over_its_own_and_takes_it_back(
        lab: Lab, nodes: list[str], last: Eureka, kind: str) -> None:
    it = client(lab, kind, nodes, "SHOP", "h")

    it.tell("status?OUT_OF_SERVICE")
    await_that("it is out of service", lambda: last.knows("SHOP", "h", "OUT_OF_SERVICE"))
    it.await_seen("SHOP", {"h": "OUT_OF_SERVICE"})
    it.tell("restore")

    # Its next heartbeat is told to register: with the status it last had, as it does.
    await_that("it has a status of its own", lambda: (last.instance("SHOP", "h") or {}).get(
        "overriddenStatus") == "UNKNOWN")


@pytest.fixture
def pyeureka(nodes: list[str]) -> Iterator[PyEurekaClient]:
    yield PyEurekaClient(f"http://{nodes[0]}", {"ipAddr": "127.0.0.1", "app": "shop", "port": 80,
                                                "instanceId": "h:80", "vipAddress": "shop"})


def test_pyeureka_does_all_it_can(pyeureka: PyEurekaClient, last: Eureka) -> None:
    with pytest.raises(EurekaInstanceDoesNotExistException):
        pyeureka.heartbeat()
    pyeureka.register()
    pyeureka.heartbeat()
    await_that("every node knows it", lambda: last.knows("SHOP", "h:80"))

    assert pyeureka.query(app="shop")["application"]["instance"][0]["instanceId"] == "h:80"
    assert pyeureka.query(instance="h:80")["instance"]["app"] == "SHOP"
    assert pyeureka.query(app="shop", instance="h:80")["instance"]["port"] == {"$": 80, "@enabled": "true"}
    assert pyeureka.query_vip("shop").json()["applications"]["apps__hashcode"] == "UP_1_"
    assert pyeureka.query_svip("shop").json()["applications"]["application"] == []
    pyeureka.update_metadata("color", "red")
    pyeureka.take_instance_out_of_service()
    assert pyeureka.query(instance="h:80")["instance"]["status"] == "OUT_OF_SERVICE"
    pyeureka.put_instance_back_into_service()
    await_that("every node is told", lambda: (last.instance("SHOP", "h:80") or {}).get("metadata") == {"color": "red"})
    pyeureka.deregister()
    await_that("every node has lost it", lambda: last.instance("SHOP", "h:80") is None)


def test_flask_eureka_client_registers_renews_and_stops(nodes: list[str], last: Eureka) -> None:
    client = FlaskEurekaClient(
        "shop", eureka_url=f"http://{nodes[0]}", host_name="127.0.0.1", port=8080, use_dns=False,
        heartbeat_interval=3600, vip_address="127.0.0.1")

    client.register()
    await_that("every node knows it", lambda: last.knows("SHOP", "127.0.0.1:shop:8080"))
    Eureka(nodes[0]).cancel("SHOP", "127.0.0.1:shop:8080")
    await_that("no node knows it", lambda: not last.knows("SHOP", "127.0.0.1:shop:8080"))
    client.renew()
    client.renew()
    await_that("it has registered again", lambda: last.knows("SHOP", "127.0.0.1:shop:8080"))
    shown = last.instance("SHOP", "127.0.0.1:shop:8080")
    client.stop()

    assert shown is not None and shown["metadata"] == {"management.port": "8080"}
    await_that("it is gone", lambda: last.instance("SHOP", "127.0.0.1:shop:8080") is None)
