"""gRPC: three clients, two servers, directly and through a caller's and a callee's sidecar.

The direct runs prove the peers; whatever fails only `via` the sidecars is the sidecars' doing.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator

import grpc
import pytest

from grpc_clients import Ask, Client, Grpcio, GrpcJs, Grpcurl, Landed, Metadata, Outcome, Target
from lab import Lab, Sidecar, free_ports, instance, run, service

OK = grpc.StatusCode.OK
ALICE: Metadata = (("x-tenant", "alice"),)
BY_BAGGAGE: Metadata = (("baggage", "color=blue;p=1,tenant=alice"),)
NOBODY: Metadata = ()
SERVERS = {"grpcio-server": "grpc_server.py", "grpc-js-server": "grpc_server.js"}
MIB = 1 << 20


Applications = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def applications(shared_lab: Lab) -> Applications:
    """The address of each server's baseline and of its alice."""
    return {(server, lane): shared_lab.peer(script, lane).address
            for server, script in SERVERS.items() for lane in ("baseline", "alice")}


@pytest.fixture(scope="module")
def caller(shared_lab: Lab, applications: Applications) -> Sidecar:
    """A sidecar beside each application, and the one beside those that call them."""
    sidecars = shared_lab.sidecars_at_once([
        (f"{server}.shop", application, {"workload": {"lane": lane} if lane != "baseline" else {}})
        for (server, lane), application in applications.items()])
    inbound = {key: sidecar.inbound for key, sidecar in zip(applications, sidecars, strict=True)}
    services = {f"{server}.shop": service(instance(inbound[server, "baseline"]),
                                          instance(inbound[server, "alice"], "alice"))
                for server in SERVERS}
    services["nobody.shop"] = service(instance("127.0.0.1:1", "alice"))
    services["dead.shop"] = service(instance(f"127.0.0.1:{free_ports(1)[0]}"))
    return shared_lab.sidecar("caller.shop", services=services)


@pytest.fixture(scope="module")
def clients() -> Iterator[dict[str, Client]]:
    node = GrpcJs()
    yield {"grpcio": Grpcio(), "grpc-js": node, "grpcurl": Grpcurl()}
    node.close()


@pytest.fixture(params=["direct", "sidecars"])
def via(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=SERVERS)
def target(applications: Applications, via: str, request: pytest.FixtureRequest) -> Target:
    if via == "direct":
        return Target(applications[request.param, "baseline"], "localhost")
    return through(request.getfixturevalue("caller"), request.param)


def through(caller: Sidecar, server: str) -> Target:
    return Target(caller.outbound, f"{server}.shop")


@pytest.fixture(params=["grpcio", "grpc-js", "grpcurl"])
def client(clients: dict[str, Client], request: pytest.FixtureRequest) -> Client:
    return clients[request.param]


@pytest.fixture(params=["grpcio", "grpc-js"])
def patient(clients: dict[str, Client], request: pytest.FixtureRequest) -> Client:
    """A client that can take turns, give up half way and make many calls."""
    return clients[request.param]


def assert_good(outcome: Outcome, answers: int = 1) -> None:
    assert (outcome.code, len(outcome.answers)) == (OK, answers), outcome.message


# ----- Four kinds of call.

def test_a_unary_call_is_answered(client: Client, target: Target) -> None:
    outcome = client.call(target, "Unary", Ask(text="hello", payload=b"\x00\xff"))

    assert_good(outcome)
    assert (outcome.answers[0].text, outcome.answers[0].payload) == ("hello", b"\x00\xff")


def test_a_client_stream_arrives_whole(client: Client, target: Target) -> None:
    asks = [Ask(text=str(at), payload=bytes([at]) * 1000) for at in range(100)]

    outcome = client.call(target, "Upload", *asks)

    assert_good(outcome)
    assert (outcome.answers[0].count, outcome.answers[0].text) == (100, "99")


def test_a_server_stream_arrives_in_order(client: Client, target: Target) -> None:
    outcome = client.call(target, "Download", Ask(text="more", answers=100, answer_bytes=1000))

    assert_good(outcome, answers=100)
    assert [answer.count for answer in outcome.answers] == list(range(1, 101))


