"""Offers `Echo` with grpcio. Argument: the lane it says it is."""

import asyncio
import base64
import sys
from collections import defaultdict
from collections.abc import AsyncIterator

import grpc
import grpc.aio

proto, services = grpc.protos_and_services("echo.proto")
Ask, Answer = proto.Ask, proto.Answer
UNBOUNDED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Echo(services.EchoServicer):
    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.given_up: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def Unary(self, ask: Ask, context: grpc.aio.ServicerContext) -> Answer:
        await self.begin(ask, context)
        await self.end(ask, context)
        return self.answer(ask, context)

    async def Upload(self, asks: AsyncIterator[Ask], context: grpc.aio.ServicerContext) -> Answer:
        count, ask = 0, Ask()
        async for ask in asks:
            count += 1
        await self.begin(ask, context)
        await self.end(ask, context)
        return self.answer(ask, context, count)

    async def Download(self, ask: Ask, context: grpc.aio.ServicerContext) -> AsyncIterator[Answer]:
        await self.begin(ask, context)
        for at in range(ask.answers):
            yield self.answer(ask, context, at + 1)
        await self.end(ask, context)

    async def Talk(self, asks: AsyncIterator[Ask], context: grpc.aio.ServicerContext) -> AsyncIterator[Answer]:
        count = 0
        async for ask in asks:
            count += 1
            if count == 1:
                await self.begin(ask, context)
            if not ask.fail:
                yield self.answer(ask, context, count)
            await self.end(ask, context)

    async def Witness(self, ask: Ask, context: grpc.aio.ServicerContext) -> Answer:
        await self.given_up[ask.text].wait()
        return Answer(lane=self.lane, text=ask.text)

    async def begin(self, ask: Ask, context: grpc.aio.ServicerContext) -> None:
        if ask.gzip:
            context.set_compression(grpc.Compression.Gzip)
        metadata = context.invocation_metadata()
        echoed = [it for it in metadata if it[0].startswith("x-echo-")]
        if echoed:
            await context.send_initial_metadata(echoed)
        context.set_trailing_metadata([it for it in metadata if it[0].startswith("x-trail-")])

    async def end(self, ask: Ask, context: grpc.aio.ServicerContext) -> None:
        if ask.hang:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up[ask.text].set()
        if ask.fail:
            code = next(code for code in grpc.StatusCode if code.value[0] == ask.fail)
            details = [("grpc-status-details-bin", ask.fail_details)] if ask.fail_details else []
            await context.abort(code, ask.fail_message, (*context.trailing_metadata(), *details))

    def answer(self, ask: Ask, context: grpc.aio.ServicerContext, count: int = 1) -> Answer:
        seen = [f"{name}={base64.b64encode(value).decode() if isinstance(value, bytes) else value}"
                for name, value in context.invocation_metadata()]
        left = context.time_remaining()
        payload = bytes(ask.answer_bytes) if ask.answer_bytes else ask.payload
        return Answer(lane=self.lane, text=ask.text, payload=payload, count=count, seen=seen,
                      milliseconds_left=0 if left is None else max(1, int(left * 1000)))


async def main() -> None:
    server = grpc.aio.server(options=UNBOUNDED)
    services.add_EchoServicer_to_server(Echo(sys.argv[1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print("listening", port, flush=True)
    await server.wait_for_termination()


asyncio.run(main())
