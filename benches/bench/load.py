"""The work: what one request looks like, the columns of the table, and h2load that does it."""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import machine

# What a service in a mesh sends with each request. The tenant travels in the baggage, as
# OpenTelemetry's instrumentation forwards it.
HEADERS = {
    "user-agent": "grpc-go/1.76.0",
    "accept": "application/json, text/plain;q=0.9, */*;q=0.8",
    "accept-encoding": "gzip, deflate, br",
    "content-type": "application/json",
    "authorization": "Bearer eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyLTQyMTciLCJh"
    "dWQiOiJvcmRlci5zaG9wIiwiZXhwIjoxNzk1MDAwMDAwfQ.MEUCIQDf3Yk0ZqW1Y2hL0aXk3bVtJ8pR5sN7uQ",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "baggage": "tenant=alice,userId=user-4217,session=9f2c1b7e;ttl=60",
    "x-request-id": "7c1f0a52-93e4-4b0e-8f61-2d5b0c9a7e13",
    "cookie": "session=9f2c1b7e4d; theme=dark; region=eu-central",
    "x-forwarded-for": "10.42.7.19",
}


@dataclass(frozen=True)
class Column:
    """One kind of work: `clients` connections with up to `streams` requests at once each."""

    name: str
    title: str
    clients: int
    streams: int
    path: str = "/128"
    options: tuple = ()
    rate: int = 0
    post: bool = False
    one_core: bool = False


COLUMNS = [
    Column("many", "8 conns × 16 streams, 128 B", 8, 16),
    Column("single", "1 × 1, one core", 1, 1, one_core=True),
    Column("wide", "64 × 1", 64, 1),
    Column("large", "8 × 8, 16 KiB answers", 8, 8, path="/16384"),
    Column("post", "8 × 16, 1 KiB POST", 8, 16, post=True),
    Column("literal", "as first, literals only", 8, 16, options=("--encoder-header-table-size=0",)),
    Column("steady", "fixed 2,000 rps", 8, 16, rate=2000),
]


@dataclass
class Outcome:
    """What h2load reported of one run."""

    done: int
    failed: int
    seconds: float
    rps: float
    latency: float
    cpu: float = field(default=0.0)


class Failed(Exception):
    """A run that cannot be counted, and what h2load said."""


def command(column: Column, url: str, requests: int, tenant: str = "alice") -> list:
    """The h2load of a column; it gives up on a connection that is silent for 20 seconds."""
    words = ["h2load", f"-c{column.clients}", f"-m{column.streams}", "-N20", *column.options]
    if column.rate:
        words.append(f"--rps={column.rate // column.clients}")
    for name, value in headers(tenant).items():
        words += ["-H", f"{name}: {value}"]
    return [*words, f"-n{requests}", url] if requests else [*words, url]


def headers(tenant: str) -> dict:
    """What is sent for a tenant."""
    return {**HEADERS, "baggage": HEADERS["baggage"].replace("alice", tenant)}


def run(column: Column, port: int, core: int, *, requests: int = 0, seconds: float = 0) -> Outcome:
    """Runs one column against a port until `requests` are answered or `seconds` have passed."""
    requests = requests or int(column.rate * seconds)
    words = command(column, f"http://127.0.0.1:{port}{column.path}", requests)
    with tempfile.TemporaryDirectory() as scratch:
        if column.post:
            body = Path(scratch) / "body"
            body.write_bytes(b"a" * 1024)
            words[1:1] = ["-d", body]
        if not requests:
            words.insert(1, f"-D{seconds:g}")
        output = Path(scratch) / "output"
        process = machine.start(words, core, output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        outcome = parse(output.read_text(errors="replace"))
    outcome.cpu = usage.ru_utime + usage.ru_stime
    return outcome


def parse(text: str) -> Outcome:
    """Reads the report of h2load."""
    finished = re.search(r"finished in ([\d.]+)(us|ms|s|m), ([\d.]+) req/s", text)
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
    latency = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s|m)", text)
    if not finished or not counts or not latency:
        raise Failed(text.strip()[-400:])
    done, succeeded = int(counts[1]), int(counts[2])
    return Outcome(
        done=done,
        failed=done - succeeded + int(counts[4]),
        seconds=in_seconds(finished[1], finished[2]),
        rps=float(finished[3]),
        latency=in_seconds(latency[1], latency[2]),
    )


def in_seconds(number: str, unit: str) -> float:
    """A duration as h2load writes it."""
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[unit]


def fetch(port: int, path: str, tenant: str) -> str:
    """The body of one answer, asked for with a tenant in the baggage (by nghttp)."""
    words = ["nghttp", "--no-dep", f"http://127.0.0.1:{port}{path}"]
    for name, value in headers(tenant).items():
        words += ["-H", f"{name}: {value}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.strip()
