"""XMPP, as much of it as a measurement needs: accounts, messages, rooms."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from bench.peers.shapes import FILLER, Client
from bench.wire import Fault

HOST: Final = "localhost"
PASSWORD: Final = "pw"
ANSWER_TIMEOUT_S: Final = 30.0
AT_ONCE: Final = 20
LONGEST_STANZA_BYTES: Final = 4096
_BODY: Final = re.compile(rb"<body>(\d{10})")
_FEATURES: Final = re.compile(rb"</stream:features>|<stream:features/>")
_OPEN: Final = (
    f"<?xml version='1.0'?><stream:stream to='{HOST}' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)


class Person(asyncio.Protocol):
    """One connection.  It takes stanzas apart while it logs in, and then looks for bodies only."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.fault: BaseException | None = None
        self.on_number: Callable[[int, float], None] = lambda number, now: None
        self.transport: asyncio.Transport
        self.closing = False
        self._rest = b""
        self._awaited: tuple[re.Pattern[bytes], asyncio.Future[bytes]] | None = None
        self._head = self._tail = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closing:
            self.fault = self.fault or exc or Fault(f"{self.user}: connection lost")

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        now, at = perf_counter(), 0
        if self._awaited is not None:
            pattern, answer = self._awaited
            if (found := pattern.search(data)) is not None:
                self._awaited, at = None, found.end()
                answer.set_result(found[0])
        try:
            for found in _BODY.finditer(data, at):
                at = found.end()
                self.on_number(int(found[1]), now)
        except BaseException as fault:
            self.fault = self.fault or fault
        self._rest = data[max(at, len(data) - LONGEST_STANZA_BYTES) :]

    async def ask(self, text: str, pattern: re.Pattern[bytes] | str) -> bytes:
        """Send something, and wait for something."""
        wanted = re.compile(pattern.encode(), re.DOTALL) if isinstance(pattern, str) else pattern
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._awaited = wanted, answer
        self.transport.write(text.encode())
        try:
            return await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except TimeoutError:
            raise Fault(f"{self.user}: no answer to {text[:80]}: {self._rest[-300:]!r}") from None

    async def log_in(self, register: bool) -> None:
        """Open the stream, make the account when it is new, and be there."""
        await self.ask(_OPEN, _FEATURES)
        if register:
            made = await self.ask(
                "<iq type='set' id='reg'><query xmlns='jabber:iq:register'>"
                f"<username>{self.user}</username><password>{PASSWORD}</password></query></iq>",
                r"<iq[^>]*id=['\"]reg['\"][^>]*>",
            )
            if b"error" in made:
                raise Fault(f"{self.user}: not registered")
        token = base64.b64encode(f"\0{self.user}\0{PASSWORD}".encode()).decode()
        await self.ask(
            f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{token}</auth>",
            r"<success[^>]*>",
        )
        await self.ask(_OPEN, _FEATURES)
        await self.ask(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            "<resource>r</resource></bind></iq>",
            r"<jid>.*?</jid>",
        )
        self.transport.write(b"<presence/>")

    def talk_to(self, address: str, kind: str) -> None:
        """Where messages go from now on."""
        self._head = f"<message type='{kind}' to='{address}' id='m".encode()
        self._tail = f"{FILLER}</body></message>".encode()

    def say(self, numbers: range) -> None:
        """Send messages with these numbers."""
        head, tail = self._head, self._tail
        self.transport.write(
            b"".join([b"%b%d'><body>%010d%b" % (head, n, n, tail) for n in numbers])
        )


class Xmpp:
    """Clients of an XMPP server at a port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._known: set[str] = set()
        self._people: list[Person] = []
        self._rooms = 0

    async def pairs(self, count: int) -> list[tuple[Client, Client]]:
        """Clients who can write to each other."""
        people = await self._log_in(2 * count)
        pairs = list(zip(people[::2], people[1::2], strict=True))
        for one, other in pairs:
            one.talk_to(f"{other.user}@{HOST}", "chat")
        return list[tuple[Client, Client]](pairs)

    async def group(self, members: int) -> list[Client]:
        """Members of a room that the first of them makes."""
        people = await self._log_in(members)
        self._rooms += 1
        room = f"room{self._rooms}@conference.{HOST}"
        for place, person in enumerate(people):
            await person.ask(
                f"<presence to='{room}/n{place}'><x xmlns='http://jabber.org/protocol/muc'>"
                "<history maxstanzas='0'/></x></presence>",
                r"code=['\"]110['\"]",
            )
            if not place:
                await person.ask(
                    f"<iq type='set' id='o' to='{room}'>"
                    "<query xmlns='http://jabber.org/protocol/muc#owner'>"
                    "<x xmlns='jabber:x:data' type='submit'/></query></iq>",
                    r"<iq[^>]*id=['\"]o['\"]",
                )
        people[0].talk_to(room, "groupchat")
        return list[Client](people)

    async def leave(self) -> None:
        """End all connections."""
        for person in self._people:
            person.closing = True
            person.transport.abort()
        self._people.clear()
        await asyncio.sleep(1)

    async def _log_in(self, count: int) -> list[Person]:
        users = [f"u{n}" for n in range(count)]
        for at in range(0, count, AT_ONCE):
            self._people += await asyncio.gather(*map(self._connect, users[at : at + AT_ONCE]))
        return self._people[-count:]

    async def _connect(self, user: str) -> Person:
        loop = asyncio.get_running_loop()
        _, person = await loop.create_connection(lambda: Person(user), "127.0.0.1", self._port)
        await person.log_in(register=user not in self._known)
        self._known.add(user)
        return person
