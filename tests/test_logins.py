"""Devices of a user: how many there may be, which are listed, and logging them out."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.errors import Forbidden, NotFound, TimewireError
from timewire.logins import Revoke
from timewire.server import Server
from timewire.testing.contracts import ManualClock
from timewire.testing.devices import Closed, Frame, RawDevice, eventually, raw_device
from timewire.testing.servers import serving

LOOP = uvloop.new_event_loop


class House:
    """A server with a clock of its own, and devices that connect to it."""

    def __init__(self, server: Server, clock: ManualClock, stack: AsyncExitStack) -> None:
        self.server = server
        self.clock = clock
        self._stack = stack

    def token(self, user: str, device: str | None = None) -> str:
        return mint(self.server.keys.secret, user, device, life_s=3600, clock=self.clock)

    async def connect(self) -> RawDevice:
        return await self._stack.enter_async_context(raw_device(self.server.url))

    async def device(
        self, user: str, name: str, *, token: str | None = None, **hello: Any
    ) -> RawDevice:
        device = await self.connect()
        await device.hello(token or self.token(user), name, **hello)
        self.clock.now += 1
        return device

    async def refused(self, token: str, name: str, **hello: Any) -> tuple[Frame, int | None]:
        device = await self.connect()
        await device.send("hello", token=token, device=name, **hello)
        return await device.expect("error"), await device.closed()


@asynccontextmanager
async def housing(
    path: Path, store: MemoryStore | None = None, **settings: Any
) -> AsyncIterator[House]:
    clock = ManualClock()
    async with (
        serving(path, store or MemoryStore(clock), clock, **settings) as server,
        AsyncExitStack() as stack,
    ):
        yield House(server, clock, stack)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with housing(tmp_path / "data") as made:
        yield made


def names(page: Frame) -> list[tuple[str, bool]]:
    assert page["type"] == "device_page", page
    return [(one["device"], one["online"]) for one in page["devices"]]


# -- rules ---------------------------------------------------------------------------------------


async def test_the_oldest_device_has_to_go_when_there_is_one_too_many(tmp_path: Path) -> None:
    async with housing(tmp_path / "data", devices=2) as house:
        first = await house.device("alice", "1")
        second = await house.device("alice", "2")
        again = await house.device("alice", "1")  # the same one, on a newer connection
        other = await house.device("bob", "1")
        assert await first.closed() == 4200
        third = await house.device("alice", "3")
        assert await second.closed() == 4203
        for device in (again, third, other):
            assert (await device.ask("ping", id="p"))["type"] == "pong"


async def test_or_the_newest_may_not_come(tmp_path: Path) -> None:
    async with housing(tmp_path / "data", devices=1, devices_conflict="refuse") as house:
        first = await house.device("alice", "1")
        error, code = await house.refused(house.token("alice"), "2")
        assert (error["code"], error["fields"], code) == (
            "too_many_devices",
            {"devices": ["1"]},
            4204,
        )
        assert (await first.ask("ping", id="p"))["type"] == "pong"
        await house.device("alice", "1")  # the same device may always come back
        await house.device("bob", "2")


async def test_one_of_a_kind(tmp_path: Path) -> None:
    async with housing(tmp_path / "data", devices_single=("phone",)) as house:
        old = await house.device("alice", "old", kind="phone")
        laptops = [await house.device("alice", str(n), kind="laptop") for n in range(2)]
        new = await house.device("alice", "new", kind="phone")
        assert await old.closed() == 4203
        for device in (*laptops, new):
            assert (await device.ask("ping", id="p"))["type"] == "pong"


async def test_a_device_that_has_left_makes_room(tmp_path: Path) -> None:
    async with housing(tmp_path / "data", devices=1, devices_conflict="refuse") as house:
        first = await house.device("alice", "1")
        await first.ws.close()
        await eventually(lambda: not house.server._logins._there)
        await house.device("alice", "2")


# -- one's own devices ---------------------------------------------------------------------------


async def test_a_device_is_logged_out_by_another(house: House) -> None:
    token = house.token("alice")
    phone = await house.device("alice", "phone", token=token, kind="mobile")
    laptop = await house.device("alice", "laptop")
    page = await laptop.ask("devices", id="1")
    assert names(page) == [("laptop", True), ("phone", True)]
    assert [one["kind"] for one in page["devices"]] == ["", "mobile"]

    assert names(await laptop.ask("log_out", id="2", device="phone")) == [("laptop", True)]
    assert await phone.closed() == 4202
    assert names(await laptop.ask("devices", id="3")) == [("laptop", True)]

    error, code = await house.refused(token, "phone")
    assert (error["code"], code) == ("token_revoked", 4102)
    house.clock.now += 1
    await house.device("alice", "phone")  # it has logged in again
    assert names(await laptop.ask("devices", id="4")) == [("laptop", True), ("phone", True)]


async def test_a_device_that_is_away_is_logged_out_too(house: House) -> None:
    token = house.token("alice")
    phone = await house.device("alice", "phone", token=token)
    await phone.ws.close()
    await eventually(lambda: not house.server._logins._there)
    laptop = await house.device("alice", "laptop")
    assert names(await laptop.ask("devices", id="1")) == [("laptop", True), ("phone", False)]
    assert names(await laptop.ask("log_out", id="2", device="phone")) == [("laptop", True)]
    assert (await house.refused(token, "phone"))[0]["code"] == "token_revoked"


async def test_nobody_logs_out_what_is_not_theirs(house: House) -> None:
    bob = await house.device("bob", "phone")
    alice = await house.device("alice", "laptop")
    assert (await alice.ask("log_out", id="1", device="phone"))["code"] == "unknown_device"
    assert (await bob.ask("ping", id="p"))["type"] == "pong"


async def test_who_is_logged_out_is_not_pushed_to_any_more(house: House) -> None:
    phone = await house.device("alice", "phone")
    await phone.until("live")
    await house.server._logins.revoke(Revoke(user="alice"))
    bob = await house.device("bob", "phone")
    await bob.ask("send", id="1", to="direct:alice:bob", body={"text": "x"})
    with pytest.raises(Closed) as closed:
        await phone.until("push")
    assert (closed.value.code, closed.value.seen) == (4202, [])


# -- revoking ------------------------------------------------------------------------------------


async def test_a_token_a_device_or_a_user_is_revoked_and_stays_so(tmp_path: Path) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    async with housing(tmp_path / "data", store) as house:
        logins = house.server._logins
        tokens = {user: house.token(user) for user in ("alice", "bob", "carol")}
        alice = [await house.device("alice", n, token=tokens["alice"]) for n in ("1", "2")]
        bob = [await house.device("bob", n, token=tokens["bob"]) for n in ("1", "2")]
        carol = await house.device("carol", "1", token=tokens["carol"])
        await logins.revoke(Revoke(token=house.server._verify(tokens["carol"], None).id))
        await logins.revoke(Revoke(user="bob", device="1"))
        await logins.revoke(Revoke(user="alice"))
        assert await carol.closed() == 4102
        assert [await one.closed() for one in alice] == [4202, 4202]
        assert await bob[0].closed() == 4202
        assert (await bob[1].ask("ping", id="p"))["type"] == "pong"
        secret = house.server.keys.secret

    async with serving(tmp_path / "data", store.reopened(), clock) as server:
        assert server.keys.secret == secret
        for user, device in (("alice", "9"), ("bob", "1"), ("carol", "9")):
            with pytest.raises(Forbidden):
                server._verify(tokens[user], device)
        assert server._verify(tokens["bob"], "2").user == "bob"


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (Revoke(), "bad_frame"),
        (Revoke(token="t", user="alice"), "bad_frame"),
        (Revoke(device="phone"), "bad_frame"),
        (Revoke(token="t", device="phone"), "bad_frame"),
        (Revoke(user="a b"), "bad_name"),
        (Revoke(user="alice", device="a/b"), "bad_name"),
        (Revoke(token="t" * 129), "bad_id"),
    ],
)
async def test_what_cannot_be_revoked(house: House, what: Revoke, code: str) -> None:
    with pytest.raises(TimewireError) as caught:
        await house.server._logins.revoke(what)
    assert caught.value.code == code


# -- the SDK -------------------------------------------------------------------------------------


async def test_the_sdk_lists_and_logs_out(tmp_path: Path) -> None:
    from timewire import connect

    async with serving(tmp_path / "data") as server:

        async def token() -> str:
            return mint(server.keys.secret, "alice")

        async with (
            connect(server.url, token, device="phone", kind="mobile") as phone,
            connect(server.url, token, device="laptop") as laptop,
        ):
            listed = [(one.device, one.kind, one.online) for one in await laptop.devices()]
            assert listed == [("laptop", "", True), ("phone", "mobile", True)]
            with pytest.raises(NotFound):
                await laptop.log_out("tv")
            assert [one.device for one in await laptop.log_out("phone")] == ["laptop"]
            with pytest.raises(Forbidden) as ended:
                async for _ in phone.events():
                    pass
            assert ended.value.code == "logged_out"
