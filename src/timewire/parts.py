"""What a server is made of: the parts that its configuration asks for, each made in one place.

With ``server`` and ``library`` the only place that chooses a backend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from timewire import policy as policies
from timewire.access import MediaAccess
from timewire.attachments import Attachments, Rules
from timewire.backends.local_bus import LocalBus
from timewire.backends.media_stores.local import LocalMediaStore
from timewire.clock import Clock, Ticks, steady_ticks
from timewire.config import Config
from timewire.directory import Directory
from timewire.errors import error
from timewire.fanout import FanOut
from timewire.gateway import Policy
from timewire.inbox import Inbox
from timewire.index import SearchIndex
from timewire.kinds import SCHEMAS, Schemas
from timewire.load import Loads, Observations
from timewire.log import MessageLog
from timewire.media import MediaIndex, MediaStore
from timewire.modes import Modes
from timewire.news import News
from timewire.protocol import Limits
from timewire.quotas import least
from timewire.revocations import Revocations
from timewire.sampling import Sampler
from timewire.screen import Screening, Terms, load_hook
from timewire.search import Indexer, Scopes, Searcher
from timewire.send import Intake, Sender
from timewire.signing import Signer
from timewire.sync import Sync
from timewire.timeline import TimelineStore
from timewire.webhooks import find_secrets

HOUR_MS: Final = 60 * 60 * 1000
DAY_MS: Final = 24 * HOUR_MS
MIB: Final = 1 << 20
SEARCH: Final = "search"
"""Where in the data directory the search index is."""


class Store(Protocol):
    """What a backend brings: the log with what it writes, and the inboxes."""

    @property
    def log(self) -> MessageLog: ...
    @property
    def messages(self) -> TimelineStore: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def media(self) -> MediaIndex: ...
    @property
    def inbox(self) -> Inbox: ...
    async def checkpoint(self, path: Path) -> None:
        """Make a directory that holds everything of now; see ``backups``."""
        ...

    async def aclose(self) -> None:
        """Finish and release everything."""
        ...


class Shared(NamedTuple):
    """What a server that is one of several has in place of parts of its own.

    ``patience_s``: how long a device waits that has seen more elsewhere than there is here yet.
    ``fresh`` waits until all is here that anyone can have been told of elsewhere.
    ``revocations`` are those of all.
    """

    intake: Intake
    bus: LocalBus
    patience_s: float
    fresh: Callable[[], Awaitable[None]]
    revocations: Revocations


def delivery(
    config: Config, store: Store, bus: LocalBus, loads: Loads, *, clock: Clock, ticks: Ticks
) -> tuple[FanOut, Sync]:
    """What brings messages to devices: to those who are connected, and to those who come back."""
    log, directory, inbox = store.log, store.directory, store.inbox
    news = News(store.messages, inbox.position)
    sampler = Sampler(ticks, config.room_messages_per_second)
    return (
        FanOut(log, directory, inbox, bus, news=news, loads=loads, sampler=sampler),
        Sync(
            log,
            inbox,
            clock,
            messages=store.messages,
            directory=directory,
            news=news,
            loads=loads,
        ),
    )


def steering(store: Store, loads: Observations, policy: policies.Policy, ticks: Ticks) -> Modes:
    """What changes the modes of conversations, by their load."""
    return Modes(store.log, store.directory, store.inbox, loads=loads, policy=policy, ticks=ticks)


def gateway_policy(config: Config) -> Policy:
    """What connections may do."""
    allowed = least(config)
    limits = Limits(
        frame_bytes=config.frame_bytes,
        body_bytes=config.body_bytes,
        page_entries=config.page_entries,
        sends_in_flight=config.sends_in_flight,
        frames_per_second=allowed.frames,
        bytes_per_second=allowed.bytes,
        sends_per_second=allowed.sends,
        conversation_sends_per_second=config.conversation_sends_per_second,
    )
    return Policy(
        limits,
        outbox_bytes=config.outbox_bytes,
        hello_timeout_ms=int(config.hello_timeout_s * 1000),
        silence_timeout_ms=int(config.silence_timeout_s * 1000),
        origins=config.origins,
    )


def searching(
    store: Store, index: SearchIndex | None, clock: Clock
) -> tuple[Indexer | None, Searcher | None]:
    """What keeps an index up to date and what answers from it, when there is one."""
    if index is None:
        return None, None
    scopes = Scopes(store.directory)
    indexer = Indexer(store.log, scopes, index, clock)
    return indexer, Searcher(index, indexer, scopes, store.log, clock)


def sender(
    config: Config,
    store: Store,
    access: MediaAccess,
    clock: Clock,
    schemas: Schemas = SCHEMAS,
    *,
    ticks: Ticks = steady_ticks,
) -> Intake:
    """What decides on commands and appends them to a log."""
    make = Sender
    if config.before_send:
        signer = partial(_signer, config)
        hook = load_hook(config.before_send, signer, clock)
        terms = Terms(config.before_send_timeout_s, config.before_send_failure)
        make = partial(Screening, hook, terms)
    return make(
        store.log,
        store.directory,
        clock,
        body_bytes=config.body_bytes,
        max_members=config.members,
        edit_minutes=config.edit_minutes,
        schemas=schemas,
        media=access,
        ticks=ticks,
        slow_commit_ms=config.slow_commit_s * 1000,
    )


def _signer(config: Config) -> Signer:
    return Signer(find_secrets(config))


def attachments(config: Config, store: Store, access: MediaAccess, clock: Clock) -> Attachments:
    """What takes files in and gives them out.  Raises ``Unusable`` (bad_config)."""
    return Attachments(
        media_store(config),
        Path(config.data) / "media" / "incoming",
        _rules(config),
        clock,
        index=store.media,
        access=access,
        log=store.log,
    )


def media_store(config: Config) -> MediaStore:
    """Where media are kept.  Raises ``Unusable`` (bad_config)."""
    if not config.media_store:
        return LocalMediaStore(Path(config.data) / "media")
    try:
        from timewire.backends.media_stores.objects import ObjectMediaStore
    except ImportError:
        message = "media_store needs another package: pip install 'timewire[s3]'"
        raise error("bad_config", message, key="media_store") from None
    return ObjectMediaStore.at(config.media_store)


def _rules(config: Config) -> Rules:
    return Rules(
        max_bytes=config.media_mb * MIB,
        types=config.media_types,
        orphan_ms=int(config.media_orphan_hours * HOUR_MS),
    )
