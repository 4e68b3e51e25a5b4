"""Connections to a real server: what they are told, when they end, and that nothing is lost."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.keys import jwk_set, public_key
from timewire import gateway as module
from timewire import signals
from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.backends.rocksdb import RocksStore
from timewire.clock import Clock
from timewire.connection import MAX_MESSAGE_BYTES
from timewire.parts import Store
from timewire.protocol import SUBPROTOCOLS
from timewire.server import Server
from timewire.session import MAX_BAD_FRAMES
from timewire.sync import MAX_PULL_BYTES
from timewire.testing.contracts import ManualClock
from timewire.testing.devices import Closed, Frame, RawDevice, eventually, raw_device
from timewire.testing.servers import serving

HOUR_MS = 3_600_000
LOOP = uvloop.new_event_loop


class House:
    """A server, and devices that connect to it."""

    def __init__(self, server: Server, clock: ManualClock, stack: AsyncExitStack) -> None:
        self.server = server
        self.clock = clock
        self._stack = stack

    def token(self, user: str, device: str | None = None, life_s: int = 3600) -> str:
        return mint(self.server.keys.secret, user, device, life_s=life_s, clock=self.clock)

    async def connect(self, **options: Any) -> RawDevice:
        """A device that has not said hello."""
        return await self._stack.enter_async_context(raw_device(self.server.url, **options))

    async def device(self, user: str, name: str = "phone", **hello: Any) -> RawDevice:
        """A device that has been welcomed."""
        options = {key: hello.pop(key) for key in ("subprotocol",) if key in hello}
        device = await self.connect(**options)
        await device.hello(self.token(user), name, **hello)
        return device

    async def live(self, user: str, name: str = "phone", **hello: Any) -> RawDevice:
        """A device that is live, having passed over what it missed."""
        device = await self.device(user, name, **hello)
        await device.until("live")
        return device


async def open_store(kind: str, path: Path, clock: Clock) -> Store:
    if kind == "memory":
        return MemoryStore(clock, bucket_ms=HOUR_MS)
    return await RocksStore.open(path, clock=clock, inbox_days=7 / 24)


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that matters here is the clock's, which tests move."""
    monkeypatch.setattr(module, "TICK_S", 0.01)


@asynccontextmanager
async def housing(path: Path, kind: str = "memory", **settings: Any) -> AsyncIterator[House]:
    clock = ManualClock()
    async with (
        serving(path, await open_store(kind, path, clock), clock, **settings) as server,
        AsyncExitStack() as stack,
    ):
        yield House(server, clock, stack)


