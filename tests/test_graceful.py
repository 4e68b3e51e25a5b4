"""A server that stops: it finishes what it has taken, and has devices come back one by one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import pytest

from timewire import gateway
from timewire.auth import mint
from timewire.client import connect
from timewire.client.transport import Backoff
from timewire.protocol import MAX_TOLD_PAUSE_MS, CloseCode, closing, told_pause_ms
from timewire.testing.devices import Closed, raw_device
from timewire.testing.servers import running_server, serving

STOP = int(CloseCode.SHUTTING_DOWN)


def test_the_pause_goes_over_the_wire() -> None:
    assert closing(CloseCode.SHUTTING_DOWN) == "shutting_down"
    assert closing(CloseCode.SHUTTING_DOWN, 250) == "shutting_down 250"
    assert told_pause_ms(STOP, closing(CloseCode.SHUTTING_DOWN, 250)) == 250


@pytest.mark.parametrize(
    ("code", "reason", "pause_ms"),
    [
        (STOP, "shutting_down", 0),
        (STOP, "", 0),
        (STOP, "shutting_down -5", 0),
        (STOP, "shutting_down 5.5", 0),
        (STOP, "shutting_down ²", 0),
        (STOP, "shutting_down 99999999", MAX_TOLD_PAUSE_MS),
        (STOP, "shutting_down 999999999999", 0),
        (4002, "silent 250", 0),
        (1006, "250", 0),
    ],
)
def test_a_pause_that_is_none(code: int, reason: str, pause_ms: int) -> None:
    assert told_pause_ms(code, reason) == pause_ms


async def test_devices_heed_the_pause() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    backoff = Backoff(0.5, 30.0, rng=lambda: 1.0, sleep=sleep)
    await backoff.pause(0, 12.0)
    await backoff.pause(1)
    assert slept == [12.5, 1.0]


async def test_each_device_is_told_another_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "COMING_BACK_PER_MS", 0.001)
    async with serving(tmp_path) as server, AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(raw_device(server.url)) for _ in range(20)]
        for number, one in enumerate(devices):
            await one.hello(mint(server.keys.secret, f"u{number}"), "phone")
        closed = asyncio.create_task(server.aclose())
        pauses: list[int] = []
        for one in devices:
            while not one.ws.closed:
                message = await one.ws.receive(30)
                if message.type is aiohttp.WSMsgType.CLOSE:
                    assert message.data == STOP
                    pauses.append(told_pause_ms(STOP, message.extra or ""))
        await closed
        assert len(pauses) == 20
        assert len(set(pauses)) > 10
        assert max(pauses) <= 20_000


async def test_with_few_devices_nobody_waits(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, raw_device(server.url) as one:
        await one.hello(mint(server.keys.secret, "alice"), "phone")
        await one.next()
        closed = asyncio.create_task(server.aclose())
        with pytest.raises(Closed) as caught:
            await one.next()
        assert caught.value.code == STOP
        await closed


async def test_restarts_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    async with (
        running_server(tmp_path / "data") as server,
        connect(server.url, server.token("alice"), device="load", backoff=Backoff(0.01, 0.1)) as me,
    ):
        await me.create("team", ["bob"])
        posted = [me.post("team", f"message {n}") for n in range(100)]
        for round in range(1, 4):
            waiting = asyncio.gather(*posted[-50:])
            assert await server.stop() == 0
            await server.start()
            posted += [me.post("team", f"message {100 * round + n}") for n in range(100)]
            await waiting
        sent = await asyncio.gather(*posted)
        page = await me.history("team", limit=500)
        stored = {m.seq: m.body["text"] for m in page.messages if m.kind == "text"}
        assert stored == {one.seq: f"message {n}" for n, one in enumerate(sent)}
        assert [one.seq for one in sent] == sorted(one.seq for one in sent)


# Requests in the log ---------------------------------------------------------------------------


async def test_answers_name_their_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, aiohttp.ClientSession() as http:
        for given, kept in {
            "proxy-7": True,
            "": False,
            "no spaces": False,
            "x" * 200: False,
        }.items():
            headers = {"X-Request-Id": given} if given else {}
            async with http.get(server.url + "/healthz", headers=headers) as response:
                assert (response.headers["X-Request-Id"] == given) == kept
                assert response.headers["X-Request-Id"]


async def test_lines_of_a_request_carry_its_id(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", before_send="http://127.0.0.1:9/") as server:
        headers = {"Authorization": f"Bearer {server.token('alice')}", "X-Request-Id": "seven"}
        body = {"id": "1", "to": "self:alice", "body": {"text": "x"}}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(server.url + "/v1/messages", json=body) as response,
        ):
            assert response.status == 503
        lines = [msgspec.json.decode(line) for line in server.log.read_bytes().splitlines()]
        [line] = [one for one in lines if one["event"] == "the before-send hook failed"]
        assert line["request_id"] == "seven"
        assert not any("Bearer" in str(one) for one in lines)


async def test_a_server_that_stops_is_not_ready(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, aiohttp.ClientSession() as http:
        async with http.get(server.url + "/readyz") as response:
            assert response.status == 200
        server._stopping = True
        async with http.get(server.url + "/readyz") as response:
            assert response.status == 503
            assert (await response.json())["reasons"] == ["the server is stopping"]
