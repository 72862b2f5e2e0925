"""The whole API of bilibili/discovery by hand, against one node: good words, odd ones and rubbish."""

from __future__ import annotations

import json
import random
import socket
import threading
import time

import pytest
import requests

from discovery_wire import BAD_REQUEST, CONFLICT, NOT_FOUND, NOT_MODIFIED, OK, Poll, Wire, metadata, raw
from lab import Lab, Registry, await_that

MIB = 1 << 20


@pytest.fixture(scope="module")
def node(shared_lab: Lab) -> Registry:
    return shared_lab.registry()[0]


@pytest.fixture
def wire(node: Registry, request: pytest.FixtureRequest) -> Wire:
    """An environment of this test's own, on the node that all share."""
    return Wire(node, env=f"env-{abs(hash(request.node.name))}")


# ----- Providers.

def test_an_instance_is_registered_renewed_set_and_cancelled(wire: Wire) -> None:
    registered = wire.register("a.b.c", "h", "grpc://10.0.0.1:9", region="sh", version="7",
                               metadata=metadata(color="red", weight="10"))
    renewed = wire.renew("a.b.c", "h")
    changed = wire.post("set", [*wire.key("a.b.c", "h"), ("status", 2), ("metadata", metadata(color="blue"))])
    fetched = wire.fetch("a.b.c", 2)
    cancelled = wire.cancel("a.b.c", "h")

    assert registered == {"code": OK, "message": "0", "ttl": 1}
    assert renewed["data"].items() >= {
        "region": "sh", "zone": "sh001", "env": wire.env, "appid": "a.b.c", "hostname": "h",
        "addrs": ["grpc://10.0.0.1:9"], "version": "7", "status": 1,
        "metadata": {"color": "red", "weight": "10"}}.items()
    assert changed["code"] == OK
    instance, = fetched["data"]["instances"]["sh001"]
    assert (instance["status"], instance["metadata"]) == (2, {"color": "blue", "weight": "10"})
    assert cancelled["code"] == OK
    assert wire.fetch("a.b.c", 3)["code"] == NOT_FOUND


def test_times_are_nanoseconds_and_those_of_a_service_only_rise(wire: Wire) -> None:
    now = time.time_ns()
    seen = []
    for step in (lambda: wire.register("rising", "h"), lambda: wire.register("rising", "i"),
                 lambda: wire.post("set", [*wire.key("rising", "h"), ("metadata", metadata(n="1"))]),
                 lambda: wire.cancel("rising", "i")):
        assert step()["code"] == OK
        seen.append(wire.timestamp("rising"))

    assert seen == sorted(set(seen)), "each change has its own, and `set` is a change"
    assert abs(seen[0] - now) < 60e9
    instance = wire.fetch("rising")["data"]["instances"]["sh001"][0]
    names = [f"{name}_timestamp" for name in ("reg", "up", "renew", "dirty", "latest")]
    assert all(abs(instance[name] - now) < 60e9 for name in names), instance


def test_everything_may_stand_in_the_query_as_kratos_has_it(wire: Wire) -> None:
    registered = wire.register("kratos", "h", "grpc://10.0.0.1:1", "http://10.0.0.1:2", by_query=True)
    renewed = wire.post("renew", wire.key("kratos", "h"), by_query=True)

    assert (registered["code"], renewed["code"]) == (OK, OK)
    assert renewed["data"]["addrs"] == ["grpc://10.0.0.1:1", "http://10.0.0.1:2"]


@pytest.mark.parametrize("addrs", [["grpc://10.0.0.1:1", "http://10.0.0.1:2"],
                                   ["grpc://10.0.0.1:1,http://10.0.0.1:2"],
                                   ["", "grpc://10.0.0.1:1", "", "http://10.0.0.1:2"]])
def test_lists_are_repeated_keys_or_joined_by_commas(wire: Wire, addrs: list[str]) -> None:
    wire.register("lists", "h", *addrs)

    assert wire.renew("lists", "h")["data"]["addrs"] == ["grpc://10.0.0.1:1", "http://10.0.0.1:2"]


def test_a_json_body_is_understood_by_go_names(wire: Wire, node: Registry) -> None:
    body = {"Zone": "sh001", "env": wire.env, "appid": "json", "hostname": "h", "status": 1,
            "addrs": ["grpc://10.0.0.1:1"]}

    answer = requests.post(node.url("/discovery/register"), json=body, timeout=5)

    assert answer.json()["code"] == OK
    assert wire.hostnames("json") == ["h"]


