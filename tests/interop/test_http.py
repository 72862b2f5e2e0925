"""HTTP/1.1 and HTTP/2 as curl and nghttp speak them, to Node's servers, also where one meets the other."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from curl import Answer, curl
from lab import Lab, Sidecar, Table, free_ports, instance, run, service

PROTOCOLS = ["http/1.1", "h2"]
#: Where the server's protocol is not the client's, one of the sidecars translates.
WAYS = ["direct", "two sidecars, then http/1.1", "two sidecars, then h2", "one sidecar, then http/1.1",
        "one sidecar, then h2"]
HOSTS = {"two sidecars, then http/1.1": "two-h1.shop", "two sidecars, then h2": "two-h2.shop",
         "one sidecar, then http/1.1": "one-h1.shop", "one sidecar, then h2": "one-h2.shop"}
MIB = 1 << 20
PIECE = b"dyelane " * 8192

Ask = Callable[..., Answer]
Servers = dict[tuple[str, str], str]


def page(length: int) -> bytes:
    """The bytes `/bytes/LENGTH` is made of."""
    return (PIECE * (length // len(PIECE) + 1))[:length]


@pytest.fixture(scope="module")
def servers(shared_lab: Lab) -> Servers:
    return {(protocol, lane): shared_lab.peer("web.js", protocol, lane).address
            for protocol in PROTOCOLS for lane in ("baseline", "alice")}


@pytest.fixture(scope="module")
def caller(shared_lab: Lab, servers: Servers) -> Sidecar:
    """The sidecar of those who call; beside each server stands another."""
    sidecars = shared_lab.sidecars_at_once([
        (f"web-{lane}.shop", address,
         {"workload": {"protocol": protocol} | ({"lane": lane} if lane != "baseline" else {})})
        for (protocol, lane), address in servers.items()])
    inbound = {key: sidecar.inbound for key, sidecar in zip(servers, sidecars, strict=True)}

    def both(addresses: Servers, spoken: str, **settings: str) -> Table:
        return service(instance(addresses[spoken, "baseline"]), instance(addresses[spoken, "alice"], "alice"),
                       **settings)

    return shared_lab.sidecar("caller.shop", services={
        "two-h1.shop": both(inbound, "http/1.1"),
        "two-h2.shop": both(inbound, "h2"),
        "one-h1.shop": both(servers, "http/1.1", protocol="http/1.1"),
        "one-h2.shop": both(servers, "h2", protocol="h2"),
        "dead.shop": service(instance(f"127.0.0.1:{free_ports(1)[0]}")),
    })


@pytest.fixture(params=PROTOCOLS)
def client(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ask(servers: Servers, client: str, way: str, request: pytest.FixtureRequest) -> Ask:
    """Asks for paths with curl, this `way`."""
    if way == "direct":
        address, host = servers[client, "baseline"], "web.shop"
    else:
        address, host = request.getfixturevalue("caller").outbound, HOSTS[way]
    return lambda *paths, **more: curl(client, address, host, *paths, **more)


def assert_good(answer: Answer, status: int = 200) -> None:
    assert (answer.exit, answer.head.status) == (0, status), answer.complaint or answer.body[:200]


# ----- Heads.

def test_method_path_host_and_fields_arrive_as_sent(ask: Ask, way: str) -> None:
    options = ("-X", "PATCH", "-H", "X-Mixed: a, b", "-H", "X-Empty;", "-H", "Cookie: a=1; b=2")

    answer = ask("/echo/%41/..%2f/é?q=a%20b&q=c#f", options=options)

    assert_good(answer)
    seen = answer.json()
    assert (seen["method"], seen["length"]) == ("PATCH", 0)
    assert seen["url"].startswith("/echo/%41/..%2f/") and seen["url"].endswith("?q=a%20b&q=c")
    fields = seen["headers"]
    assert fields.get(":authority") or fields.get("host") == HOSTS.get(way, "web.shop")
    assert (fields["x-mixed"], fields["x-empty"], fields["cookie"]) == ("a, b", "", "a=1; b=2")


def test_set_cookie_lines_stay_apart(ask: Ask) -> None:
    answer = ask("/cookies")

    assert_good(answer)
    assert answer.head.all("set-cookie") == ["a=1; Path=/", "b=2, c"]


def test_head_tells_the_length_and_sends_nothing(ask: Ask) -> None:
    answer = ask("/bytes/12345", options=("-I",))

    assert_good(answer)
    assert (answer.head.get("content-length"), answer.told[0]["size_download"]) == ("12345", 0)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_ends_at_its_head(ask: Ask, status: int) -> None:
    answer = ask(f"/status/{status}")

    assert_good(answer, status)
    assert (answer.head.get("x-empty"), answer.head.get("etag")) == ("yes", '"one"')
    assert answer.head.get("transfer-encoding") is None


@pytest.mark.parametrize("status", [200, 302, 401, 404, 418, 500, 503, 599])
def test_a_status_passes_as_it_is(ask: Ask, status: int) -> None:
    answer = ask(f"/status/{status}")

    assert_good(answer, status)
    assert answer.head.get("x-dyelane-reason") is None


def test_an_interim_answer_comes_before_the_answer(ask: Ask) -> None:
    answer = ask("/early")

    assert_good(answer)
    assert [head.status for head in answer.heads] == [103, 200]
    assert answer.heads[0].get("link") == "</style.css>; rel=preload"
    assert answer.body == b"done"


# ----- Bodies.

@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("length", [0, 1, 65535, 65536, 3 * MIB + 7])
def test_a_download_arrives_whole(ask: Ask, kind: str, length: int) -> None:
    answer = ask(f"/{kind}/{length}")

    assert_good(answer)
    assert answer.body == page(length)


def test_a_large_download_arrives_unchanged(ask: Ask) -> None:
    answer = ask(f"/pieces/{48 * MIB}")

    assert_good(answer)
    assert hashlib.sha256(answer.body).hexdigest() == hashlib.sha256(page(48 * MIB)).hexdigest()


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
@pytest.mark.parametrize("length", [0, 1, 65536, 24 * MIB + 5])
def test_an_upload_arrives_whole(ask: Ask, tmp_path: Path, framing: str, length: int) -> None:
    file = tmp_path / "upload"
    file.write_bytes(page(length))
    source = ("-T", str(file)) if framing == "content-length" else ("-T", "-")

    answer = ask("/echo", options=(*source, "-H", "Expect:"), stdin=page(length) if framing == "chunked" else b"")

    assert_good(answer)
    seen = answer.json()
    assert (seen["method"], seen["length"]) == ("PUT", length)
    assert seen["sha256"] == hashlib.sha256(page(length)).hexdigest()


def test_who_expects_100_is_told_to_continue(ask: Ask) -> None:
    answer = ask("/echo", options=("--data-binary", "@-", "-H", "Expect: 100-continue"), stdin=page(2 * MIB))

    assert_good(answer)
    assert answer.json()["length"] == 2 * MIB


# curl 7.88 loses an HTTP/2 answer that is followed by RST_STREAM; nghttp does that below.
@pytest.mark.parametrize("client", ["http/1.1"], indirect=True)
def test_an_upload_may_be_refused_before_it_is_read(ask: Ask) -> None:
    answer = ask("/refuse", options=("--data-binary", "@-", "-H", "Expect: 100-continue"), stdin=page(8 * MIB))

    assert answer.head.status == 413, answer.complaint
    assert answer.body == b"too large"


def test_part_of_a_page_can_be_asked_for(ask: Ask) -> None:
    answer = ask("/bytes/100000", options=("-r", "70000-70009"))

    assert_good(answer, 206)
    assert answer.head.get("content-range") == "bytes 70000-70009/100000"
    assert answer.body == page(100000)[70000:70010]


def test_trailers_follow_the_body(ask: Ask) -> None:
    answer = ask("/trailers", options=("-H", "TE: trailers"))

    assert_good(answer)
    assert answer.body == b"body"
    assert answer.trailers == [("x-sum", "42"), ("x-end", "here")]


@pytest.mark.parametrize("kind", ["broken", "broken-pieces"])
def test_a_body_that_breaks_off_never_ends_well(ask: Ask, kind: str) -> None:
    answer = ask(f"/{kind}", patience=10)

    assert answer.head.status == 200
    assert answer.exit in (18, 52, 56, 92), f"curl ended with {answer.exit} after {len(answer.body)} bytes"


# ----- Connections.

# curl 7.88 cannot use a connection of prior knowledge twice; nghttp does that below.
@pytest.mark.parametrize("client", ["http/1.1"], indirect=True)
def test_a_connection_serves_many_requests(ask: Ask) -> None:
    paths = ["/bytes/1000", "/status/204", "/pieces/70000", "/status/304", "/bytes/0", "/trailers"] * 10

    answer = ask(*paths)

    assert_good(answer)
    assert [told["num_connects"] for told in answer.told] == [1] + [0] * 59
    assert [told["response_code"] for told in answer.told] == [200, 204, 200, 304, 200, 200] * 10


def test_requests_written_at_once_are_answered_in_order(caller: Sidecar) -> None:
    address, port = caller.outbound.split(":")
    lines = [f"GET /bytes/{length} HTTP/1.1\r\nHost: two-h1.shop\r\n\r\n" for length in (11, 22, 33)]
    last = "GET /bytes/44 HTTP/1.1\r\nHost: one-h2.shop\r\nConnection: close\r\n\r\n"

    with socket.create_connection((address, int(port)), timeout=10) as connection:
        connection.sendall("".join([*lines, last]).encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    lengths = re.findall(rb"content-length: (\d+)", received, re.IGNORECASE)
    assert lengths == [b"11", b"22", b"33", b"44"]


def test_http_1_0_is_answered_and_closed(caller: Sidecar) -> None:
    address, port = caller.outbound.split(":")

    with socket.create_connection((address, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /pieces/70000 HTTP/1.0\r\nHost: two-h1.shop\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    head, _, body = received.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert b"transfer-encoding" not in head.lower()
    assert body == page(70000)


def test_a_slow_reader_does_not_fill_the_sidecar(caller: Sidecar, client: str) -> None:
    def peak() -> int:
        lines = Path(f"/proc/{caller.process.child.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024

    before = peak()

    answer = curl(client, caller.outbound, "two-h2.shop", f"/bytes/{512 * MIB}",
                  options=("--limit-rate", "4M"), patience=3)

    assert answer.exit == 28, answer.complaint
    assert peak() - before < 32, f"{before} MiB grew to {peak()} MiB"


# ----- Tenants.

@pytest.mark.parametrize("host", HOSTS.values())
def test_each_request_of_a_connection_goes_to_its_own_lane(caller: Sidecar, host: str) -> None:
    alice, bob, nobody = ("-H", "x-tenant: alice"), ("-H", "x-tenant: bob"), ()
    same = ("-q", "-sS", "--noproxy", "*", "--connect-to", f"{host}:80:{caller.outbound}", "-o", "/dev/null",
            "--http1.1", "-w", "%{num_connects} %header{x-lane}\n", f"http://{host}/bytes/10")
    parts = [part for who in (alice, nobody, bob, alice, nobody) for part in ("--next", *who, *same)][1:]

    done = run("curl", *parts)

    assert done.stdout.decode().splitlines() == ["1 alice", "0 baseline", "0 baseline", "0 alice", "0 baseline"]


def test_connection_cannot_strip_a_tenant(caller: Sidecar) -> None:
    answer = curl("http/1.1", caller.outbound, "two-h1.shop", "/echo",
                  options=("-H", "x-tenant: alice", "-H", "x-mine: 1", "-H", "Connection: x-tenant, x-mine"))

    assert_good(answer)
    assert answer.head.get("x-lane") == "alice"
    assert answer.json()["headers"]["x-tenant"] == "alice"
    assert "x-mine" not in answer.json()["headers"]


def test_the_echo_tells_every_hop(caller: Sidecar, client: str) -> None:
    answer = curl(client, caller.outbound, "two-h1.shop", "/bytes/1",
                  options=("-H", "x-tenant: alice", "-H", "x-dyelane-echo: 1"))

    assert_good(answer)
    assert "two-h1.shop@alice;exact" in (answer.head.get("x-dyelane-path") or "")


# ----- What the sidecar answers itself.

@pytest.mark.parametrize(("host", "options", "status", "reason"), [
    ("unheard-of.shop", (), 404, "unroutable"),
    ("dead.shop", (), 503, "connect"),
    ("two-h1.shop", ("-H", "x-tenant: a b"), 400, "claim"),
    ("two-h1.shop", ("-H", "x-tenant;"), 400, "claim"),
    ("two-h1.shop", ("-H", "x-tenant: alice,bob"), 400, "claim"),
    ("two-h1.shop", ("-H", "x-tenant: alice", "-H", "x-tenant: bob"), 400, "claim"),
    ("two-h1.shop", ("-H", "x-tenant: alice", "-H", "baggage: tenant=bob"), 400, "claim"),
])
def test_what_cannot_be_served_is_said_in_http(caller: Sidecar, client: str, host: str, options: tuple[str, ...],
                                               status: int, reason: str) -> None:
    answer = curl(client, caller.outbound, host, "/bytes/1", options=options, patience=5)

    assert_good(answer, status)
    assert answer.head.get("x-dyelane-reason") == reason
    assert answer.body.count(b"\n") <= 1


# ----- nghttp: trailers of requests, many streams at once.

def nghttp(address: str, host: str, path: str, *options: str, stdin: bytes = b"") -> str:
    done = run("nghttp", "-v", "--no-dep", "-t", "20", "-H", f":authority: {host}", *options,
               f"http://{address}{path}", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode(errors="replace"))


@pytest.mark.parametrize("host", HOSTS.values())
def test_trailers_of_a_request_arrive(caller: Sidecar, tmp_path: Path, host: str) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"x" * 1000)

    text = nghttp(caller.outbound, host, "/echo", "-d", str(file),
                  "--trailer", "x-digest: abc", "--trailer", "x-two: 2")

    assert '"trailers":{"x-digest":"abc","x-two":"2"}' in text
    assert '"length":1000' in text


@pytest.mark.parametrize("host", HOSTS.values())
def test_an_answer_may_come_before_the_upload_ends(caller: Sidecar, tmp_path: Path, host: str) -> None:
    file = tmp_path / "body"
    file.write_bytes(page(8 * MIB))

    text = nghttp(caller.outbound, host, "/refuse", "-d", str(file))

    assert ":status: 413" in text and "too large" in text


@pytest.mark.parametrize("host", HOSTS.values())
def test_nghttp_sees_trailers_as_the_last_frame(caller: Sidecar, host: str) -> None:
    text = nghttp(caller.outbound, host, "/trailers")

    last = text[text.index("x-sum: 42"):]
    assert "x-end: here" in last
    assert "recv HEADERS frame" in last and "END_STREAM | END_HEADERS" in last


@pytest.mark.parametrize("host", HOSTS.values())
def test_many_streams_of_one_connection_are_all_answered(caller: Sidecar, host: str) -> None:
    text = nghttp(caller.outbound, host, "/bytes/2000", "-n", "-m", "500")

    assert text.count(":status: 200") == 500
