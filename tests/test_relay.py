"""A relay passes everything on in order, late, later, or not at all."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from timewire.testing.relay import Relay, relaying


@asynccontextmanager
async def echoing() -> AsyncGenerator[str]:
    """A server that sends back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def connect(relay: Relay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(relay.url.rpartition(":")[2]))


async def test_all_that_is_sent_arrives_in_order() -> None:
    async with echoing() as url, relaying(lambda: url) as relay:
        reader, writer = await connect(relay)
        sent = bytes(range(256)) * 1000
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        relay.delay_s = 0.01
        writer.write(b"late")
        assert await reader.readexactly(4) == b"late"
        writer.close()


async def test_what_is_held_comes_when_it_is_released() -> None:
    async with echoing() as url, relaying(lambda: url) as relay:
        reader, writer = await connect(relay)
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        relay.hold()
        writer.write(b"2")
        answer = asyncio.create_task(reader.readexactly(1))
        done, _ = await asyncio.wait([answer], timeout=0.1)
        assert not done
        relay.release()
        assert await answer == b"2"
        writer.close()


async def test_a_cut_breaks_what_is_there_and_new_connections_go_on() -> None:
    async with echoing() as url, relaying(lambda: url) as relay:
        reader, writer = await connect(relay)
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        relay.cut()
        with suppress(ConnectionResetError):
            assert await reader.read(1) == b""
        reader, writer = await connect(relay)
        writer.write(b"2")
        assert await reader.readexactly(1) == b"2"
        writer.close()


async def test_nobody_behind_it_ends_the_connection() -> None:
    async with echoing() as url:
        pass
    async with relaying(lambda: url) as relay:
        reader, _ = await connect(relay)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
