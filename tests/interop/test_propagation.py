"""Tenants through applications that know nothing of them: with OpenTelemetry, with a trace id, with nothing."""

from __future__ import annotations

import json
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, Sidecar, get, instance, service

INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
SILENT = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
Services = dict[str, Any]


@pytest.fixture(scope="module")
def services(shared_lab: Lab) -> Services:
    """The last service of the path, baseline and alice's, each with its own sidecar."""
    leaves = [shared_lab.peer("web.js", "http/1.1", lane).address for lane in ("baseline", "alice")]
    base, alice = shared_lab.sidecars_at_once([
        ("leaf.shop", leaves[0], {}), ("leaf.shop", leaves[1], {"workload": {"lane": "alice"}})])
    return {"leaf.shop": service(instance(base.inbound), instance(alice.inbound, "alice"))}


@pytest.fixture(scope="module")
def careful(shared_lab: Lab, services: Services) -> Sidecar:
    """Beside a service that OpenTelemetry instruments."""
    peer = shared_lab.peer("careful.py", runner=[INSTRUMENT, sys.executable], **SILENT)
    return shared_lab.sidecar("careful.shop", peer.address, services=services)


@pytest.fixture(scope="module")
def bare(shared_lab: Lab, services: Services) -> Sidecar:
    """Beside a service that forwards a trace id and nothing else."""
    peer = shared_lab.peer("careless.py", "traceparent", "b3", "x-request-id")
    return shared_lab.sidecar("bare.shop", peer.address, services=services)


@pytest.fixture(scope="module")
def deaf(shared_lab: Lab, services: Services) -> Sidecar:
    """Beside a service that forwards nothing."""
    return shared_lab.sidecar("deaf.shop", shared_lab.peer("careless.py").address, services=services)


def traceparent(trace: str | None = None) -> str:
    return f"00-{trace or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def send(middle: Sidecar, **fields: str) -> dict[str, Any]:
    """Sends a request to the application beside `middle`; returns what arrived at the end of its path."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    status, text = get(f"http://{middle.inbound}/?via={middle.outbound}&host=leaf.shop", headers)
    assert status == 200, text
    return json.loads(text)


def members(seen: dict[str, Any]) -> list[str]:
    return [member.strip() for member in seen["headers"].get("baggage", "").split(",") if member]


def test_opentelemetry_carries_a_tenant_through_a_service(careful: Sidecar) -> None:
    seen = send(careful, x_tenant="alice", traceparent=traceparent(), baggage="color=blue,user=7")

    assert (seen["lane"], seen["headers"]["x-tenant"]) == ("alice", "alice")
    assert sorted(members(seen)) == ["color=blue", "tenant=alice", "user=7"]


def test_opentelemetry_carries_a_tenant_that_came_as_baggage_alone(careful: Sidecar) -> None:
    seen = send(careful, baggage="tenant=alice")

    assert (seen["lane"], members(seen)) == ("alice", ["tenant=alice"])


def test_opentelemetry_without_a_tenant_stays_on_the_baseline(careful: Sidecar) -> None:
    seen = send(careful, traceparent=traceparent(), baggage="color=blue")

    assert (seen["lane"], members(seen)) == ("baseline", ["color=blue"])
    assert "x-tenant" not in seen["headers"]


@pytest.mark.parametrize("identifier", ["traceparent", "b3", "x-request-id"])
def test_an_identifier_brings_back_the_tenant(bare: Sidecar, identifier: str) -> None:
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    value = {"traceparent": f"00-{trace}-{span}-01", "b3": f"{trace}-{span}-1", "x-request-id": trace}[identifier]

    seen = send(bare, **{"x_tenant": "alice", identifier: value})

    assert (seen["lane"], seen["headers"]["x-tenant"]) == ("alice", "alice")
    assert "tenant=alice" in members(seen)


def test_a_service_that_drops_its_tenant_is_counted(bare: Sidecar) -> None:
    before = bare.metric("dyelane_propagation_missing_total")

    send(bare, x_tenant="alice", traceparent=traceparent())
    send(bare, traceparent=traceparent())

    assert bare.metric("dyelane_propagation_missing_total") - before == 1


def test_a_service_that_forwards_its_tenant_is_not_counted(careful: Sidecar) -> None:
    send(careful, x_tenant="alice", traceparent=traceparent())

    assert careful.metric("dyelane_propagation_missing_total") == 0


def test_without_any_context_the_baseline_answers(deaf: Sidecar) -> None:
    seen = send(deaf, x_tenant="alice", traceparent=traceparent())

    assert seen["lane"] == "baseline"
    assert members(seen) == []


def test_a_trace_of_two_tenants_is_nobodys(bare: Sidecar) -> None:
    trace = secrets.token_hex(16)
    first = send(bare, x_tenant="alice", traceparent=traceparent(trace))

    second = send(bare, x_tenant="bob", traceparent=traceparent(trace))
    third = send(bare, x_tenant="alice", traceparent=traceparent(trace))

    assert [seen["lane"] for seen in (first, second, third)] == ["alice", "baseline", "baseline"]
    assert all("x-tenant" not in seen["headers"] for seen in (second, third))


@pytest.mark.parametrize("kind", ["careful", "bare"])
def test_tenants_at_once_are_not_mixed_up(kind: str, request: pytest.FixtureRequest) -> None:
    middle = request.getfixturevalue(kind)
    tenants = ["alice", "bob", None] * 40

    def one(tenant: str | None) -> tuple[str, str | None]:
        seen = send(middle, traceparent=traceparent(), **({"x_tenant": tenant} if tenant else {}))
        return seen["lane"], seen["headers"].get("x-tenant")

    with ThreadPoolExecutor(12) as pool:
        landed = list(pool.map(one, tenants))

    assert landed == [("alice" if tenant == "alice" else "baseline", tenant) for tenant in tenants]


def test_a_sandbox_of_itself_calls_its_own_lane(shared_lab: Lab, services: Services) -> None:
    sandbox = shared_lab.sidecar("worker.shop", workload={"lane": "alice"}, services=services)

    status, text = get(f"http://{sandbox.outbound}/echo", {"Host": "leaf.shop"})

    assert status == 200, text
    assert json.loads(text)["lane"] == "alice"


def test_a_stranger_cannot_claim_a_tenant_where_claims_are_stripped(shared_lab: Lab, services: Services) -> None:
    application = shared_lab.peer("careless.py", "x-tenant", "baggage", "tracestate", "traceparent")
    edge = shared_lab.sidecar("edge.shop", application.address, inbound={"claims": "strip"}, services=services)

    seen = send(edge, x_tenant="alice", baggage="tenant=alice,color=blue", tracestate="tenant=alice,vendor=1",
                traceparent=traceparent())

    assert seen["lane"] == "baseline"
    assert members(seen) == ["color=blue"]
    assert seen["headers"].get("tracestate") == "vendor=1"