def test_metadata_that_is_no_text_is_kept_as_text(wire: Wire) -> None:
    wire.register("meta", "h", metadata='{"weight":10,"canary":true}')

    assert wire.renew("meta", "h")["data"]["metadata"]["weight"] == "10"


@pytest.mark.parametrize("wrong", [
    {"status": 0}, {"status": 3}, {"status": 4}, {"status": "one"}, {"status": -1}, {"status": ""},
    {"appid": ""}, {"env": ""}, {"zone": ""}, {"addrs": ""}, {"metadata": "{"}, {"metadata": "[1]"},
    {"dirty_timestamp": "soon"}, {"latest_timestamp": "1.5"}, {"status": 2 ** 70},
    {"appid": "a" * 100_000}, {"metadata": metadata(x="y" * 500_000)},
], ids=lambda it: f"{next(iter(it))}-{str(next(iter(it.values())))[:8]}")
def test_a_registration_that_makes_no_sense_is_refused(wire: Wire, wrong: dict[str, object]) -> None:
    good = dict(wire.key("wrong", "h")) | {"status": 1, "addrs": "grpc://10.0.0.1:1"}

    answer = wire.post("register", (good | wrong).items())

    assert answer["code"] == BAD_REQUEST, answer
    assert answer["message"] not in ("", "0") and "data" not in answer


def test_a_lost_field_is_a_refusal_of_every_call(wire: Wire) -> None:
    for call in ("register", "renew", "cancel", "set"):
        assert wire.post(call, [("env", "prod")])["code"] == BAD_REQUEST, call
    for call in ("fetch", "fetchs", "poll", "polls"):
        assert wire.get(call, [("env", "prod")])["code"] == BAD_REQUEST, call


def test_set_refuses_lists_of_unequal_lengths_and_hosts_that_are_not_there(wire: Wire) -> None:
    wire.register("set", "h")
    unequal = [*wire.key("set", "h"), ("status", 1), ("status", 2)]
    unknown = [*wire.key("set", "nobody"), ("status", 1)]
    odd = [*wire.key("set", "h"), ("status", 3)]

    answers = [wire.post("set", fields)["code"] for fields in (unequal, unknown, odd)]

    assert answers == [BAD_REQUEST] * 3
    assert wire.renew("set", "h")["data"]["status"] == 1


def test_who_is_not_known_is_told_so(wire: Wire) -> None:
    no_service = wire.renew("unknown", "h")
    wire.register("known", "h")
    no_host = wire.renew("known", "other")
    cancelled = wire.cancel("unknown", "h")

    assert (no_service["code"], no_service["data"]) == (NOT_FOUND, None)
    assert no_host["code"] == NOT_FOUND
    assert cancelled["code"] == NOT_FOUND


def test_a_peer_of_the_reference_is_told_who_is_behind(wire: Wire) -> None:
    wire.register("passed", "h")
    ours = wire.renew("passed", "h")["data"]["dirty_timestamp"]

    older = wire.renew("passed", "h", replication="true", dirty_timestamp=ours - 1)
    newer = wire.renew("passed", "h", replication="true", dirty_timestamp=ours + 1)
    equal = wire.renew("passed", "h", replication="true", dirty_timestamp=ours)

    assert (older["code"], older["data"]["hostname"]) == (CONFLICT, "h")
    assert (newer["code"], equal["code"]) == (NOT_FOUND, OK)


# ----- Consumers.

def test_reads_keep_to_zone_and_status(wire: Wire) -> None:
    Wire(wire.node, wire.env, "sh002").register("reads", "two")
    wire.register("reads", "one")
    wire.register("reads", "waiting", status=2)

    up, waiting, both = (wire.fetch("reads", status)["data"]["instances"] for status in (1, 2, 3))
    here = wire.fetch("reads", 3, zone="sh002")["data"]["instances"]
    nowhere = wire.fetch("reads", 3, zone="sh009")

    names = lambda zones: {zone: [it["hostname"] for it in all] for zone, all in zones.items()}  # noqa: E731
    assert names(up) == {"sh001": ["one"], "sh002": ["two"]}
    assert names(waiting) == {"sh001": ["waiting"], "sh002": []}
    assert sum(map(len, both.values())) == 3
    assert names(here) == {"sh002": ["two"]}
    assert nowhere["code"] == NOT_FOUND


