"""What the stack costs at least: `python -m benchmarks.floors KIND` serves nothing but bytes that are ready.

unary    a grpc.aio handler that does nothing, for every method
stream   grpc.aio handlers: each that waits sends the bytes as often as a call of Burst (a decimal number) says
http     an aiohttp handler that does nothing
"""

import argparse
import asyncio
import os
import select
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any


def spawn_all(argv: list[str], *, count: int, parallel: int) -> float:
    """Run a program so many times, so many at once, with posix_spawn and pidfds only; the seconds that took."""
    start = time.perf_counter()
    poll = select.epoll()
    running: dict[int, int] = {}
    started = 0
    while started < count or running:
        while started < count and len(running) < parallel:
            pid = os.posix_spawn(argv[0], argv, {})
            descriptor = os.pidfd_open(pid)
            poll.register(descriptor, select.EPOLLIN)
            running[descriptor] = pid
            started += 1
        for descriptor, _ in poll.poll():
            poll.unregister(descriptor)  # closing it is not enough while a child has a copy, before it executes
            os.close(descriptor)
            _, status = os.waitpid(running.pop(descriptor), 0)
            assert status == 0, f"{argv} ended with status {status}"
    poll.close()
    return time.perf_counter() - start


async def serve_unary(reply: bytes) -> int:
    """See the module. Returns the port."""

    async def answer(_request: bytes, _context: Any) -> bytes:
        return reply

    return await _serve_grpc(lambda grpc: grpc.unary_unary_rpc_method_handler(answer))


async def serve_stream(reply: bytes) -> int:
    """See the module. Returns the port."""

    wanted = 0
    news = asyncio.Event()

    async def start_burst(request: bytes, _context: Any) -> bytes:
        nonlocal wanted
        wanted += int(request)
        news.set()
        news.clear()
        return b"started"

    async def send(_request: bytes, context: Any) -> None:
        sent = wanted
        while True:
            while sent < wanted:
                await context.write(reply)
                sent += 1
            await news.wait()

    return await _serve_grpc(
        lambda grpc: grpc.unary_stream_rpc_method_handler(send),
        Burst=lambda grpc: grpc.unary_unary_rpc_method_handler(start_burst),
    )


async def serve_http(reply: bytes) -> int:
    """See the module. Returns the port."""
    from aiohttp import web  # noqa: PLC0415  # the scheduling class comes first, and its cost counts in no other floor

    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=reply, headers={"Content-Type": "application/json; charset=utf-8"})

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return int(runner.addresses[0][1])


async def _serve_grpc(make_handler: Callable[[Any], Any], **others: Callable[[Any], Any]) -> int:
    """One handler for all methods but the others, by their names."""
    import grpc  # noqa: PLC0415  # its threads inherit the scheduling class, which is set first
    import grpc.aio  # noqa: PLC0415

    handler = make_handler(grpc)
    by_name = {name: make(grpc) for name, make in others.items()}

    class Everything(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
        def service(self, details: Any) -> Any:
            return by_name.get(details.method.rpartition("/")[2], handler)

    options = [("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(handlers=[Everything()], options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _kept.append(server)
    return port


_kept: list[object] = []
"""A server that nobody refers to stops."""

SERVERS: dict[str, Callable[[bytes], Awaitable[int]]] = {
    "unary": serve_unary,
    "stream": serve_stream,
    "http": serve_http,
}


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=SERVERS)
    parser.add_argument("--reply", type=Path, required=True, help="file with the bytes to answer")
    parser.add_argument("--uvloop", action="store_true", help="instead of asyncio's own loop")
    parser.add_argument("--batch", action="store_true", help="in the scheduling class SCHED_BATCH")
    given = parser.parse_args()
    if given.batch:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    factory = None
    if given.uvloop:
        import uvloop  # noqa: PLC0415  # no dependency of the server that it is compared with

        factory = uvloop.new_event_loop

    async def serve() -> None:
        port = await SERVERS[given.kind](given.reply.read_bytes())
        print(f"listening on 127.0.0.1:{port}", flush=True)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
