"""Limits of a real server: what goes beyond them is refused with a time, or read later."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.metrics import LIMITED
from timewire.server import Server
from timewire.testing.contracts import ManualClock
from timewire.testing.devices import RawDevice, raw_device
from timewire.testing.servers import serving


class House:
    """A server whose time stands still, and devices of it."""

    def __init__(self, server: Server, clock: ManualClock, stack: AsyncExitStack) -> None:
        self.server = server
        self.clock = clock
        self._stack = stack

    def token(self, user: str) -> str:
        return mint(self.server.keys.secret, user, clock=self.clock)

    async def live(self, user: str, name: str = "phone", address: str = "") -> RawDevice:
        headers = {"X-Forwarded-For": address} if address else {}
        device = await self._stack.enter_async_context(raw_device(self.server.url, headers=headers))
        await device.hello(self.token(user), name)
        await device.until("live")
        return device


@asynccontextmanager
async def housing(path: Path, **settings: Any) -> AsyncIterator[House]:
    clock = ManualClock()
    store = MemoryStore(clock)
    async with serving(path, store, clock, **settings) as server, AsyncExitStack() as stack:
        yield House(server, clock, stack)


def limited(scope: str, what: str) -> float:
    return LIMITED.labels(scope, what)._value.get()


async def say(device: RawDevice, id: str, to: str) -> Any:
    answer = await device.ask("send", id=id, to=to, body={"text": id})
    return answer["type"] if answer["type"] == "ack" else (answer["code"], answer["fields"])


async def test_each_device_and_each_conversation_has_its_limit(tmp_path: Path) -> None:
    settings = {"device_sends_per_second": 2, "conversation_sends_per_second": 3}
    async with housing(tmp_path, **settings) as house:
        phone, laptop = await house.live("alice"), await house.live("alice", "laptop")
        assert [await say(phone, str(n), "self:alice") for n in range(2)] == ["ack"] * 2
        of_device = ("rate_limited", {"retry_after": 500, "scope": "device"})
        assert await say(phone, "2", "self:alice") == of_device
        # A device that comes back finds its limit where it left it.
        await phone.ws.close()
        phone = await house.live("alice")
        assert await say(phone, "2", "self:alice") == of_device
        assert await say(laptop, "3", "self:alice") == "ack"
        of_conversation = ("rate_limited", {"retry_after": 334, "scope": "conversation"})
        assert await say(laptop, "4", "self:alice") == of_conversation
        house.clock.now += 334
        assert await say(laptop, "4", "self:alice") == "ack"


@pytest.mark.parametrize("settings", [{"device_frames_per_second": 5}, {"bytes_per_second": 300}])
async def test_frames_beyond_a_limit_are_read_later_and_none_is_lost(
    tmp_path: Path, settings: dict[str, int]
) -> None:
    async with housing(tmp_path, **settings) as house:
        alice, bob = await house.live("alice"), await house.live("bob")
        scope, what = (
            ("device", "frames") if "device" in next(iter(settings)) else ("user", "bytes")
        )
        before = limited(scope, what)
        for number in range(7):
            await alice.send("ping", id=f"{number}" * 20)
        await alice.ws.ping(b"x" * 20)
        # Whoever does not flood is served meanwhile.
        assert (await bob.ask("ping", id="b"))["type"] == "pong"
        assert [(await alice.next())["id"] for _ in range(7)] == [f"{n}" * 20 for n in range(7)]
        assert limited(scope, what) > before


async def test_an_address_has_so_many_connections(tmp_path: Path) -> None:
    settings = {"address_connections": 2, "trusted_proxies": ("127.0.0.1",)}
    async with housing(tmp_path, **settings) as house:
        first = await house.live("alice", "a", "198.51.100.7")
        await house.live("bob", "b", "198.51.100.7")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.live("carol", "c", "6.6.6.6, 198.51.100.7")
        assert refused.value.status == 429
        assert refused.value.headers is not None
        assert refused.value.headers["Retry-After"] == "1"
        await house.live("carol", "c", "198.51.100.8")
        await first.ws.close()
        await house.live("carol", "d", "198.51.100.7")


async def test_nobody_names_an_address_of_their_own(tmp_path: Path) -> None:
    async with housing(tmp_path, address_connections=1) as house:
        await house.live("alice", "a", "198.51.100.7")
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await house.live("alice", "b", "198.51.100.8")


async def test_guessing_over_http_is_slowed_down_by_address(tmp_path: Path) -> None:
    settings = {"address_frames_per_second": 3, "trusted_proxies": ("127.0.0.1",)}
    async with housing(tmp_path, **settings) as house, aiohttp.ClientSession() as http:
        paths = ["/v1/conversations", "/v1/search/index", "/v1/sync", "/v1/conversations"]
        found: list[int] = []
        for path in paths:
            headers = {"Authorization": "Bearer guess", "X-Forwarded-For": "198.51.100.7"}
            async with http.get(house.server.url + path, headers=headers) as answer:
                found.append(answer.status)
        assert found == [401, 401, 401, 429]
        headers = {"Authorization": f"Bearer {house.token('alice')}"}
        async with http.get(house.server.url + paths[0], headers=headers) as answer:
            assert answer.status == 200, "another address"


async def test_questions_over_http_count_as_frames(tmp_path: Path) -> None:
    async with housing(tmp_path, frames_per_second=2) as house, aiohttp.ClientSession() as http:
        headers = {"Authorization": f"Bearer {house.token('alice')}"}
        found: list[Any] = []
        for _ in range(3):
            url = house.server.url + "/v1/conversations"
            async with http.get(url, headers=headers) as answer:
                found.append((answer.status, (await answer.json()).get("fields")))
        assert [status for status, _ in found] == [200, 200, 429]
        assert found[2][1] == {"retry_after": 500, "scope": "user"}