@pytest.fixture(params=["memory", "rocksdb"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    async with housing(tmp_path / "data", request.param) as made:
        yield made


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[House]:
    """A server on a store in memory, for what has nothing to do with stores."""
    async with housing(tmp_path / "data") as made:
        yield made


async def make_team(device: RawDevice, *members: str) -> int:
    ack = await device.ask("create", id="make", conversation="team", members=list(members))
    return ack["seq"]


async def say(device: RawDevice, id: str, to: str = "team", **fields: Any) -> Frame:
    return await device.ask("send", **{"id": id, "to": to, "body": {"text": id}} | fields)


def ids(frames: list[Frame]) -> list[str]:
    """The ids of the messages in pages and pushes."""
    return [message["id"] for message in messages(frames)]


def messages(frames: list[Frame]) -> list[Frame]:
    found: list[Frame] = []
    for frame in frames:
        found += frame["messages"] if frame["type"] == "page" else ()
        found += [frame["message"]] if frame["type"] == "push" else ()
    return found


# -- hello ---------------------------------------------------------------------------------------


async def test_welcome_says_what_holds(house: House) -> None:
    device = await house.connect()
    welcome = await device.hello(house.token("alice"), "phone")
    config = house.server.config
    assert (welcome["user"], welcome["device"], welcome["pos"]) == ("alice", "phone", "0")
    assert welcome["limits"] == {
        "frame_bytes": config.frame_bytes,
        "body_bytes": config.body_bytes,
        "page_entries": config.page_entries,
        "sends_in_flight": config.sends_in_flight,
        "frames_per_second": config.frames_per_second,
        "bytes_per_second": 0,
        "sends_per_second": config.sends_per_second,
        "conversation_sends_per_second": 0,
    }
    assert welcome["time"] == house.clock.now
    await device.expect("live", pos="0")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é" * 100, "x" * 5000])
async def test_a_token_that_is_none(quick: House, token: str) -> None:
    device = await quick.connect()
    await device.send("hello", token=token, device="phone")
    await device.expect("error", code="bad_token")
    assert await device.closed() == 4100


async def test_a_token_of_another_secret(quick: House) -> None:
    device = await quick.connect()
    token = mint("x" * 40, "alice", clock=quick.clock)
    await device.send("hello", token=token, device="phone")
    await device.expect("error", code="bad_token")
    assert await device.closed() == 4100


async def test_a_token_that_has_expired(quick: House) -> None:
    token = quick.token("alice", life_s=60)
    quick.clock.now += 60_000
    device = await quick.connect()
    await device.send("hello", token=token, device="phone")
    await device.expect("error", code="token_expired")
    assert await device.closed() == 4101


async def test_a_token_for_another_device(quick: House) -> None:
    device = await quick.connect()
    await device.send("hello", token=quick.token("alice", "laptop"), device="phone")
    await device.expect("error", code="bad_device")
    assert await device.closed() == 4100
    other = await quick.connect()
    await other.hello(quick.token("alice", "laptop"), "laptop")


@pytest.mark.parametrize("name", ["", "my phone", "x" * 129, "a\nb", "é" * 65])
async def test_a_device_name_that_is_none_can_be_corrected(quick: House, name: str) -> None:
    device = await quick.connect()
    await device.send("hello", token=quick.token("alice"), device=name)
    await device.expect("error", code="bad_name")
    await device.hello(quick.token("alice"), "phone")


async def test_hello_comes_first_and_once(quick: House) -> None:
    device = await quick.connect()
    await device.send("send", id="1", to="self:alice", body={})
    await device.expect("error", code="not_hello", id="1")
    await device.send("ping", id="p")
    await device.expect("pong", id="p")
    await device.hello(quick.token("alice"), "phone")
    await device.expect("live")
    await device.send("hello", token=quick.token("bob"), device="phone")
    await device.expect("error", code="hello_twice")
    await say(device, "1", "self:alice")


async def test_the_older_connection_of_a_device_is_closed(house: House) -> None:
    old, other = await house.live("alice"), await house.live("alice", "laptop")
    new = await house.live("alice")
    assert await old.closed() == 4200
    bob = await house.live("bob")
    await say(bob, "1", "direct:alice:bob")
    for device in (new, other):
        assert ids(await device.until("push")) == [""]
        assert ids(await device.until("push")) == ["1"]


async def test_a_connection_without_hello_is_closed(quick: House) -> None:
    silent, hasty = await quick.connect(), await quick.live("alice")
    quick.clock.now += int(quick.server.config.hello_timeout_s * 1000) + 1
    assert await silent.closed() == 4001
    await say(hasty, "1", "self:alice")


async def test_a_connection_that_says_nothing_is_closed(quick: House) -> None:
    # Its WebSocket answers pings by itself, unless nobody reads from it.
    device = await quick.connect(autoping=False)
    await device.hello(quick.token("alice"), "phone")
    await device.expect("live")
    other = await quick.live("bob")
    quick.clock.now += int(quick.server.config.silence_timeout_s * 1000)
    await other.send("ping")
    await other.until("pong")
    quick.clock.now += 1
    assert await _closed_without_pongs(device) == 4002
    await say(other, "1", "self:bob")


async def _closed_without_pongs(device: RawDevice) -> int | None:
    while True:
        message = await device.ws.receive(30)
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
            return device.ws.close_code


@pytest.mark.parametrize("jump_ms", [-1_800_000, 1_800_000])
async def test_a_jump_of_the_wall_clock_closes_nothing_and_changes_no_limit(
    tmp_path: Path, jump_ms: int
) -> None:
    clock, ticks = ManualClock(), ManualClock(0)
    store = await open_store("memory", tmp_path / "data", clock)
    async with (
        serving(tmp_path / "data", store, clock, ticks=ticks, sends_per_second=2) as server,
        AsyncExitStack() as stack,
    ):
        house = House(server, clock, stack)
        alice, silent = await house.live("alice"), await house.connect()
        assert [(await say(alice, str(n), "self:alice"))["type"] for n in range(2)] == ["ack"] * 2
        clock.now += jump_ms
        await asyncio.sleep(5 * module.TICK_S)
        refused = await say(alice, "2", "self:alice")
        assert (refused["code"], refused["fields"]) == (
            "rate_limited",
            {"retry_after": 500, "scope": "user"},
        )
        ticks.now += 500
        assert (await say(alice, "2", "self:alice"))["type"] == "ack"
        assert (await alice.ask("ping", id="p"))["time"] == clock.now
        assert (await silent.ask("ping", id="p"))["type"] == "pong"
        ticks.now += int(server.config.hello_timeout_s * 1000)
        assert await silent.closed() == 4001


async def test_a_quiet_connection_is_pinged_and_told_where_it_stands(quick: House) -> None:
    alice, bob = await quick.live("alice"), await quick.live("bob")
    ack = await say(bob, "1", "self:bob")
    quick.clock.now += module.AT_INTERVAL_MS + 1
    await alice.expect("at", pos=str(ack["seq"]))
    # It answered the ping, so that this was no silence.
    quick.clock.now += int(quick.server.config.silence_timeout_s * 1000) - 1000
    await alice.expect("at")


async def test_a_newer_token_carries_a_connection_on(quick: House) -> None:
    device = await quick.connect()
    welcome = await device.hello(quick.token("alice", life_s=60), "phone")
    assert welcome["expires"] == quick.clock.now // 1000 * 1000 + 60_000
    newer = quick.token("alice", "phone", life_s=300)
    renewed = await device.ask("renew", id="r", token=newer)
    assert (renewed["type"], renewed["time"]) == ("renewed", quick.clock.now)
    assert renewed["expires"] == welcome["expires"] + 240_000
    quick.clock.now += 89_000  # past the end of the first, before silence is too long
    assert (await device.ask("ping", id="p"))["type"] == "pong"
    quick.clock.now += 89_000
    assert (await device.ask("ping", id="p"))["type"] == "pong"
    quick.clock.now += 89_000
    assert (await device.ask("ping", id="p"))["type"] == "pong"
    quick.clock.now += 89_000
    assert await device.closed() == 4101


async def test_a_newer_token_that_is_none_changes_nothing(quick: House) -> None:
    device = await quick.connect()
    await device.hello(quick.token("alice", life_s=60), "phone")
    gone = quick.token("alice", life_s=-1)
    wrong = [
        ("nonsense", "bad_token"),
        (quick.token("bob"), "bad_token"),
        (quick.token("alice", "laptop"), "bad_device"),
        (gone, "token_expired"),
    ]
    for number, (token, code) in enumerate(wrong):
        refused = await device.ask("renew", id=str(number), token=token)
        assert (refused["type"], refused["code"]) == ("error", code)
    quick.clock.now += 60_000
    assert await device.closed() == 4101


async def test_tokens_by_a_key_that_comes_later(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(jwk_set())
    async with housing(tmp_path / "data", token_keys=str(keys), audience="chat") as house:
        private = Ed25519PrivateKey.generate()
        claims = {"sub": "alice", "exp": house.clock.now // 1000 + 60, "aud": "chat"}
        token = jwt.encode(claims, private, "EdDSA", headers={"kid": "login"})
        early = await house.connect()
        await early.send("hello", token=token, device="phone")
        await early.expect("error", code="bad_token")
        keys.write_text(jwk_set(public_key("login", private)))
        late = await house.connect()
        assert (await late.hello(token, "phone"))["user"] == "alice"


async def test_a_token_that_expires_meanwhile_ends_the_connection(quick: House) -> None:
    device, other = await quick.connect(), await quick.live("bob")
    await device.hello(quick.token("alice", life_s=10), "phone")
    await device.expect("live")
    quick.clock.now += 9_000
    await say(device, "1", "self:alice")
    quick.clock.now += 1_000
    assert await device.closed() == 4101
    await say(other, "1", "self:bob")


# -- origins -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), None, True),
        ((), "own", True),
        ((), "https://evil.example", False),
        ((), "null", False),
        (("https://chat.example",), "https://chat.example", True),
        (("https://chat.example",), "https://chat.example.evil.example", False),
        (("https://chat.example",), "own", False),
        (("https://chat.example",), None, True),
        (("*",), "https://any.example", True),
    ],
)
async def test_a_page_of_a_foreign_origin_may_not_connect(
    tmp_path: Path, origins: tuple[str, ...], origin: str | None, allowed: bool
) -> None:
    async with housing(tmp_path / "data", origins=origins) as house:
        named = house.server.url if origin == "own" else origin
        headers = {"Origin": named} if named else {}
        if allowed:
            device = await house.connect(headers=headers)
            await device.hello(house.token("alice"), "phone")
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await house.connect(headers=headers)
            assert caught.value.status == 403


# -- bad frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code", "id"),
    [
        ("", "bad_frame", None),
        ("hello", "bad_frame", None),
        ("[]", "bad_frame", None),
        ("null", "bad_frame", None),
        ('{"id":"7"}', "bad_frame", "7"),
        ('{"type":"nonsense","id":"7"}', "unknown_type", "7"),
        ('{"type":"push","pos":"1","message":{}}', "unknown_type", None),
        ('{"type":"send","id":"7","to":"team"}', "bad_frame", "7"),
        ('{"type":"send","to":"team","body":{}}', "bad_frame", None),
        ('{"type":"send","id":7,"to":"team","body":{}}', "bad_frame", None),
        ('{"type":"send","id":"7","to":"team","body":[]}', "bad_frame", "7"),
        ('{"type":"send","id":"","to":"team","body":{}}', "bad_id", None),
        ('{"type":"send","id":"a\\u0000","to":"team","body":{}}', "bad_id", "a\x00"),
        ('{"type":"send","id":"\\ud800","to":"team","body":{}}', "bad_frame", None),
        ('{"type":"send","id":"7","to":"nowhere","body":{}}', "unknown_conversation", "7"),
        ('{"type":"send","id":"7","to":"","body":{}}', "unknown_conversation", "7"),
        ('{"type":"send","id":"7","to":"a\\u0000b","body":{}}', "unknown_conversation", "7"),
        ('{"type":"send","id":"7","to":"direct:bob:eve","body":{}}', "not_member", "7"),
        ('{"type":"send","id":"7","to":"team","kind":"read","body":{}}', "bad_kind", "7"),
        ('{"type":"history","id":"7","conversation":"team","limit":0}', "bad_limit", "7"),
        ('{"type":"history","id":"7","conversation":"team","limit":1001}', "bad_limit", "7"),
        ('{"type":"conversations","id":"7","limit":-1}', "bad_limit", "7"),
        (
            '{"type":"members","id":"7","conversation":"team","limit":' + "9" * 30 + "}",
            "bad_limit",
            "7",
        ),
        (
            '{"type":"history","id":"7","conversation":"team","after":1,"before":2}',
            "bad_range",
            "7",
        ),
        ('{"type":"history","id":"7","conversation":"nowhere"}', "unknown_conversation", "7"),
        ('{"type":"history","id":"7","conversation":"a\\u0000"}', "unknown_conversation", "7"),
        ('{"type":"read","id":"7","conversation":"team","seq":' + "9" * 30 + "}", "bad_seq", "7"),
        (b'{"type":"send","id":"\xff","to":"team","body":{}}', "bad_frame", None),
        (b"\xff\x00\xfe", "bad_frame", None),
    ],
    ids=lambda value: ascii(value)[:60],
)
async def test_what_is_wrong_with_a_frame_is_told_and_the_connection_kept(
    house: House, data: str | bytes, code: str, id: str | None
) -> None:
    alice = await house.live("alice")
    await make_team(alice, "bob")
    await alice.raw(data)
    told = await alice.expect("error", code=code, id=id)
    assert told["message"]
    assert (await say(alice, "1"))["type"] == "ack"


@pytest.mark.parametrize("id", ["", "x" * 129, "é" * 65, "a\nb", "\x7f", "\u2028"])
async def test_an_id_that_is_none(quick: House, id: str) -> None:
    alice = await quick.live("alice")
    await alice.send("send", id=id, to="self:alice", body={})
    await alice.expect("error", code="bad_id")


async def test_a_frame_that_is_too_large(quick: House) -> None:
    alice = await quick.live("alice")
    limit = quick.server.config.frame_bytes
    for size in (limit + 1, MAX_MESSAGE_BYTES):
        await alice.raw("x" * size)
        told = await alice.expect("error", code="frame_too_large")
        assert told["fields"] == {"limit": limit}
    # In bytes, not in characters.
    await alice.raw("é" * (limit // 2 + 1))
    await alice.expect("error", code="frame_too_large")
    await alice.raw(b"x" * limit)
    await alice.expect("error", code="bad_frame")
    await say(alice, "1", "self:alice")
    await alice.raw("x" * (MAX_MESSAGE_BYTES + 1))
    assert await alice.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_frames_may_be_as_large_as_the_settings_say(tmp_path: Path) -> None:
    async with housing(tmp_path / "data", frame_bytes=3 << 20, outbox_bytes=4 << 20) as house:
        alice = await house.live("alice")
        await alice.raw("x" * (3 << 20))
        await alice.expect("error", code="bad_frame")
        await alice.raw("x" * ((3 << 20) + 1))
        assert await alice.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_text_that_is_no_text_ends_the_connection(quick: House) -> None:
    alice, bob = await quick.live("alice"), await quick.live("bob")
    await alice.ws._writer.send_frame(b"\xff\xff", aiohttp.WSMsgType.TEXT)  # pyright: ignore
    assert await alice.closed() == aiohttp.WSCloseCode.INVALID_TEXT
    await say(bob, "1", "self:bob")


async def test_a_body_that_is_too_large_or_too_deep(quick: House) -> None:
    alice = await quick.live("alice")
    large = {"text": "x" * quick.server.config.body_bytes}
    assert (await say(alice, "1", "self:alice", body=large))["code"] == "body_too_large"
    assert (await alice.ask("conversations", id="c"))["conversations"] == []
    for depth in (40, 500, 900, 990, 1100, 20_000):
        body = '{"x":' + "[" * depth + "]" * depth + "}"
        await alice.raw('{"type":"send","id":"1","to":"self:alice","body":' + body + "}")
        told = await alice.expect("error")
        assert told["code"] in ("bad_body", "bad_frame")
    assert (await say(alice, "1", "self:alice"))["type"] == "ack"


async def test_too_many_bad_frames_are_an_attack(quick: House) -> None:
    alice, bob = await quick.live("alice"), await quick.live("bob")
    for _ in range(MAX_BAD_FRAMES):
        await alice.raw("nonsense")
    for _ in range(MAX_BAD_FRAMES):
        await alice.expect("error", code="bad_frame")
    assert await alice.closed() == 4201
    await say(bob, "1", "self:bob")


async def test_sends_beyond_the_rate_are_refused(tmp_path: Path) -> None:
    async with housing(tmp_path / "data", sends_per_second=5) as house:
        alice = await house.live("alice")
        answers = [await say(alice, str(n), "self:alice") for n in range(7)]
        assert [frame["type"] for frame in answers] == ["ack"] * 5 + ["error"] * 2
        assert [f["code"] for f in answers[5:]] == ["rate_limited", "out_of_turn"]
        assert all(f["retry"] for f in answers[5:])
        assert answers[5]["fields"] == {"retry_after": 200, "scope": "user"}
        # Another device does not help, and another user has a rate of their own.
        laptop = await house.live("alice", "laptop")
        assert (await say(laptop, "x", "self:alice"))["code"] == "rate_limited"
        bob = await house.live("bob")
        assert (await say(bob, "1", "self:bob"))["type"] == "ack"
        house.clock.now += 1000
        # The order of a device's sends is kept: the one that was refused first comes first.
        assert (await say(alice, "6", "self:alice"))["code"] == "out_of_turn"
        assert (await say(alice, "5", "self:alice"))["type"] == "ack"
        assert (await say(alice, "6", "self:alice"))["type"] == "ack"


async def test_sends_in_flight_have_a_limit(tmp_path: Path) -> None:
    async with housing(tmp_path / "data", sends_in_flight=3) as house:
        alice = await house.live("alice")
        await make_team(alice)
        # What waits for fan-out is in flight; more than three at once cannot be.
        count = 200
        for n in range(count):
            await alice.send("send", id=str(n), to="team", body={}, ack="synced")
        answers = [await alice.next() for _ in range(count)]
        acks = [frame for frame in answers if frame["type"] == "ack"]
        refused = [frame for frame in answers if frame["type"] == "error"]
        assert {frame["code"] for frame in refused} <= {"too_busy", "out_of_turn"}
        assert len(acks) >= 3
        # Nothing has overtaken the first one that was refused.
        assert [frame["id"] for frame in acks] == [str(n) for n in range(len(acks))]
        # What was refused was not stored.
        history = await alice.ask("history", id="h", conversation="team", after=1, limit=1000)
        assert ids([{**history, "type": "page"}]) == [frame["id"] for frame in acks]


@pytest.mark.parametrize("seed", range(8))
async def test_sends_keep_their_order_whatever_is_refused_for_now(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    store = MemoryStore()
    async with (
        serving(tmp_path / "data", store, sends_in_flight=rng.choice([10, 100])) as server,
        raw_device(server.url) as alice,
    ):
        await alice.hello(mint(server.keys.secret, "alice"), "phone")
        await alice.until("live")
        flipping = asyncio.create_task(_flip(store, rng))
        seqs: dict[str, int] = {}
        todo = [str(n) for n in range(200)]
        while todo:
            for id in todo:
                await alice.send("send", id=id, to="self:alice", body={})
                if rng.random() < 0.2:
                    await asyncio.sleep(0)
            unanswered = set(todo)
            while unanswered:
                frame = await alice.next()
                unanswered.discard(frame.get("id", ""))
                if frame["type"] == "ack":
                    seqs[frame["id"]] = frame["seq"]
                elif frame["type"] == "error":
                    assert frame["retry"], frame
            todo = [id for id in todo if id not in seqs]
        flipping.cancel()
        assert sorted(seqs, key=lambda id: seqs[id]) == [str(n) for n in range(200)]


async def _flip(store: MemoryStore, rng: random.Random) -> None:
    """Fill the store's disk and empty it again, for a few turns each."""
    while True:
        for _ in range(rng.randrange(1, 20)):
            await asyncio.sleep(0)
        store.log.writable = not store.log.writable


# -- MessagePack ---------------------------------------------------------------------------------


async def test_messagepack_from_end_to_end(house: House) -> None:
    binary = SUBPROTOCOLS[1]
    alice = await house.live("alice", subprotocol=binary)
    assert alice.ws.protocol == binary
    bob = await house.live("bob")
    await make_team(alice, "bob")
    text = {"text": "héllo", "n": [1, 2.5, None, True, {"x": 2**60}]}
    ack = await say(alice, "1", body=text)
    assert [m["body"] for m in messages([*await bob.until("push"), *await bob.until("push")])][
        1
    ] == text
    await say(bob, "2", body={"n": 2**64})
    pushed = (await alice.until("push"))[-1]
    assert pushed["message"]["body"] == {"n": 2.0**64}
    again = await house.device("alice", "laptop", subprotocol=binary, cursor=alice.at(ack["seq"]))
    frames = await again.until("live")
    assert ids(frames) == ["2"]
    await alice.raw('{"type":"ping"}')
    await alice.expect("error", code="bad_frame")
    await alice.raw(b"\xc1")
    await alice.expect("error", code="bad_frame")
    assert (await alice.ask("history", id="h", conversation="team", limit=1))["messages"][0][
        "id"
    ] == "2"


@pytest.mark.parametrize("subprotocol", ["", "chat", "timewire.json.v9"])
async def test_without_a_known_subprotocol_it_is_json(quick: House, subprotocol: str) -> None:
    device = await quick.connect(subprotocol=subprotocol)
    await device.hello(quick.token("alice"), "phone")
    await device.expect("live")


# -- messages ------------------------------------------------------------------------------------


async def test_a_message_reaches_every_device_but_the_one_it_came_from(house: House) -> None:
    alice, laptop = await house.live("alice"), await house.live("alice", "laptop")
    bob, eve = await house.live("bob"), await house.live("eve")
    ack = await say(alice, "1", "direct:alice:bob")
    for device in (laptop, bob):
        await device.expect("push", pos=str(ack["seq"] - 1))
        pushed = await device.expect("push", pos=str(ack["seq"]))
        assert pushed["message"] == {
            "conversation": "direct:alice:bob",
            "seq": ack["seq"],
            "time": ack["time"],
            "from": "alice",
            "id": "1",
            "kind": "text",
            "body": {"text": "1"},
        }
    for device in (alice, eve):
        await device.send("ping", id="p")
        assert "1" not in ids(await device.until("pong"))


async def test_synced_is_acked_when_it_is_in_every_inbox(house: House) -> None:
    alice, bob = await house.live("alice"), await house.live("bob")
    await make_team(alice, "bob")
    ack = await say(alice, "1", ack="synced")
    assert ack["synced"] is True
    inbox = house.server._store.inbox  # pyright: ignore[reportPrivateUsage]
    assert inbox.position >= ack["seq"]
    assert ids([await bob.next(), await bob.next()]) == ["make", "1"]


async def test_repeats_get_the_first_answer(house: House) -> None:
    alice, bob = await house.live("alice"), await house.live("bob")
    made = await make_team(alice, "bob")
    ack = await say(alice, "1")
    assert await say(alice, "1") == ack
    assert (await make_team(alice, "bob")) == made
    other = await house.live("alice", "laptop")
    assert await say(other, "1") == ack
    assert (await say(other, "1", body={"text": "else"}))["code"] == "id_reused"
    left = await bob.ask("remove", id="r", conversation="team", users=["bob"])
    assert await bob.ask("remove", id="r", conversation="team", users=["bob"]) == left
    assert (await say(bob, "2"))["code"] == "not_member"
    history = await alice.ask("history", id="h", conversation="team", after=0)
    assert ids([{**history, "type": "page"}]) == ["make", "1", "r"]


async def test_a_read_mark_reaches_ones_own_other_devices_only(house: House) -> None:
    alice, laptop, bob = (
        await house.live("alice"),
        await house.live("alice", "laptop"),
        await house.live("bob"),
    )
    await make_team(alice, "bob")
    ack = await say(bob, "1")
    await alice.ask("read", id="r", conversation="team", seq=ack["seq"])
    read = None
    while read is None or read["message"]["kind"] != "read":
        read = await laptop.expect("push")
    assert (read["message"]["conversation"], read["message"]["body"]) == (
        "self:alice",
        {"conversation": "team", "seq": ack["seq"]},
    )
    await bob.send("ping", id="p")
    assert {m["kind"] for m in messages(await bob.until("pong"))} <= {"created"}
    page = await laptop.ask("conversations", id="c")
    states = {s["conversation"]: (s["read"], s["unread"]) for s in page["conversations"]}
    assert states["team"] == (ack["seq"], 0)
    page = await bob.ask("conversations", id="c")
    assert [(s["read"], s["unread"]) for s in page["conversations"]] == [(0, 0)]


async def test_members_see_what_is_said_while_they_are_members(house: House) -> None:
    alice = await house.live("alice")
    bob = await house.live("bob")
    carol = await house.live("carol")
    await make_team(alice, "bob")
    await say(alice, "before")
    await alice.ask("add", id="add", conversation="team", users=["carol"])
    await say(alice, "while")
    await alice.ask("remove", id="remove", conversation="team", users=["carol"])
    await say(alice, "after")
    await alice.ask("add", id="again", conversation="team", users=["carol"])
    last = await say(alice, "last", ack="synced")
    seen = ["add", "while", "remove", "again", "last"]
    assert ids([await carol.expect("push") for _ in seen]) == seen
    offline = await house.device("carol", "tablet", cursor=carol.at(0))
    assert ids(await offline.until("live")) == seen
    history = await carol.ask("history", id="h", conversation="team", after=0)
    assert ids([{**history, "type": "page"}]) == seen
    everything = ["make", "before", *seen[:3], "after", *seen[3:]]
    assert ids([await bob.expect("push") for _ in everything]) == everything
    assert last["synced"]


# -- catching up ---------------------------------------------------------------------------------


async def test_a_device_that_was_away_gets_what_it_missed_and_then_what_comes(
    house: House,
) -> None:
    alice = await house.live("alice")
    await make_team(alice, "bob")
    bob = await house.live("bob")
    cursor = bob.at((await say(alice, "seen", ack="synced"))["seq"])
    await bob.ws.close()
    for n in range(5):
        await say(alice, str(n), ack="synced")
    bob = await house.device("bob", cursor=cursor)
    frames = await bob.until("live")
    assert ids(frames) == ["0", "1", "2", "3", "4"]
    await say(alice, "5")
    assert ids([await bob.expect("push")]) == ["5"]


async def test_no_page_comes_without_credit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timewire.sync.MAX_PULL_ENTRIES", 2)
    alice = await house.live("alice")
    made = await make_team(alice, "bob")
    for n in range(9):
        await say(alice, str(n), ack="synced")
    bob = await house.device("bob", credit=2, cursor={"base": "", "pos": ""})
    await bob.expect("reset", reason="garbage")
    bob = await house.device("bob", credit=2, cursor=bob.at(made))
    pages = [await bob.expect("page"), await bob.expect("page")]
    await bob.send("ping", id="p")
    await bob.expect("pong")
    await bob.send("credit")
    pages.append(await bob.expect("page", pos=str(made + 6), has_more=True))
    await bob.send("ping", id="p")
    await bob.expect("pong")
    await bob.send("credit", pages=5)
    pages += await bob.until("live")
    assert ids(pages) == [str(n) for n in range(9)]


@pytest.mark.parametrize(
    ("base", "pos", "reason"),
    [
        ("{base}", "x", "garbage"),
        ("{base}", "-1", "garbage"),
        ("nonsense", "1", "garbage"),
        ("{other}", "1", "other_user"),
        ("1.0badc0de.0", "1", "other_log"),
        ("{base}", "3", "future"),
        ("{base}", "9223372036854775807", "future"),
    ],
)
async def test_a_cursor_that_cannot_be_served_is_reset(
    house: House, base: str, pos: str, reason: str
) -> None:
    alice, bob = await house.live("alice"), await house.live("bob")
    head = (await say(bob, "1", "direct:alice:bob", ack="synced"))["seq"]
    named = base.format(base=alice.base, other=bob.base)
    device = await house.device("alice", "laptop", cursor={"base": named, "pos": pos})
    await device.expect("reset", reason=reason, base=alice.base, pos=str(head))
    await device.expect("live", pos=str(head))
    await say(bob, "2", "direct:alice:bob")
    await device.expect("push", pos=str(head + 1))


async def _expire(house: House) -> int:
    """Let everything that is in the inboxes expire; the floor."""
    inbox = house.server._store.inbox  # pyright: ignore[reportPrivateUsage]
    house.clock.now += 3 * HOUR_MS
    await inbox.expire(house.clock.now)
    return inbox.floor


async def test_a_cursor_that_has_expired_is_reset(house: House) -> None:
    alice, bob = await house.live("alice"), await house.live("bob")
    old = (await say(bob, "1", "direct:alice:bob", ack="synced"))["seq"]
    floor = await _expire(house)
    bob = await house.live("bob")  # the tokens have expired as well
    head = (await say(bob, "2", "direct:alice:bob", ack="synced"))["seq"]
    device = await house.device("alice", "laptop", cursor=alice.at(old - 1))
    await device.expect("reset", reason="expired", pos=str(head))
    await device.expect("live")
    # History still has it all.
    history = await device.ask("history", id="h", conversation="direct:alice:bob", after=0)
    assert ids([{**history, "type": "page"}]) == ["", "1", "2"]
    # A place from which nothing has expired is served.
    assert floor == old + 1
    device = await house.device("alice", "tablet", cursor=alice.at(old))
    assert ids(await device.until("live")) == ["2"]


async def test_a_place_that_expires_during_catch_up_is_reset(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timewire.sync.MAX_PULL_ENTRIES", 2)
    alice, bob = await house.live("alice"), await house.live("bob")
    for n in range(5):
        last = await say(bob, str(n), "direct:alice:bob", ack="synced")
    slow = await house.connect()
    await slow.hello(house.token("alice", life_s=30 * 3600), "tablet", credit=1, cursor=alice.at(0))
    assert len((await slow.expect("page"))["messages"]) == 2
    await slow.send("ping")
    await slow.expect("pong")
    await _expire_before_silence(house, slow)
    await slow.send("credit")
    await slow.expect("reset", reason="expired", pos=str(last["seq"]))
    await slow.expect("live")


async def _expire_before_silence(house: House, device: RawDevice) -> None:
    """Let the inboxes expire under a device, which must not be closed for its silence."""
    inbox = house.server._store.inbox  # pyright: ignore[reportPrivateUsage]
    await inbox.expire(house.clock.now + 3 * HOUR_MS)
    await device.send("ping")
    await device.expect("pong")


# -- slow readers --------------------------------------------------------------------------------


def waiting_bytes(house: House, user: str) -> int:
    """What waits for a user's connections: put, or not yet taken by the kernel."""
    total = 0
    for connection in house.server._gateway._connections:  # pyright: ignore
        if connection.user == user:
            outbox = connection.outbox
            total += outbox._size + outbox._transport.get_write_buffer_size()  # pyright: ignore
    return total


async def test_a_slow_reader_is_not_buffered_for_and_loses_nothing(tmp_path: Path) -> None:
    limit = 65_536
    async with housing(tmp_path / "data", outbox_bytes=limit) as house:
        alice, slow, quick = (
            await house.live("alice"),
            await house.live("bob"),
            await house.live("carol"),
        )
        await make_team(alice, "bob", "carol")
        count, size = 400, 30_000  # 12 MB, more than kernels hold
        worst = 0
        quick_ids = asyncio.create_task(_collect(quick, count + 1))
        for start in range(0, count, 50):
            for n in range(start, start + 50):
                await alice.send("send", id=str(n), to="team", body={"x": "x" * size}, ack="synced")
            for _ in range(50):
                await alice.expect("ack")
                worst = max(worst, waiting_bytes(house, "bob"))
        # One frame more than the limit may wait, or a page, which comes only when nothing waits.
        assert worst <= max(limit, MAX_PULL_BYTES) + 2 * size
        wanted = ["make", *map(str, range(count))]
        assert await quick_ids == wanted
        got: list[str] = []
        types: list[str] = []
        while len(got) < len(wanted):
            frame = await slow.next()
            types.append(frame["type"])
            got += ids([frame])
            if frame["type"] == "page":
                assert len(frame["messages"]) * size <= 256 * 1024
                await slow.send("credit")
        assert got == wanted
        assert "behind" in types
        assert types.index("behind") < types.index("page")


async def _collect(device: RawDevice, count: int) -> list[str]:
    """The ids of so many messages, giving credit for pages."""
    got: list[str] = []
    while len(got) < count:
        frame = await device.next()
        got += ids([frame])
        if frame["type"] == "page":
            await device.send("credit")
    return got


async def test_answers_do_not_pile_up_for_one_who_does_not_read(tmp_path: Path) -> None:
    async with housing(tmp_path / "data", outbox_bytes=65_536) as house:
        alice, bob = await house.live("alice"), await house.live("bob")
        ping = "p" * 60_000
        flood = asyncio.create_task(_flood(alice, ping, 300))
        worst = 0
        async with asyncio.timeout(60):
            # Until nothing more gets through to the server.
            calm = before = 0
            while calm < 50 and not flood.done():
                now = waiting_bytes(house, "alice")
                calm = calm + 1 if now and now == before else 0
                before, worst = now, max(worst, now)
                await asyncio.sleep(0.005)
        assert worst <= 65_536 + 2 * len(ping)
        await say(bob, "1", "self:bob")
        # It was only waited for: once it reads, all its answers come.
        for _ in range(300):
            await alice.expect("pong", id=ping)
        await flood


async def _flood(device: RawDevice, id: str, count: int) -> None:
    for _ in range(count):
        await device.send("ping", id=id)


async def test_one_who_does_not_read_is_let_go_of_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", 0.05)
    async with housing(tmp_path / "data", outbox_bytes=65_536) as house:
        alice = await house.live("alice")
        reader, writer = await _deaf_device(house, "bob")
        await make_team(alice, "bob")
        for n in range(400):
            await say(alice, str(n), body={"x": "x" * 30_000})
        assert waiting_bytes(house, "bob") > 0
        newer = await house.device("bob")  # takes the place of the deaf one
        connections = house.server._gateway._connections  # pyright: ignore
        await eventually(lambda: len(connections) == 2)
        await newer.until("live")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1 << 40)
        writer.close()


async def _deaf_device(
    house: House, user: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket that says hello and then reads nothing: not even aiohttp's buffer fills."""
    host, port = house.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        f"GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    hello = f'{{"type":"hello","token":"{house.token(user)}","device":"phone"}}'.encode()
    # A mask of zeroes leaves the payload as it is.
    head = bytes([0x81, 0x80 | 126]) + len(hello).to_bytes(2, "big") + bytes(4)
    writer.write(head + hello)
    await reader.readuntil(b'"live"')
    return reader, writer


# -- everything at once --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["memory", "rocksdb"])
async def test_each_device_gets_each_message_once_and_in_order(
    tmp_path: Path, kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices come from anywhere and go at any time, while everybody sends."""
    rng = random.Random(seed)
    monkeypatch.setattr("timewire.sync.MAX_PULL_ENTRIES", rng.choice([1, 3, 20]))
    outbox_bytes = rng.choice([4096, 262_144])
    async with housing(tmp_path / "data", kind, outbox_bytes=outbox_bytes) as house:
        maker = await house.live("u0")
        users = [f"u{n}" for n in range(3)]
        made = await make_team(maker, *users)
        senders = [
            asyncio.create_task(_send_some(house, user, random.Random(seed + n)))
            for n, user in enumerate(users)
        ]
        watchers = [
            asyncio.create_task(_watch(house, user, f"w{n}", made, random.Random(seed * 7 + n)))
            for n, user in enumerate(users * 2)
        ]
        await asyncio.gather(*senders)
        last = await say(maker, "last", ack="synced")
        wanted = list(range(made + 1, last["seq"] + 1))
        for watcher in watchers:
            assert await asyncio.wait_for(watcher, 60) == wanted


async def _send_some(house: House, user: str, rng: random.Random) -> None:
    device = await house.live(user, "sender")
    for n in range(60):
        await device.send("send", id=f"{user}-{n}", to="team", body={"x": "x" * rng.randrange(300)})
        if rng.random() < 0.2:
            await device.until("ack")
        if rng.random() < 0.1:
            await asyncio.sleep(rng.random() / 200)
    await say(device, f"{user}-end", ack="synced")


async def _watch(house: House, user: str, name: str, start: int, rng: random.Random) -> list[int]:
    """A device that goes and comes back with its cursor, until it has the last message."""
    seen: list[int] = []
    base = house.server._sync.base(user)  # pyright: ignore[reportPrivateUsage]
    position = str(start)
    for life in itertools.count():
        cursor = {"base": base, "pos": position}
        device = await house.device(user, name, cursor=cursor, credit=rng.choice([1, 2, 4]))
        frames_left = rng.randrange(1, 40) if life < 8 else 1_000_000
        live = False
        while frames_left:
            frames_left -= 1
            frame = await device.next()
            live = _check_order(frame, live=live)
            if "pos" in frame:
                assert int(frame["pos"]) >= int(position)
                position = frame["pos"]
            seen += [message["seq"] for message in messages([frame])]
            if frame["type"] == "page":
                await device.send("credit")
            if "last" in ids([frame]):
                return seen
        await device.ws.close()
    return seen


def _check_order(frame: Frame, *, live: bool) -> bool:
    """Pages only before live, pushes only after; whether it is live now."""
    if frame["type"] == "page":
        assert not live
    if frame["type"] == "push":
        assert live
    return frame["type"] == "live" or (live and frame["type"] != "behind")


async def test_a_connection_that_breaks_off_leaves_nothing(quick: House) -> None:
    connections = quick.server._gateway._connections  # pyright: ignore[reportPrivateUsage]
    devices = [await quick.live("alice", f"d{n}") for n in range(5)]
    await eventually(lambda: len(connections) == 5)
    for device in devices:
        assert device.ws._response.connection is not None  # pyright: ignore
        transport = device.ws._response.connection.transport  # pyright: ignore
        assert transport is not None
        transport.abort()
    await eventually(lambda: not connections)
    assert list(quick.server.hub.receivers()) == []
    with pytest.raises(Closed):
        await devices[0].next()


# -- signals --------------------------------------------------------------------------------------


@pytest.fixture
def quick_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "TICK_S", 0.01)


async def test_typing_reaches_the_other_devices_of_members(house: House) -> None:
    alice, laptop = await house.live("alice"), await house.live("alice", "laptop")
    bob = await house.live("bob", subprotocol=SUBPROTOCOLS[1])
    eve = await house.live("eve")
    await make_team(alice, "bob")
    await alice.send("typing", conversation="team")
    await eve.send("typing", conversation="team")
    await say(eve, "later", "self:eve")
    for device in (laptop, bob):
        assert (await device.until("typing"))[-1] == {
            "type": "typing",
            "conversation": "team",
            "user": "alice",
        }
    await say(bob, "1")
    assert [frame["type"] for frame in await alice.until("push")] == ["push"]


async def test_presence_is_told_to_watchers(house: House, quick_signals: None) -> None:
    alice = await house.live("alice")
    await make_team(alice, "bob")
    answer = await alice.ask("watch", id="w", users=["bob", "nobody"])
    assert answer["users"] == [
        {"type": "presence", "user": "bob", "online": False},
        {"type": "presence", "user": "nobody", "online": False},
    ]
    bob = await house.live("bob")
    await alice.expect("presence", user="bob", online=True)
    await bob.ws.close()
    await eventually(lambda: not house.server.hub.of("bob"))
    house.clock.now += signals.LINGER_MS
    left = await alice.expect("presence", user="bob", online=False)
    assert left["seen"] == house.clock.now - signals.LINGER_MS


async def test_hiding_is_a_message_of_ones_own(house: House, quick_signals: None) -> None:
    alice, bob = await house.live("alice"), await house.live("bob")
    laptop = await house.live("bob", "laptop")
    await make_team(alice, "bob")
    await alice.send("watch", id="w", users=["bob"])
    await alice.expect("watching")
    await eventually(lambda: "bob" in house.server._signals._online)
    await bob.ask("settings", id="hide", presence="nobody")
    while (frame := await alice.next())["type"] != "presence" or frame["online"]:
        pass
    assert frame == {"type": "presence", "user": "bob", "online": False}
    pushed = [frame["message"] for frame in await laptop.until("push")][-1]
    while pushed["kind"] != "settings":
        pushed = (await laptop.until("push"))[-1]["message"]
    assert (pushed["conversation"], pushed["body"]) == ("self:bob", {"presence": "nobody"})
    answer = await bob.ask("settings", id="bad", presence="friends")
    assert answer["code"] == "bad_frame"


async def test_too_many_watched(quick: House) -> None:
    alice = await quick.live("alice")
    answer = await alice.ask("watch", id="w", users=[f"u{n}" for n in range(501)])
    assert answer["code"] == "too_many_watched"
    assert (await alice.ask("watch", id="w", users=["a b"]))["code"] == "bad_name"


async def test_signals_never_cost_a_message_its_place(tmp_path: Path) -> None:
    """Who does not read loses signals, and has every message in order all the same."""
    day_s = 86_400
    async with housing(tmp_path / "data", outbox_bytes=65_536, silence_timeout_s=day_s) as house:
        alice, bob = await house.live("alice"), await house.live("bob")
        await make_team(alice, "bob")
        count, size = 300, 30_000
        for number in range(count):
            house.clock.now += signals.TYPING_INTERVAL_MS
            await alice.send("typing", conversation="team")
            await say(alice, str(number), body={"text": "x" * size}, ack="synced")
        got: list[str] = []
        typing = 0
        while len(got) < count + 1:
            frame = await bob.next()
            got += ids([frame])
            typing += frame["type"] == "typing"
            if frame["type"] == "page":
                await bob.send("credit")
        assert got == ["make", *map(str, range(count))]
        assert 0 < typing < count
