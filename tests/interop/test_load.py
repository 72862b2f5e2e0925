"""h2load at full speed for two seconds a case: every request succeeds."""

from __future__ import annotations

import re

import pytest

from lab import Lab, Sidecar, instance, run, service


@pytest.fixture(scope="module")
def caller(shared_lab: Lab) -> Sidecar:
    services = {}
    for protocol, host in (("h2", "h2.shop"), ("http/1.1", "h1.shop")):
        application = shared_lab.peer("web.js", protocol, "baseline").address
        callee = shared_lab.sidecar(host, application, workload={"protocol": protocol})
        services[host] = service(instance(callee.inbound))
    return shared_lab.sidecar("caller.shop", services=services)


@pytest.mark.parametrize("host", ["h2.shop", "h1.shop"])
@pytest.mark.parametrize("shape", [("-c", "8", "-m", "16"), ("-c", "64", "-m", "1"), ("-c", "1", "-m", "100"),
                                   ("-c", "16", "--h1")], ids=" ".join)
@pytest.mark.parametrize("path", ["/bytes/128", "/pieces/100000"])
def test_no_request_fails(caller: Sidecar, host: str, shape: tuple[str, ...], path: str) -> None:
    done = run("h2load", "-D", "2", *shape, "--connect-to", caller.outbound, "-H", "x-tenant: bob",
               f"http://{host}{path}")

    report = done.stdout.decode()
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", report)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", report)
    assert counts and codes, report
    assert counts.groups()[2:] == codes.groups()[1:] == ("0", "0", "0"), report
    assert int(counts[2]) > 20, report


def test_many_posts_pass_whole(caller: Sidecar, tmp_path_factory: pytest.TempPathFactory) -> None:
    body = tmp_path_factory.mktemp("load") / "body"
    body.write_bytes(b"x" * 10_000)

    done = run("h2load", "-n", "3000", "-c", "8", "-m", "8", "-d", str(body), "--connect-to", caller.outbound,
               "http://h2.shop/echo")

    report = done.stdout.decode()
    assert "3000 succeeded, 0 failed, 0 errored, 0 timeout" in report, report
    assert "3000 2xx" in report, report
