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
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from timewire.asking import Search
from timewire.client import queries
from timewire.client.acts import Acts, Posted
from timewire.client.driver import Driver, TokenSource
from timewire.client.events import Event
from timewire.client.files import Files
from timewire.client.queries import Conversation, HistorySlice, Member, SearchSlice, new_id
from timewire.client.session import State
from timewire.client.sqlite_store import SqliteStore
from timewire.client.store import MemoryStore, Store
from timewire.client.transport import Backoff, Dialer, socket_url
from timewire.coding import JSON, MSGPACK
from timewire.commands import Command
from timewire.errors import error
from timewire.finding import Match, Order
from timewire.model import Media, Message, Seq
from timewire.names import check_name, direct
from timewire.protocol import MAX_WATCHED_USERS, DeviceState, LinkState, Watch

CONNECT_TIMEOUT_S: Final = 30.0
"""How long a device that does not know its user yet waits for the server."""


def connect(
    url: str,
    token: TokenSource,
    *,
    device: str,
    store: Store | str | Path | None = None,
    codec: Literal["json", "msgpack"] = "json",
    timeout_s: float = CONNECT_TIMEOUT_S,
    backoff: Backoff | None = None,
    kind: str = "",
) -> Client:
    """A device of the user whom the token names; use it with ``async with``.

    ``device`` names this installation: a user's devices have different names.  ``store`` is the
    path of a SQLite file, made when missing; with it messages, the cursor and what is queued
    outlive the app, and the device starts offline too.  Without one the device is new each time.

    ``kind`` says what sort of device it is, such as `phone`: a server may allow one of a kind.

    ``token`` may be an async function: it is called for the first token, and whenever the server
    wants another one.

    Entering raises ``Forbidden`` (bad_token ...), ``Retryable`` (not_connected) when there is no
    answer within ``timeout_s`` and the user is not known from the store, and ``Unusable``
    (directory_in_use, wrong_store, bad_config ...).
    """
    return Client(
        url,
        token,
        device=device,
        store=store,
        codec=codec,
        timeout_s=timeout_s,
        backoff=backoff,
        kind=kind,
    )


class Client(Acts):
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
        kind: str,
    ) -> None:
        self.device = check_name(device)
        self._kind = kind
        self._url = socket_url(url)
        self._token: TokenSource = token
        self._store = store
        self._codec = JSON if codec == "json" else MSGPACK
        self._timeout_s = timeout_s
        self._backoff = backoff or Backoff()

    async def __aenter__(self) -> Client:
        given = self._store
        self._kept = SqliteStore(given) if isinstance(given, str | Path) else given or MemoryStore()
        self._dialer = Dialer(self._url, self._codec)
        try:
            self._driver = Driver(
                self._dialer,
                self._token,
                self.device,
                self._kept,
                self._backoff,
                kind=self._kind,
            )
            await self._start()
            self._files = Files(self._url, self._driver.token)
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
            await self._files.close()
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
        return direct(self.user, user)

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

    def _put(self, command: Command) -> Posted:
        return Posted(command.id, self._driver.put(command))

    # -- media ----------------------------------------------------------------------------------

    async def upload(self, source: str | Path | bytes, *, type: str = "") -> Media:
        """Upload a file (its path, or its bytes), for messages that refer to it by ``media``.

            photo = await me.upload("photo.jpg")
            await me.send("team", {"media": photo.media, "text": "look"}, kind="image")

        Doing it again is doing it once.  It needs a connection: raises ``Retryable``
        (not_connected) without one, and ``Invalid`` (media_too_large, bad_media_type).
        """
        return await self._files.upload(source, type)

    async def download(self, media: str | Media, *, size: int | None = None) -> bytes:
        """A file that the user may see; with ``size`` (64 to 1024 pixels) a thumbnail of an image.

        Raises ``NotFound`` (unknown_media), ``Retryable`` (not_connected).
        """
        return await self._files.download(_name(media), size)

    def stream(self, media: str | Media, *, size: int | None = None) -> AsyncGenerator[bytes]:
        """The same in pieces, for files that are large."""
        return self._files.stream(_name(media), size)

    # -- signals --------------------------------------------------------------------------------

    def typing(self, conversation: str) -> None:
        """Let the others see that the user is typing: call it with every key.

        The server passes on one every two seconds.  Without a connection it is nothing.
        """
        self._driver.tell(lambda session: session.typing(conversation))

    def watch(self, users: Iterable[str]) -> None:
        """Have ``Presence`` events of these users, first how things stand, then every change.

        They replace those watched before; nobody ends it.  It goes on over broken connections.
        Raises ``Invalid`` (bad_name, too_many_watched).
        """
        names = [check_name(user) for user in dict.fromkeys(users)]
        if len(names) > MAX_WATCHED_USERS:
            raise error("too_many_watched", limit=MAX_WATCHED_USERS)
        self._driver.tell(lambda session: session.watch(Watch(new_id(), names)))

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
        """The names of the present members of a conversation, sorted."""
        return [one.name for one in await self.roster(conversation)]

    async def roster(self, conversation: str) -> list[Member]:
        """The present members of a conversation, by name, with their roles."""
        return [one async for one in queries.members(self._driver.ask, conversation)]

    async def banned(self, conversation: str) -> list[str]:
        """Who may not be a member of a group that one is an owner or admin of, by name.

        Of one's own conversation (``self:``): whom one blocks.
        """
        return [one async for one in queries.bans(self._driver.ask, conversation)]

    async def links(self, group: str) -> list[LinkState]:
        """The invite links of a group that one is an owner or admin of, without tokens."""
        return [one async for one in queries.links(self._driver.ask, group)]

    async def read_by(self, conversation: str, seq: Seq) -> list[str]:
        """Who has read a message, beside its author.  Not told in groups of more than 500."""
        return [one async for one in queries.readers(self._driver.ask, conversation, seq)]

    async def devices(self) -> list[DeviceState]:
        """The user's devices, by name."""
        return await queries.devices(self._driver.ask)

    async def log_out(self, device: str) -> list[DeviceState]:
        """Log out one of the user's devices; those that are left.

        Its tokens are void from now on.  Raises ``NotFound`` (unknown_device).
        """
        return await queries.devices(self._driver.ask, log_out=device)

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
        """Messages that this device has, received or sent, newest first.  Works offline.

        They are as later ones have left them: edited, recalled, with reactions.
        """
        self._kept.sweep(time.time_ns() // 1_000_000)
        return self._kept.messages(conversation, before=before, limit=limit)

    def read_mark(self, conversation: str) -> Seq:
        """How far the user has read, on any device, as far as this one knows."""
        return self._kept.mark(conversation)


def _name(media: str | Media) -> str:
    return media.media if isinstance(media, Media) else media
