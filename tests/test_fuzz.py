"""Anything at all is thrown at a connection: it may be refused, it must not do harm."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.backends.rocksdb import RocksStore
from timewire.coding import CODECS
from timewire.config import Config
from timewire.errors import CODES, Invalid
from timewire.protocol import SUBPROTOCOLS, CloseCode, Hello, Limits, Problem
from timewire.quotas import Quotas
from timewire.server import Server
from timewire.session import Close, Command, Pull, Query, Session, Start
from timewire.testing.devices import Closed, RawDevice, raw_device
from timewire.testing.servers import serving

Attack = Callable[[list[tuple[bytes, bool]], str, bool], None]
NOW = 1_700_000_000_000
CLOSE_CODES = {*CloseCode, *(int(code) for code in aiohttp.WSCloseCode)}

# -- frames that are nearly right ----------------------------------------------------------------

NAMES = st.sampled_from(
    ["team", "alice", "bob", "direct:alice:bob", "self:alice", "direct:", "self:", "", "nowhere"]
)
TEXTS = NAMES | st.text(max_size=20) | st.sampled_from(["\x00", "a\x00b", "x" * 200, "é" * 65])
NUMBERS = (
    st.integers(-3, 12)
    | st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**30, 10**400])
    | st.integers()
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(TEXTS, VALUES, max_size=4)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": TEXTS,
    "to": NAMES,
    "conversation": NAMES,
    "body": BODIES,
    "kind": st.sampled_from(["text", "read", "created", "", "X"]),
    "sent": NUMBERS,
    "ack": st.sampled_from(["stored", "synced", "never"]),
    "members": st.lists(TEXTS, max_size=3),
    "users": st.lists(TEXTS, max_size=3),
    "title": TEXTS,
    "seq": NUMBERS,
    "after": NUMBERS | TEXTS | st.none(),
    "before": NUMBERS | st.none(),
    "limit": NUMBERS,
    "pages": NUMBERS,
}
TYPES = {
    "credit": ["pages"],
    "send": ["id", "to", "body", "kind", "sent", "ack"],
    "create": ["id", "conversation", "members", "title"],
    "add": ["id", "conversation", "users"],
    "remove": ["id", "conversation", "users"],
    "read": ["id", "conversation", "seq"],
    "history": ["id", "conversation", "after", "before", "limit"],
    "conversations": ["id", "after", "limit"],
    "members": ["id", "conversation", "after", "limit"],
    "ping": ["id"],
}


@st.composite
def frames(draw: st.DrawFn) -> dict[str, Any]:
    """A frame of a known shape, with a field missing, added, or of another type now and then."""
    type = draw(st.sampled_from(sorted(TYPES)))
    frame: dict[str, Any] = {"type": type}
    for name in TYPES[type]:
        if draw(st.integers(0, 9)):
            frame[name] = draw(FIELDS[name] if draw(st.integers(0, 9)) else VALUES)
    if not draw(st.integers(0, 9)):
        frame[draw(st.sampled_from(["type", "id", "token", "more"]))] = draw(VALUES)
    return frame


def as_json(frame: dict[str, Any]) -> bytes:
    return msgspec.json.encode(frame)


def as_msgpack(frame: dict[str, Any]) -> bytes:
    try:
        return msgspec.msgpack.encode(frame)
    except OverflowError:
        return b"\xc1"


@st.composite
def broken(draw: st.DrawFn, encode: Any) -> bytes:
    """The bytes of a frame with some cut out, doubled or changed."""
    data = bytearray(encode(draw(frames())))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 5))
        match draw(st.sampled_from(["cut", "put", "change"])):
            case "cut":
                del data[at : at + length]
            case "put":
                data[at:at] = draw(st.binary(max_size=length))
            case _:
                data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
    return bytes(data)


# -- the session and the codecs ------------------------------------------------------------------


@settings(max_examples=300)
@given(data=st.data(), coding=st.sampled_from(SUBPROTOCOLS))
def test_a_session_takes_anything(data: st.DataObject, coding: str) -> None:
    codec = CODECS[coding]
    meter = Quotas(Config(sends_per_second=50), lambda: NOW).meter(user="alice")
    session = Session(Limits(65_536, 32_768, 100, 5), meter)
    session.receive(Hello("token", "phone"), NOW)
    session.welcome("alice", "phone", "s", Start("base", 3), NOW)
    encode = as_json if codec.text else as_msgpack
    inputs = st.lists(broken(encode) | st.binary(max_size=40), min_size=1, max_size=20)
    for received in data.draw(inputs):
        state, position = session.state, session.position
        try:
            frame = codec.decode_client(received)
        except Invalid as fault:
            effects = session.refuse(fault, fault.fields.get("id", ""))
        else:
            effects = session.receive(frame, NOW)
        for effect in effects:
            if isinstance(effect, Problem):
                assert effect.code in CODES
            assert not isinstance(effect, Hello)
            if not isinstance(effect, Command | Query | Pull | Close | Hello):
                codec.encode(effect)
        assert session.position == position
        assert session.state in (state, "closed")
        assert 0 <= session.commands <= 5


# -- a real server -------------------------------------------------------------------------------


class Neighbour:
    """A device that is beside, and to whom nothing may happen."""

    def __init__(self, server: Server, device: RawDevice) -> None:
        self.server = server
        self.device = device
        self.sent = 0

    async def check(self) -> None:
        """It sends, is answered, and sees its own message in history."""
        self.sent += 1
        id = str(self.sent)
        ack = await asyncio.wait_for(
            self.device.ask("send", id=id, to="self:carol", body={"n": self.sent}, ack="synced"), 20
        )
        assert ack["type"] == "ack", ack
        page = await self.device.ask("history", id="h" + id, conversation="self:carol", limit=1)
        assert page["messages"][0]["id"] == id


def run_against(path: Path, store: str, scenario: Callable[[Attack], None]) -> None:
    """Run ``scenario(attack)`` with a server, in a loop of its own.

    ``attack(messages, coding, greet)`` sends messages over one connection, after a hello or not,
    and checks what comes of it.  Nothing in the server may fail on the way.
    """

    async def main() -> None:
        backend = MemoryStore() if store == "memory" else await RocksStore.open(path)
        async with (
            serving(path, backend, sends_per_second=0) as server,
            raw_device(server.url) as carol,
            raw_device(server.url) as bob,
        ):
            await carol.hello(mint(server.keys.secret, "carol"), "phone")
            await bob.hello(mint(server.keys.secret, "bob"), "phone")
            neighbour = Neighbour(server, carol)
            await neighbour.check()
            loop = asyncio.get_running_loop()

            def attack(messages: list[tuple[bytes, bool]], coding: str, greet: bool) -> None:
                work = _attack(neighbour, messages, coding, greet=greet)
                asyncio.run_coroutine_threadsafe(work, loop).result(60)

            await asyncio.to_thread(scenario, attack)
            # One whom they could write to has what was written, once and in order.
            await bob.send("ping", id="end")
            frames = await bob.until("pong")
            positions = [int(frame["pos"]) for frame in frames if "pos" in frame]
            assert positions == sorted(positions)
            pushed = [frame["message"]["seq"] for frame in frames if frame["type"] == "push"]
            assert pushed == sorted(set(pushed))

    with capture_logs() as logs:
        uvloop.run(main())
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []


async def _attack(
    neighbour: Neighbour, messages: list[tuple[bytes, bool]], coding: str, *, greet: bool
) -> None:
    server = neighbour.server
    async with raw_device(server.url, subprotocol=coding) as device:
        if greet:
            await device.hello(mint(server.keys.secret, "alice"), "phone")
        ended = await _throw(device, messages)
    assert ended in CLOSE_CODES - {CloseCode.FAULT} | {None}
    await neighbour.check()


async def _throw(device: RawDevice, messages: list[tuple[bytes, bool]]) -> int | None:
    """Send these messages, (bytes, as text or not); the close code if that closed it."""
    try:
        for data, text in messages:
            kind = aiohttp.WSMsgType.TEXT if text else aiohttp.WSMsgType.BINARY
            await device.ws._writer.send_frame(data, kind)  # pyright: ignore[reportPrivateUsage]
        await device.send("ping", id="the end")
        while (frame := await device.next()).get("id") != "the end":
            if frame["type"] == "error":
                assert frame["code"] in CODES
                assert frame["code"] not in ("server_fault", "outcome_unknown"), frame
    except Closed as closed:
        return closed.code
    except ConnectionResetError:
        return device.ws.close_code
    return None


LIVE = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
@pytest.mark.parametrize("coding", SUBPROTOCOLS)
def test_a_server_takes_anything(
    tmp_path: Path, store: str, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    encode = as_json if coding == SUBPROTOCOLS[0] else as_msgpack
    text = st.just(coding == SUBPROTOCOLS[0])
    message = st.one_of(
        st.tuples(frames().map(encode), text),
        st.tuples(broken(encode), text | st.booleans()),
        st.tuples(st.binary(max_size=100), st.booleans()),
    )

    def scenario(attack: Attack) -> None:
        @LIVE
        @given(messages=st.lists(message, min_size=1, max_size=15), greet=st.integers(0, 5))
        def throw(messages: list[tuple[bytes, bool]], greet: int) -> None:
            attack(messages, coding, greet > 0)

        throw()

    run_against(tmp_path / "data", store, scenario)
    faults = [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert faults == []


def test_a_server_takes_any_bytes_on_its_port(tmp_path: Path) -> None:
    """Before and after the handshake: what is no HTTP, and what is no WebSocket."""
    handshake = (
        b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )

    async def throw(server: Server, data: bytes) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def main() -> None:
        async with (
            serving(tmp_path / "data", MemoryStore()) as server,
            raw_device(server.url) as carol,
        ):
            await carol.hello(mint(server.keys.secret, "carol"), "phone")
            neighbour = Neighbour(server, carol)
            loop = asyncio.get_running_loop()

            def run(work: Coroutine[Any, Any, None]) -> None:
                asyncio.run_coroutine_threadsafe(work, loop).result(60)

            @LIVE
            @given(
                data=st.binary(min_size=1, max_size=200),
                start=st.sampled_from([b"", b"GET / HTTP/1.1\r\n", handshake]),
            )
            def scenario(data: bytes, start: bytes) -> None:
                run(throw(server, start + data))
                run(neighbour.check())

            await asyncio.to_thread(scenario)

    uvloop.run(main())