def test_a_conversation_takes_turns(patient: Client, target: Target) -> None:
    asks = [Ask(text=str(at)) for at in range(50)]

    outcome = patient.call(target, "Talk", *asks)

    assert_good(outcome, answers=50)
    assert [answer.text for answer in outcome.answers] == [ask.text for ask in asks]


# ----- Sizes.

def test_empty_messages_are_messages(client: Client, target: Target) -> None:
    outcome = client.call(target, "Upload", *[Ask()] * 10)

    assert_good(outcome)
    assert outcome.answers[0].count == 10


def test_a_stream_of_no_message_is_a_stream(client: Client, target: Target) -> None:
    outcome = client.call(target, "Download", Ask(answers=0))

    assert_good(outcome, answers=0)


def test_four_mebibytes_pass_both_ways_unchanged(client: Client, target: Target) -> None:
    payload = hashlib.sha256(b"seed").digest() * (4 * MIB // 32)

    outcome = client.call(target, "Unary", Ask(payload=payload), timeout=40)

    assert_good(outcome)
    assert hashlib.sha256(outcome.answers[0].payload).digest() == hashlib.sha256(payload).digest()


def test_thirty_two_mebibytes_stream_down(patient: Client, target: Target) -> None:
    outcome = patient.call(target, "Download", Ask(answers=32, answer_bytes=MIB), timeout=40)

    assert_good(outcome, answers=32)
    assert sum(len(answer.payload) for answer in outcome.answers) == 32 * MIB


# ----- Metadata.

def test_metadata_arrives_and_comes_back(client: Client, target: Target) -> None:
    metadata: list[tuple[str, str | bytes]] = [
        ("x-echo-text", "a b, c"), ("x-echo-raw-bin", bytes(range(256))),
        ("x-trail-text", "t"), ("x-trail-raw-bin", b"\x00\x01\xff")]

    outcome = client.call(target, "Unary", Ask(text="metadata"), metadata=metadata)

    assert_good(outcome)
    assert "x-echo-text=a b, c" in outcome.answers[0].seen
    assert set(metadata[:2]) <= set(outcome.initial)
    assert set(metadata[2:]) <= set(outcome.trailing)


def test_repeated_metadata_keeps_its_order(client: Client, target: Target) -> None:
    metadata = [("x-trail-one", "first"), ("x-trail-one", "second")]

    outcome = client.call(target, "Unary", Ask(), metadata=metadata)

    assert_good(outcome)
    values = [str(value) for name, value in outcome.trailing if name == "x-trail-one"]
    assert ", ".join(values) == "first, second"


def test_six_kibibytes_of_metadata_pass(patient: Client, target: Target) -> None:
    # grpcio's own limit for what it receives is 8 KiB, so this goes one way only.
    metadata = [(f"x-long-{at}", "v" * 700) for at in range(9)]

    outcome = patient.call(target, "Unary", Ask(), metadata=metadata)

    assert_good(outcome)
    assert all(f"{name}={value}" in outcome.answers[0].seen for name, value in metadata)


# ----- Failures.

@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not OK])
def test_every_status_passes(patient: Client, target: Target, code: grpc.StatusCode) -> None:
    ask = Ask(fail=code.value[0], fail_message="no: 100 % ünmöglich\n")

    outcome = patient.call(target, "Unary", ask)

    assert (outcome.code, outcome.message) == (code, "no: 100 % ünmöglich\n")


def test_an_answer_of_trailers_only_has_its_details(client: Client, target: Target) -> None:
    ask = Ask(fail=9, fail_message="not now", fail_details=b"\x08\x09\x12\x07not now")

    outcome = client.call(target, "Unary", ask, metadata=[("x-trail-why", "because")])

    assert (outcome.code, outcome.message) == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
    assert ("grpc-status-details-bin", b"\x08\x09\x12\x07not now") in outcome.trailing \
        or isinstance(client, Grpcurl)
    assert ("x-trail-why", "because") in outcome.trailing


