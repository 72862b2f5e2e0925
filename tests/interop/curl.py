"""curl, and what it tells of an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab import run


@dataclass
class Head:
    """One head of an answer: interim ones come first."""

    status: int
    fields: list[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


@dataclass
class Answer:
    """What curl was answered. `exit` is its own code: 0 if all went well."""

    exit: int
    complaint: str
    heads: list[Head]
    trailers: list[tuple[str, str]]
    body: bytes
    #: One line of `-w` for each URL.
    told: list[dict[str, Any]]

    @property
    def head(self) -> Head:
        assert self.heads, self.complaint
        return self.heads[-1]

    def json(self) -> Any:
        return json.loads(self.body)


def field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


def curl(client: str, address: str, host: str, *paths: str, options: tuple[str, ...] = (), stdin: bytes = b"",
         patience: int = 30) -> Answer:
    """Asks `address` for `paths` of `host`, all on one connection if it lets us."""
    version = {"h2": "--http2-prior-knowledge", "http/1.1": "--http1.1"}[client]
    with TemporaryDirectory() as folder:
        heads, body = Path(folder, "heads"), Path(folder, "body")
        urls = [part for path in paths for part in ("-o", str(body), f"http://{host}{path}")]
        done = run("curl", "-q", "-sS", version, "--noproxy", "*", "--connect-to", f"{host}:80:{address}",
                   "--max-time", str(patience), "-D", str(heads), "-w", "%{json}\n", *options, *urls,
                   stdin=stdin, patience=patience + 5)
        text = heads.read_text(errors="replace") if heads.exists() else ""
        content = body.read_bytes() if body.exists() else b""
    blocks = [block.splitlines() for block in text.replace("\r\n", "\n").split("\n\n") if block]
    return Answer(
        exit=done.returncode,
        complaint=done.stderr.decode(),
        heads=[Head(int(first.split()[1]), [field(line) for line in rest])
               for first, *rest in blocks if first.startswith("HTTP/")],
        trailers=[field(line) for block in blocks if not block[0].startswith("HTTP/") for line in block],
        body=content,
        told=[json.loads(line) for line in done.stdout.splitlines()],
    )