def test_several_are_read_at_once_and_those_there_are_not_left_out(wire: Wire) -> None:
    wire.register("one", "h")
    wire.register("two", "h")
    fields = [("env", wire.env), ("status", 1), ("appid", "one"), ("appid", "two"), ("appid", "three")]

    answer = wire.get("fetchs", fields)
    none = wire.get("fetchs", [("env", wire.env), ("status", 1), ("appid", "three")])

    assert sorted(answer["data"]) == ["one", "two"]
    assert (none["code"], none["data"]) == (OK, {})


def test_all_there_is_can_be_copied(wire: Wire) -> None:
    wire.register("copied", "up")
    wire.register("copied", "waiting", status=2)

    everything = wire.get("fetch/all")["data"]

    assert {it["hostname"] for it in everything["copied"]} == {"up", "waiting"}


def test_the_registry_is_a_service_of_its_own(node: Registry) -> None:
    found = Wire(node).polls({"infra.discovery": 0})
    members = Wire(node).get("nodes")["data"]

    instance, = found["data"]["infra.discovery"]["instances"]["sh001"]
    assert instance["addrs"] == [node.url("")]
    assert members == [{"addr": node.address, "status": 0, "zone": "sh001"}]


# ----- Polls.

def test_a_poll_answers_at_once_who_has_something_else(wire: Wire) -> None:
    wire.register("polled", "h")
    now = wire.timestamp("polled")

    for known in (0, now - 1, now + 1):
        answer = wire.polls({"polled": known})
        assert answer["code"] == OK and "ttl" not in answer
        assert answer["data"]["polled"]["latest_timestamp"] == now
        assert answer["error"] == {"-404": None}


def test_a_poll_without_news_is_held_as_long_as_the_client_says(wire: Wire) -> None:
    wire.register("held", "h")
    known = {"held": wire.timestamp("held")}
    began = time.monotonic()

    answer = wire.polls(known, **{"x1-bmspy-timeout": "1000"})

    assert answer["code"] == NOT_MODIFIED
    assert 0.9 < time.monotonic() - began < 1.0 + 1.0


def test_commas_join_what_is_polled(wire: Wire) -> None:
    for appid in ("joined-one", "joined-two"):
        wire.register(appid, "h")
    now = wire.timestamp("joined-one")
    fields = [("env", wire.env), ("hostname", "c"), ("appid", "joined-one,joined-two"),
              ("latest_timestamp", f"{now},0")]

    answer = wire.get("polls", fields)

    assert list(answer["data"]) == ["joined-two"], "only what changed"


def test_lists_of_unequal_lengths_cannot_be_polled(wire: Wire) -> None:
    fields = [("env", wire.env), ("hostname", "c"), ("appid", "a"), ("appid", "b"), ("latest_timestamp", 0)]

    assert wire.get("polls", fields)["code"] == BAD_REQUEST


def test_what_is_not_there_is_named_and_told_at_once_to_who_polls_for_it_alone(wire: Wire) -> None:
    wire.register("there", "h")

    several = wire.polls({"there": 0, "not-there": 0})
    alone = wire.get("poll", [("env", wire.env), ("appid", "not-there"), ("hostname", "c")])

    assert several["error"] == {"-404": ["not-there"]}
    assert alone == {"code": NOT_FOUND, "message": "not-there not found"}


@pytest.mark.parametrize("change", ["register", "set", "cancel", "last-cancel"])
def test_each_change_wakes_who_polls(wire: Wire, change: str) -> None:
    hosts = ["h"] if change == "last-cancel" else ["h", "i"]
    for host in hosts:
        wire.register("woken", host)
    poll = held(wire, "woken")

    match change:
        case "register":
            wire.register("woken", "j")
        case "set":
            wire.post("set", [*wire.key("woken", "h"), ("metadata", metadata(color="red"))])
        case _:
            wire.cancel("woken", "h")

    answer = poll.result()
    assert answer["code"] == OK
    if change == "last-cancel":
        instances = ((answer["data"] or {}).get("woken") or {}).get("instances") or {}
        assert not any(instances.values())


def held(wire: Wire, appid: str, consumer: str = "consumer") -> Poll:
    """A poll for a service, which the node holds."""
    before = wire.node.status()["watchers"]
    poll = Poll(wire, {appid: wire.timestamp(appid)}, consumer)
    await_that("the poll is held", lambda: wire.node.status()["watchers"] > before)
    return poll


