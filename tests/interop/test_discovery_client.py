"""python-discovery-client, a client of bilibili/discovery from PyPI: against one node and three.

It joins lists by commas, as no server since 2019 takes them, and gives up on every code but 0.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest
from discovery import Client, Config
from discovery.client import DiscoveryError

from discovery_wire import Wire
from lab import Lab, Registry, await_that

ADDRS = ["grpc://10.0.0.1:9000", "http://10.0.0.1:8000"]


@pytest.fixture(params=[1, 3], ids=["one-node", "three-nodes"])
def nodes(lab: Lab, request: pytest.FixtureRequest) -> list[Registry]:
    return lab.registry(request.param)


@pytest.fixture
def provider(nodes: list[Registry]) -> Iterator[Client]:
    yield from client(nodes[0], "provider")


@pytest.fixture
def consumer(nodes: list[Registry]) -> Iterator[Client]:
    """A client of the last node."""
    yield from client(nodes[-1], "consumer")


def client(node: Registry, host: str) -> Iterator[Client]:
    client = Client(Config(node.address, "sh", "sh001", "prod", host), timeout=10, accuracy=0.05)
    yield client
    # Its threads end once what they do is done, a poll at the latest when its node ends.
    client._crontab._stoped = True


def found(consumer: Client, appid: str) -> list[dict[str, Any]]:
    try:
        return [it for zone in consumer.fetch(appid).values() for it in zone]
    except DiscoveryError as error:
        assert error.code == -404
        return []


def test_what_one_registers_another_finds_whole(provider: Client, consumer: Client) -> None:
    provider.register("shop.web.grpc", ADDRS)

    await_that("the instance is found", lambda: bool(found(consumer, "shop.web.grpc")))

    instance, = found(consumer, "shop.web.grpc")
    assert (instance["hostname"], instance["addrs"], instance["status"]) == ("provider", ADDRS, 1)
    assert (instance["region"], instance["zone"], instance["env"]) == ("sh", "sh001", "prod")


def test_who_watches_several_services_is_told_of_each(provider: Client, consumer: Client) -> None:
    provider.register("shop.web.grpc", ADDRS)
    provider.register("shop.cart.grpc", ADDRS[:1])
    for appid in ("shop.web.grpc", "shop.cart.grpc"):
        await_that(f"{appid} is found", lambda appid=appid: bool(found(consumer, appid)))
    told: queue.Queue[tuple[str, Any]] = queue.Queue()

    for appid in ("shop.web.grpc", "shop.cart.grpc"):
        consumer.watch(appid, lambda zones, appid=appid: told.put((appid, zones)))

    first = dict(told.get(timeout=20) for _ in range(2))
    assert {appid: zones["sh001"][0]["addrs"] for appid, zones in first.items()} == {
        "shop.web.grpc": ADDRS, "shop.cart.grpc": ADDRS[:1]}


def test_a_change_wakes_who_watches(nodes: list[Registry], provider: Client, consumer: Client) -> None:
    provider.register("shop.web.grpc", ADDRS)
    await_that("the instance is found", lambda: bool(found(consumer, "shop.web.grpc")))
    told: queue.Queue[Any] = queue.Queue()
    consumer.watch("shop.web.grpc", told.put)
    told.get(timeout=20)
    await_that("the next poll is held", lambda: nodes[-1].status()["watchers"] > 0)

    Wire(nodes[0]).register("shop.web.grpc", "second")

    zones = told.get(timeout=5)
    assert [it["hostname"] for it in zones["sh001"]] == ["provider", "second"]


def test_a_heartbeat_that_is_not_known_makes_it_register_again(
        nodes: list[Registry], provider: Client, consumer: Client) -> None:
    provider.register("shop.web.grpc", ADDRS)
    beat = provider._crontab._crontab_list["renew_shop.web.grpc"].run
    beat()
    Wire(nodes[0]).cancel("shop.web.grpc", "provider")

    beat()

    await_that("it is found again", lambda: bool(found(consumer, "shop.web.grpc")))


def test_a_service_nobody_has_is_an_error_to_it(consumer: Client) -> None:
    with pytest.raises(DiscoveryError) as told:
        consumer.fetch("nobody.knows.it")

    assert (told.value.code, told.value.message) == (-404, "-404")
