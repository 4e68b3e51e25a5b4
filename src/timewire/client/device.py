"""The SDK's face: one device of one user.

async with timewire.connect("http://127.0.0.1:7447", token, device="laptop") as me:
    await me.send(me.direct("bob"), "hello")
    async for event in me.events():
        match event:
            case timewire.Received(message):
                ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

import msgspec

from timewire import model
from timewire.client import queries
from timewire.client.driver import Driver, TokenSource
from timewire.client.events import Event
from timewire.client.queries import Conversation, HistorySlice, SearchSlice, new_id
from timewire.client.session import Answer, State
from timewire.client.store import MemoryStore, SqliteStore, Store
from timewire.client.transport import Backoff, Dialer, socket_url
from timewire.coding import JSON, MSGPACK
from timewire.errors import error
from timewire.model import Message, Seq
from timewire.protocol import (
    Ack,
    AckLevel,
    Add,
    Command,
    Create,
    Id,
    MarkRead,
    Match,
    Order,
    Remove,
    Search,
    Send,
)

CONNECT_TIMEOUT_S: Final = 30.0
"""How long a device that does not know its user yet waits for the server."""


class Sent(msgspec.Struct, frozen=True):
    """A message is on stable storage: its id, its SeqId, and its time in ms."""

    id: Id
    seq: Seq
    time: int


class Posted:
    """A message on its way.  Await it for its ``Sent``, once or often, or let it go."""

    def __init__(self, id: Id, answer: asyncio.Future[Answer]) -> None:
        self.id = id
        self._answer = answer

    def __await__(self) -> Generator[Any, None, Sent]:
        # Who stops waiting does not call the message back.
        ack = yield from asyncio.shield(self._answer).__await__()
        if not isinstance(ack, Ack):
            raise error("bad_frame", reason=f"a {type(ack).__name__} is no answer to a command")
        return Sent(ack.id, ack.seq, ack.time)


def connect(
    url: str,
    token: TokenSource,
    *,
    device: str,
    store: Store | str | Path | None = None,
    codec: Literal["json", "msgpack"] = "json",
    timeout_s: float = CONNECT_TIMEOUT_S,
    backoff: Backoff | None = None,
) -> Client:
    """A device of the user whom the token names; use it with ``async with``.

    ``device`` names this installation: a user's devices have different names.  ``store`` is the
    path of a SQLite file, made when missing; with it messages, the cursor and what is queued
    outlive the app, and the device starts offline too.  Without one the device is new each time.

    ``token`` may be an async function: it is called for the first token, and whenever the server
    wants another one.

    Entering raises ``Forbidden`` (bad_token ...), ``Retryable`` (not_connected) when there is no
    answer within ``timeout_s`` and the user is not known from the store, and ``Unusable``
    (directory_in_use, wrong_store, bad_config ...).
    """
    return Client(
        url, token, device=device, store=store, codec=codec, timeout_s=timeout_s, backoff=backoff
    )


class Client:
    """One device of one user; made by ``connect``.

    What writes (``send``, ``create``, ``mark_read`` ...) is queued in the order of the calls, goes
    out when there is a connection, and is done once however often connections break.  Awaiting it
    means waiting for the server's ack; giving up the wait does not call it back.  What asks
    (``history``, ``conversations`` ...) waits for a connection too.  Both raise the typed error
    with which the server refuses, or what has ended the device.
    """

    def __init__(
        self,
        url: str,
        token: TokenSource,
        *,
        device: str,
        store: Store | str | Path | None,
        codec: Literal["json", "msgpack"],
        timeout_s: float,
        backoff: Backoff | None,
    ) -> None:
        self.device = model.check_name(device)
        self._url = socket_url(url)
        self._token: TokenSource = token
        self._store = store
        self._codec = JSON if codec == "json" else MSGPACK
        self._timeout_s = timeout_s
        self._backoff = backoff or Backoff()
        self._sent = 0

    async def __aenter__(self) -> Client:
        given = self._store
        self._kept = SqliteStore(given) if isinstance(given, str | Path) else given or MemoryStore()
        self._dialer = Dialer(self._url, self._codec)
        try:
            self._driver = Driver(self._dialer, self._token, self.device, self._kept, self._backoff)
            await self._start()
        except BaseException:
            await self._dialer.close()
            self._kept.close()
            raise
        return self

    async def _start(self) -> None:
        self._driver.start()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._driver.until(lambda: bool(self._driver.session.user))
        except TimeoutError:
            await self._driver.stop()
            raise error("not_connected", reason=self._driver.trouble) from None
        except BaseException:
            await self._driver.stop()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if fault is None:
            self._driver.feed.hand_back()
        try:
            await self._driver.stop()
        finally:
            await self._dialer.close()
            self._kept.close()

    # -- who and where --------------------------------------------------------------------------

    @property
    def user(self) -> str:
        """The user whose device this is."""
        return self._driver.session.user

    @property
    def state(self) -> State:
        """Where the device stands with the server now."""
        return self._driver.session.state

    def direct(self, user: str) -> str:
        """The name of the direct conversation with a user; with oneself, one's own notes."""
        return model.direct(self.user, user)

    def events(self) -> AsyncIterator[Event]:
        """What happens, from where the app has stopped reading.  One reader at a time.

        An event counts as dealt with when the app asks for the next one, or leaves the device
        without an exception.  After a crash of the app the last ones may come again.

        An app that does not read its events for long (10,000 messages) is not synced further until
        it does; nothing is lost.  Ends when the device is closed; raises what else has ended it.
        """
        return self._driver.feed

    async def caught_up(self) -> None:
        """Wait until the device has everything that there is now."""
        await self._driver.until(lambda: self.state is State.LIVE)

    async def flush(self) -> None:
        """Wait until all that is queued is answered."""
        await self._driver.until(lambda: not self._driver.session.outbox)

    # -- writing --------------------------------------------------------------------------------

    async def send(
        self,
        to: str,
        body: str | dict[str, Any],
        *,
        kind: str = "text",
        id: Id | None = None,
        ack: AckLevel = "stored",
    ) -> Sent:
        """Send a message (a text, or any JSON object) to a conversation, and wait for its receipt.

        An ``id`` of your own makes it safe to send again after a crash of the app: the same id is
        one message for ever.  ``ack="synced"`` waits until it is in every receiver's inbox.
        """
        return await self.post(to, body, kind=kind, id=id, ack=ack)

    def post(
        self,
        to: str,
        body: str | dict[str, Any],
        *,
        kind: str = "text",
        id: Id | None = None,
        ack: AckLevel = "stored",
    ) -> Posted:
        """Queue a message, as ``send`` does, without waiting.  Raises ``Retryable`` (too_busy)."""
        content = {"text": body} if isinstance(body, str) else body
        kind = model.check_kind(kind)
        if id is not None:
            # Without a time of its own: a repeat must be the same to the last byte.
            return self._put(Send(model.check_id(id), to, content, kind, 0, ack))
        self._sent = max(self._sent + 1, time.time_ns() // 1_000_000)
        return self._put(Send(new_id(), to, content, kind, self._sent, ack))

    async def create(self, group: str, members: Iterable[str] = (), *, title: str = "") -> Sent:
        """Make a group, with oneself and others as its first members."""
        return await self._put(Create(new_id(), group, list(members), title))

    async def add(self, group: str, users: Iterable[str]) -> Sent:
        """Add members to a group that one is a member of."""
        return await self._put(Add(new_id(), group, list(users)))

    async def remove(self, group: str, users: Iterable[str]) -> Sent:
        """Remove members from a group that one is a member of."""
        return await self._put(Remove(new_id(), group, list(users)))

    async def leave(self, group: str) -> Sent:
        """Leave a group.  What was said until then stays readable."""
        return await self.remove(group, [self.user])

    async def mark_read(self, conversation: str, seq: Seq) -> Sent:
        """Note, for all devices of the user, that a conversation is read up to a SeqId."""
        return await self._put(MarkRead(new_id(), conversation, seq))

    def _put(self, command: Command) -> Posted:
        return Posted(command.id, self._driver.put(command))

    # -- reading --------------------------------------------------------------------------------

    async def history(
        self,
        conversation: str,
        *,
        after: Seq | None = None,
        before: Seq | None = None,
        limit: int = queries.PAGE_ENTRIES,
    ) -> HistorySlice:
        """A page of messages: past ``after``, oldest first, or below ``before``, newest first.

        With neither: the newest.
        """
        return await queries.history(
            self._driver.ask, conversation, after=after, before=before, limit=limit
        )

    def scroll(
        self, conversation: str, *, after: Seq | None = None, before: Seq | None = None
    ) -> AsyncIterator[Message]:
        """All messages past ``after``, oldest first, or below ``before``, newest first.

        With neither: all, from the newest.
        """
        return queries.scroll(self._driver.ask, conversation, after=after, before=before)

    async def conversations(self) -> list[Conversation]:
        """The user's conversations, by name, with last message and unread count."""
        return [one async for one in queries.conversations(self._driver.ask)]

    async def members(self, conversation: str) -> list[str]:
        """The present members of a conversation, by name."""
        return [one async for one in queries.members(self._driver.ask, conversation)]

    async def search(
        self,
        text: str = "",
        *,
        match: Match = "all",
        conversation: str = "",
        sender: str = "",
        kind: str = "",
        since: int | None = None,
        until: int | None = None,
        media: bool = False,
        mentioned: bool = False,
        order: Order = "newest",
        limit: int = queries.SEARCH_HITS,
        page: str = "",
        wait_for: Seq = 0,
    ) -> SearchSlice:
        """Messages that the user may read and that have these words: a page, and how to go on.

        ``text``: words, ``"phrases"``, beginn*, -not; ``match``: all of them, or any.  The other
        conditions must all hold: where, by whom, of which kind, from ``since`` to before ``until``
        (ms), carrying a file, speaking to the user.  ``order``: newest, oldest or best first.

        ``wait_for``: a SeqId, such as that of what was just sent, to be searched too.  ``page``:
        the ``next`` of the page before, with everything else the same.
        """
        query = Search(
            new_id(),
            text,
            match,
            conversation,
            sender,
            kind,
            since,
            until,
            media,
            mentioned,
            order,
            limit,
            page,
            wait_for,
        )
        return await queries.search(self._driver.ask, query)

    # -- what this device has -------------------------------------------------------------------

    def kept(
        self, conversation: str, *, before: Seq | None = None, limit: int = 100
    ) -> list[Message]:
        """Messages that this device has, received or sent, newest first.  Works offline."""
        return self._kept.messages(conversation, before=before, limit=limit)

    def read_mark(self, conversation: str) -> Seq:
        """How far the user has read, on any device, as far as this one knows."""
        return self._kept.mark(conversation)