def test_pollers_of_one_host_do_not_take_each_others_news(wire: Wire) -> None:
    wire.register("shared-one", "h")
    wire.register("shared-two", "h")
    polls = [held(wire, appid, "same-host") for appid in ("shared-one", "shared-two", "shared-one")]

    wire.register("shared-one", "i")
    wire.register("shared-two", "i")

    assert [poll.result()["code"] for poll in polls] == [OK] * 3


def test_who_hangs_up_takes_no_news_along(wire: Wire) -> None:
    wire.register("ghost", "h")
    before = wire.node.status()["watchers"]
    ghosts = []
    host, port = wire.node.address.split(":")
    for _ in range(10):
        ghost = socket.create_connection((host, int(port)))
        query = f"env={wire.env}&appid=ghost&hostname=c&latest_timestamp={wire.timestamp('ghost')}"
        ghost.sendall(f"GET /discovery/polls?{query} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        ghosts.append(ghost)
    await_that("the ghosts are held", lambda: wire.node.status()["watchers"] == before + 10)
    for ghost in ghosts:
        ghost.close()
    await_that("the ghosts are gone", lambda: wire.node.status()["watchers"] == before)
    poll = held(wire, "ghost", "c")

    wire.register("ghost", "i")

    assert poll.result()["code"] == OK


def test_who_asks_the_same_without_pause_is_slowed_down_and_still_woken(wire: Wire) -> None:
    wire.register("hot", "h", status=2)
    began, polls = time.monotonic(), 0
    while time.monotonic() - began < 2:
        wire.polls({"hot": 0}, **{"x1-bmspy-timeout": "300"})
        polls += 1
    poll = Poll(wire, {"hot": 0})

    wire.register("hot", "h", status=1)

    assert polls < 50, "the reference answers thousands a second"
    assert poll.result()["code"] == OK


def test_no_change_is_lost_between_two_polls(wire: Wire) -> None:
    """One polls while another writes as fast as it can: what is seen last is what was written last."""
    wire.register("racing", "h", version="0")
    writes = 300
    writer = threading.Thread(target=lambda: [
        Wire(wire.node, wire.env).register("racing", "h", version=str(it)) for it in range(1, writes + 1)])
    writer.start()
    consumer, known, version = Wire(wire.node, wire.env), 0, ""
    deadline = time.monotonic() + 60

    while version != str(writes) and time.monotonic() < deadline:
        answer = consumer.polls({"racing": known})
        assert answer["code"] == OK, answer
        known = answer["data"]["racing"]["latest_timestamp"]
        version = answer["data"]["racing"]["instances"]["sh001"][0]["version"]
    writer.join()

    assert version == str(writes)


# ----- Strangers.

def test_lost_paths_and_wrong_methods_are_told_in_plain_text(node: Registry) -> None:
    lost = requests.get(node.url("/discovery/nothing"), timeout=5)
    wrong = requests.get(node.url("/discovery/register"), timeout=5)

    assert (lost.status_code, lost.text, lost.headers["content-type"]) == (
        404, "404 page not found", "text/plain")
    assert (wrong.status_code, wrong.text) == (405, "Method Not Allowed")


RUBBISH = [
    b"\x00", b"\r\n\r\n", b"GET", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /discovery/polls?\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /discovery/register HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
    b"POST /discovery/register HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"POST /discovery/register HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST /discovery/register HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
    b"POST /discovery/renew HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nzone=a",
    b"GET /discovery/fetch?" + b"appid=a&" * 10_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 300_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
]


@pytest.mark.parametrize("rubbish", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_is_no_fault_of_ours(node: Registry, rubbish: bytes) -> None:
    answer = raw(node, rubbish)

    if answer.startswith(b"HTTP/"):
        assert answer.split(b" ")[1][:1] in b"24", answer[:200]
    assert requests.get(node.url("/healthz"), timeout=5).status_code == 200


FORMS = ["%", "%zz=1", "a=%ff%fe", "=", "&&&", "appid", "appid=%00", "status=1;env=a", "a" * 70_000,
         "appid=🐈&env=🐈&zone=🐈&hostname=🐈&status=1&addrs=🐈", "addrs=a&" * 3000]


def test_long_lists_are_compressed_for_who_takes_that(wire: Wire) -> None:
    for number in range(100):
        wire.register("crowd", f"h{number}", f"http://10.0.0.{number}:80")
    url = wire.node.url(f"/discovery/fetch?env={wire.env}&appid=crowd&status=1")

    packed = requests.get(url, headers={"accept-encoding": "gzip"}, timeout=10)
    plain = requests.get(url, headers={"accept-encoding": "identity"}, timeout=10)

    assert (packed.headers.get("content-encoding"), plain.headers.get("content-encoding")) == ("gzip", None)
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 4
    assert packed.json()["data"]["instances"] == plain.json()["data"]["instances"]


@pytest.mark.parametrize("call", ["register", "renew", "cancel", "set", "fetch", "fetchs", "poll", "polls"])
def test_forms_of_rubbish_are_refused_or_not_found(node: Registry, call: str) -> None:
    for form in FORMS:
        if call in ("register", "renew", "cancel", "set"):
            answer = requests.post(node.url(f"/discovery/{call}"), data=form.encode(), timeout=5,
                                   headers={"content-type": "application/x-www-form-urlencoded"})
        else:
            answer = requests.get(node.url(f"/discovery/{call}?{form}"), timeout=5)
        assert answer.status_code in (200, 400, 414, 431), (form[:40], answer.status_code)
        if answer.status_code == 200:
            assert answer.json()["code"] in (OK, BAD_REQUEST, NOT_FOUND), (form[:40], answer.text)


def test_random_fields_are_never_a_server_error(node: Registry) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    names = ["zone", "env", "appid", "hostname", "status", "addrs", "metadata", "replication",
             "latest_timestamp", "dirty_timestamp", "from_zone", "set_timestamp", "version", "callback"]
    values = ["", "0", "1", "-1", "a", "a,b", ",", "true", "9" * 30, "{}", '{"a":1}', "null", "\x00", "é", "1e3"]
    calls = ["register", "renew", "cancel", "set", "fetch", "fetchs"]
    for _ in range(500):
        fields = [(chance.choice(names), chance.choice(values)) for _ in range(chance.randrange(12))]
        call = chance.choice(calls)
        send = {"params": fields} if call.startswith("fetch") or chance.random() < 0.3 else {"data": fields}
        method = "GET" if call.startswith("fetch") else "POST"
        answer = requests.request(method, node.url(f"/discovery/{call}"), timeout=5, **send)
        assert answer.status_code == 200, (seed, call, fields)
        code = answer.json()["code"]
        assert code in (OK, BAD_REQUEST, NOT_FOUND, CONFLICT), (seed, call, fields, code)


def test_a_body_beyond_all_bounds_is_refused(node: Registry) -> None:
    answer = requests.post(node.url("/discovery/register"), data=b"a" * 8 * MIB, timeout=10)

    assert answer.status_code == 413


def test_slow_readers_and_slow_writers_keep_nobody_waiting(wire: Wire) -> None:
    for number in range(200):
        wire.register("large", f"h-{number}", metadata=metadata(fill="x" * 20_000))
    host, port = wire.node.address.split(":")
    slow = []
    for number in range(100):
        stream = socket.create_connection((host, int(port)))
        if number % 2:
            stream.sendall(f"GET /discovery/fetch?env={wire.env}&appid=large&status=1 HTTP/1.1\r\n"
                           "host: x\r\n\r\n".encode())
        else:
            stream.sendall(b"POST /discovery/renew HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nzone=")
        slow.append(stream)
    worst = 0.0

    for number in range(200):
        began = time.monotonic()
        assert wire.renew("large", f"h-{number}")["code"] == OK
        worst = max(worst, time.monotonic() - began)

    for stream in slow:
        stream.close()
    assert worst < 2, "a heartbeat waited for somebody slow"


def test_a_thousand_polls_are_woken_by_one_change(wire: Wire) -> None:
    wire.register("crowd", "h")
    host, port = wire.node.address.split(":")
    before, known = wire.node.status()["watchers"], wire.timestamp("crowd")
    waiting = []
    for number in range(1000):
        stream = socket.create_connection((host, int(port)), timeout=20)
        query = f"env={wire.env}&appid=crowd&hostname=c-{number}&latest_timestamp={known}"
        stream.sendall(f"GET /discovery/polls?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        waiting.append(stream)
    await_that("all are held", lambda: wire.node.status()["watchers"] == before + 1000)

    wire.register("crowd", "i")

    for stream in waiting:
        with stream, stream.makefile("rb") as answer:
            body = answer.read().split(b"\r\n\r\n", 1)[1]
            zones = json.loads(body)["data"]["crowd"]["instances"]
            assert [it["hostname"] for it in zones["sh001"]] == ["h", "i"]