def test_a_stream_that_fails_gives_what_it_had(client: Client, target: Target) -> None:
    ask = Ask(answers=5, fail=10, fail_message="half way")

    outcome = client.call(target, "Download", ask)

    assert (outcome.code, outcome.message) == (grpc.StatusCode.ABORTED, "half way")
    assert len(outcome.answers) == 5


def test_a_method_nobody_has_is_unimplemented(target: Target) -> None:
    channel = grpc.insecure_channel(target.address, [("grpc.default_authority", target.authority)])

    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/interop.Echo/Missing")(b"", timeout=10)

    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


# ----- Deadlines and giving up.

def test_a_deadline_ends_a_call_that_hangs(client: Client, target: Target) -> None:
    started = time.monotonic()

    outcome = client.call(target, "Unary", Ask(text="deadline", hang=True), timeout=0.4)

    assert outcome.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 3


def test_the_server_is_told_what_is_left(client: Client, target: Target) -> None:
    outcome = client.call(target, "Unary", Ask(text="left"), timeout=9.0)

    assert_good(outcome)
    assert 5_000 < outcome.answers[0].milliseconds_left <= 9_100  # grpcio rounds up


def test_a_call_given_up_is_given_up_at_the_server(patient: Client, target: Target,
                                                   request: pytest.FixtureRequest) -> None:
    name = request.node.name
    ask = Ask(text=name, answers=1, hang=True)

    outcome = patient.call(target, "Download", ask, cancel_after=1)
    started = time.monotonic()
    witness = patient.call(target, "Witness", Ask(text=name), timeout=5)

    assert outcome.code is grpc.StatusCode.CANCELLED
    assert_good(witness)
    assert time.monotonic() - started < 0.5


def test_a_deadline_that_passed_ends_the_call_at_the_server(patient: Client, target: Target,
                                                            request: pytest.FixtureRequest) -> None:
    name = request.node.name

    outcome = patient.call(target, "Download", Ask(text=name, answers=1, hang=True), timeout=0.4)
    witness = patient.call(target, "Witness", Ask(text=name), timeout=5)

    # A server whose clock is first breaks the stream off: grpcio tells its caller no more than that.
    assert outcome.code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
    assert_good(witness)


# ----- Compression.

def test_gzip_passes_both_ways(patient: Client, target: Target) -> None:
    payload = b"dye" * 100_000

    outcome = patient.call(target, "Unary", Ask(payload=payload, gzip=True), gzip=True)

    assert_good(outcome)
    assert outcome.answers[0].payload == payload


# ----- Many calls, many tenants.

def test_a_thousand_calls_in_turn_succeed(patient: Client, target: Target) -> None:
    landed = patient.many(target, 1000, 1, [NOBODY])

    assert landed == Counter({Landed((), OK, "baseline"): 1000})


def test_two_hundred_calls_at_once_succeed(patient: Client, target: Target) -> None:
    landed = patient.many(target, 1000, 200, [NOBODY])

    assert landed == Counter({Landed((), OK, "baseline"): 1000})


@pytest.mark.parametrize("server", SERVERS)
def test_tenants_on_one_channel_go_to_their_own_lanes(patient: Client, caller: Sidecar, server: str) -> None:
    target = through(caller, server)

    landed = patient.many(target, 900, 60, [ALICE, NOBODY, BY_BAGGAGE])

    assert landed == Counter({
        Landed(tuple(ALICE), OK, "alice"): 300,
        Landed((), OK, "baseline"): 300,
        Landed(tuple(BY_BAGGAGE), OK, "alice"): 300,
    })


@pytest.mark.parametrize("server", SERVERS)
def test_the_application_sees_its_tenant_and_foreign_baggage(client: Client, caller: Sidecar, server: str) -> None:
    target = through(caller, server)

    outcome = client.call(target, "Unary", Ask(), metadata=[("x-tenant", "alice"), ("baggage", "color=blue;p=1")])

    assert_good(outcome)
    seen = outcome.answers[0].seen
    assert outcome.answers[0].lane == "alice"
    assert "x-tenant=alice" in seen
    members = [member for line in seen if line.startswith("baggage=") for member in line[8:].split(",")]
    assert sorted(members) == ["color=blue;p=1", "tenant=alice"]


