"""Links over real sockets, against a small WebSocket server that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import WSMsgType, web

from timewire import coding, commands
from timewire import protocol as wire
from timewire.client import transport
from timewire.client.transport import Backoff, Dialer, Link, socket_url
from timewire.errors import Retryable, Unusable

Script = Callable[[web.WebSocketResponse], Awaitable[None]]
Serve = Callable[[Script], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server that runs a script for each connection, and gives its address."""
    runners: list[web.AppRunner] = []

    async def start(script: Script) -> str:
        async def handle(request: web.Request) -> web.WebSocketResponse:
            ws = web.WebSocketResponse(protocols=wire.SUBPROTOCOLS)
            await ws.prepare(request)
            await script(ws)
            return ws

        application = web.Application()
        application.router.add_get("/v1/ws", handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return socket_url(f"http://127.0.0.1:{runner.addresses[0][1]}")

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def dial() -> AsyncIterator[Callable[..., Awaitable[Link]]]:
    """Opens links, and releases them at the end."""
    dialers: list[Dialer] = []
    links: list[Link] = []

    async def open_(
        url: str, codec: coding.Codec = coding.JSON, ping_s: float = transport.PING_S
    ) -> Link:
        dialers.append(Dialer(url, codec, ping_s=ping_s))
        links.append(await dialers[-1]())
        return links[-1]

    yield open_
    for link in links:
        await link.close()
    for dialer in dialers:
        await dialer.close()


Open = Callable[..., Awaitable[Link]]


async def everything(link: Link) -> list[wire.ServerFrame]:
    return [frame async for batch in link.batches() for frame in batch]


async def wait_for_close(ws: web.WebSocketResponse) -> None:
    async for _ in ws:
        pass


@pytest.mark.parametrize("codec", coding.CODECS.values(), ids=lambda codec: codec.name)
async def test_frames_go_both_ways_in_order(serve: Serve, dial: Open, codec: coding.Codec) -> None:
    heard: list[wire.ClientFrame] = []
    spoken: list[str | None] = []

    async def script(ws: web.WebSocketResponse) -> None:
        spoken.append(ws.ws_protocol)
        for number in range(3):
            message = await ws.receive()
            assert message.type is (WSMsgType.TEXT if codec.text else WSMsgType.BINARY)
            heard.append(codec.decode_client(message.data))
            answer = codec.encode(wire.At(str(number)))
            await (ws.send_str(answer.decode()) if codec.text else ws.send_bytes(answer))

    link = await dial(await serve(script), codec)
    sent = [
        wire.Hello("token", "laptop"),
        wire.Credit(2),
        commands.Send("1", "team", {"text": "嗨"}),
    ]
    for frame in sent:
        link.send(frame)
    received = await everything(link)
    assert spoken == [codec.name]
    assert heard == sent
    assert received == [wire.At("0"), wire.At("1"), wire.At("2")]


async def test_what_is_there_comes_together(serve: Serve, dial: Open) -> None:
    there = asyncio.Event()

    async def script(ws: web.WebSocketResponse) -> None:
        for number in range(transport.MAX_BATCH_FRAMES + 10):
            await ws.send_bytes(coding.JSON.encode(wire.At(str(number))))
        there.set()
        await wait_for_close(ws)

    link = await dial(await serve(script))
    await there.wait()
    got: list[wire.ServerFrame] = []
    sizes: list[int] = []
    async for batch in link.batches():
        got += batch
        sizes.append(len(batch))
        if len(got) == transport.MAX_BATCH_FRAMES + 10:
            link.hang_up()
    assert got == [wire.At(str(number)) for number in range(transport.MAX_BATCH_FRAMES + 10)]
    assert max(sizes) <= transport.MAX_BATCH_FRAMES
    assert len(sizes) < len(got)


@pytest.mark.parametrize("code", [4000, 4100, 4200, 1001])
async def test_a_link_says_why_it_ended(serve: Serve, dial: Open, code: int) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_str('{"type":"at","pos":"1"}')
        await ws.close(code=code, message=b"because")

    link = await dial(await serve(script))
    assert await everything(link) == [wire.At("1")]
    assert (link.code, link.reason) == (code, "because")


async def test_a_connection_that_breaks_has_no_close_code(serve: Serve, dial: Open) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        assert ws._req is not None  # pyright: ignore
        assert ws._req.transport is not None  # pyright: ignore
        ws._req.transport.abort()  # pyright: ignore

    link = await dial(await serve(script))
    assert await everything(link) == []
    assert link.code == transport.ABNORMAL
    assert link.reason


async def test_a_frame_that_cannot_be_read_ends_the_link(serve: Serve, dial: Open) -> None:
    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_str('{"type":"at","pos":"1"}')
        await ws.send_str('{"type":"from the future"}')
        await ws.send_str('{"type":"at","pos":"2"}')
        await wait_for_close(ws)

    link = await dial(await serve(script))
    assert await everything(link) == [wire.At("1")]
    assert "bad_frame" in link.reason
    assert wire.advice(link.code) == "reconnect"


async def test_hanging_up_ends_the_link_on_both_sides(serve: Serve, dial: Open) -> None:
    ended = asyncio.Event()

    async def script(ws: web.WebSocketResponse) -> None:
        await wait_for_close(ws)
        ended.set()

    link = await dial(await serve(script))
    link.hang_up()
    assert await everything(link) == []
    await ended.wait()


async def test_pings_keep_a_quiet_link_alive(serve: Serve, dial: Open) -> None:
    pings = 0

    async def script(ws: web.WebSocketResponse) -> None:
        nonlocal pings
        await ws.send_bytes(coding.JSON.encode(wire.At("1")))
        async for message in ws:
            assert coding.JSON.decode_client(message.data) == wire.Ping()
            pings += 1
            if pings == 4:
                return
            await ws.send_bytes(coding.JSON.encode(wire.Pong()))

    link = await dial(await serve(script), ping_s=0.05)
    assert await everything(link) == [wire.At("1"), *[wire.Pong()] * 3]
    assert pings == 4


async def test_a_server_that_says_nothing_is_given_up(serve: Serve, dial: Open) -> None:
    link = await dial(await serve(wait_for_close), ping_s=0.05)
    assert await everything(link) == []
    assert link.reason == "the server fell silent"


async def test_a_closed_link_takes_frames_and_sends_none(serve: Serve, dial: Open) -> None:
    link = await dial(await serve(wait_for_close))
    await link.close()
    link.send(wire.Ping())
    await link.close()


async def test_nobody_there_is_a_typed_error(serve: Serve, dial: Open) -> None:
    with pytest.raises(Retryable) as failure:
        await dial("ws://127.0.0.1:1/v1/ws")
    assert failure.value.code == "not_connected"
    assert failure.value.fields["reason"]


async def test_a_server_of_another_kind_is_a_typed_error(serve: Serve, dial: Open) -> None:
    url = await serve(wait_for_close)
    with pytest.raises(Retryable) as failure:
        await dial(url.replace("/v1/ws", "/nothing/here"))
    assert failure.value.code == "not_connected"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:7447", "ws://127.0.0.1:7447/v1/ws"),
        ("https://chat.example.com/", "wss://chat.example.com/v1/ws"),
        ("wss://example.com/chat", "wss://example.com/chat/v1/ws"),
        ("ws://example.com/chat/v1/ws", "ws://example.com/chat/v1/ws"),
        ("http://[::1]:80/?a=b#c", "ws://[::1]:80/v1/ws"),
    ],
)
def test_where_the_websocket_of_a_server_is(url: str, address: str) -> None:
    assert socket_url(url) == address


@pytest.mark.parametrize("url", ["", "127.0.0.1:7447", "ftp://example.com", "http://", "nonsense"])
def test_what_is_no_address_of_a_server(url: str) -> None:
    with pytest.raises(Unusable) as refusal:
        socket_url(url)
    assert refusal.value.code == "bad_config"


@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
async def test_pauses_are_random_grow_and_have_an_end(luck: float) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    backoff = Backoff(0.5, 30.0, rng=lambda: luck, sleep=sleep)
    for attempt in [*range(8), 1_000_000]:
        await backoff.pause(attempt)
    assert pauses == [luck * limit for limit in (0.5, 1, 2, 4, 8, 16, 30, 30, 30)]