@pytest.mark.parametrize("server", SERVERS)
def test_a_tenant_without_a_lane_is_served_by_the_baseline_and_carried_on(client: Client, caller: Sidecar,
                                                                          server: str) -> None:
    target = through(caller, server)

    outcome = client.call(target, "Unary", Ask(), metadata=[("x-tenant", "bob")])

    assert_good(outcome)
    assert outcome.answers[0].lane == "baseline"
    assert "x-tenant=bob" in outcome.answers[0].seen


def test_one_stream_that_is_not_read_does_not_hold_up_the_others(caller: Sidecar) -> None:
    target = through(caller, "grpcio-server")
    stub = Grpcio().stub(target)
    unread = [stub.Download(Ask(answers=64, answer_bytes=MIB), timeout=30) for _ in range(4)]
    for call in unread:
        next(call)

    started = time.monotonic()
    answers = [stub.Unary(Ask(text="quick"), timeout=5) for _ in range(50)]

    assert [answer.text for answer in answers] == ["quick"] * 50
    assert time.monotonic() - started < 5
    for call in unread:
        call.cancel()


# ----- What the sidecar answers itself.

@pytest.mark.parametrize(("host", "metadata", "code", "reason"), [
    ("unheard-of.shop", NOBODY, grpc.StatusCode.UNIMPLEMENTED, "unroutable"),
    ("nobody.shop", NOBODY, grpc.StatusCode.UNAVAILABLE, "no_instance"),
    ("dead.shop", NOBODY, grpc.StatusCode.UNAVAILABLE, "connect"),
    ("grpcio-server.shop", (("x-tenant", "a b"),), grpc.StatusCode.INVALID_ARGUMENT, "claim"),
    ("grpcio-server.shop", (("x-tenant", "alice"), ("x-tenant", "bob")), grpc.StatusCode.INVALID_ARGUMENT, "claim"),
    ("grpcio-server.shop", (("x-tenant", "alice"), ("baggage", "tenant=bob")),
     grpc.StatusCode.INVALID_ARGUMENT, "claim"),
])
def test_what_cannot_be_served_is_said_in_grpc(client: Client, caller: Sidecar, host: str, metadata: Metadata,
                                               code: grpc.StatusCode, reason: str) -> None:
    started = time.monotonic()

    outcome = client.call(Target(caller.outbound, host), "Unary", Ask(), metadata=metadata)

    assert outcome.code is code, outcome.message
    assert ("x-dyelane-reason", reason) in [*outcome.initial, *outcome.trailing]
    assert time.monotonic() - started < 2


def test_a_sidecar_keeps_the_deadline_of_a_caller_that_does_not(caller: Sidecar) -> None:
    message = Ask(text="no clock of its own", hang=True).SerializeToString()
    body = b"\0" + len(message).to_bytes(4, "big") + message

    done = run("curl", "-sS", "-i", "--http2-prior-knowledge", "--max-time", "10", "--data-binary", "@-",
               "-H", "Host: grpc-js-server.shop", "-H", "content-type: application/grpc", "-H", "te: trailers",
               "-H", "grpc-timeout: 300m", f"http://{caller.outbound}/interop.Echo/Unary", stdin=body)

    assert done.returncode == 0, done.stderr
    assert b"grpc-status: 4" in done.stdout


def test_calls_during_an_upload_that_stalls_go_on(caller: Sidecar) -> None:
    target = through(caller, "grpc-js-server")
    stub, go_on = Grpcio().stub(target), threading.Event()

    def slowly() -> Iterator[Ask]:
        yield Ask(text="first", payload=bytes(MIB))
        go_on.wait(20)
        yield Ask(text="last")

    upload = stub.Upload.future(slowly(), timeout=30)
    answers = [stub.Unary(Ask(text="quick"), timeout=5).text for _ in range(20)]
    go_on.set()

    assert answers == ["quick"] * 20
    assert (upload.result().count, upload.result().text) == (2, "last")
