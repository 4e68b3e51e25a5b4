"""Who may find what: a user's windows as a scope that an index can keep to.

Between two changes of its members all messages of a conversation have the same readers.  So each
message is indexed with the *audience* it was said to, named by the SeqId of the last change, and a
user's windows are a set of audiences: no range is compared, and five thousand conversations are
one look-up of five thousand terms.  A whole conversation is one term; a window over very many
audiences is a range after all.

A user's scope is kept.  The indexer tells of each change before it shows what was said after it, so
what is kept is brought up to date by the few changes since, and is never behind the index.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from time import monotonic
from typing import Final

import msgspec

from timewire.changes import as_left, was_changed
from timewire.conversation import Conversation
from timewire.directory import Directory
from timewire.errors import error
from timewire.finding import Scope
from timewire.model import DIRECT, SELF, Seq, Stored, Window

MAX_AUDIENCES: Final = 64
"""In one window; for a window over more the index compares SeqIds."""

MAX_CONVERSATIONS: Final = 50_000
"""In one scope.  Who is in more has to name one."""

MAX_SHARES_KEPT: Final = 500_000
"""Conversations in the scopes that are kept, of all users together."""

MAX_CHANGES_KEPT: Final = 10_000
"""A scope that is older than so many changes is made anew."""

PAGE: Final = 100
_UNCHANGING: Final = (DIRECT, SELF)
"""How the names of conversations begin whose members never come or go."""

TURN_S: Final = 0.002
"""How long a scope is made before everybody else has a turn."""


class _Share(msgspec.Struct, frozen=True):
    """What a user may find of one conversation: all of it, audiences, and windows."""

    whole: bool = False
    audiences: tuple[Seq, ...] = ()
    parts: tuple[Window, ...] = ()


class _Kept(msgspec.Struct):
    """All that a user may find, as of the change ``upto``."""

    upto: Seq
    shares: dict[str, _Share]
    scope: Scope


class _Change(msgspec.Struct, frozen=True, gc=False):
    """A message has changed who is in a conversation; ``joined`` may be in it from then on."""

    seq: Seq
    conversation: str
    joined: Collection[str]


_WHOLE: Final = _Share(whole=True)


class Scopes:
    """Finds audiences and scopes, from the directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._recent: deque[_Change] = deque(maxlen=MAX_CHANGES_KEPT)
        self._forgotten: Seq = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._shares_kept = 0

    async def audience(self, conversation: str, seq: Seq) -> Seq:
        """The audience that a message is said to; 0 in a conversation that is not known."""
        found = await self._directory.conversation(conversation)
        if found is None:
            return 0
        if conversation.startswith(_UNCHANGING):
            return found.created
        changes = found.roll().changes
        return changes[max(0, bisect_right(changes, seq) - 1)]

    def changed(self, seq: Seq, conversation: str, joined: Collection[str]) -> None:
        """A message of the log has changed who is in a conversation; ``joined`` have come in.

        Told in log order, before what comes after it is shown; what was told before is passed over.
        """
        if self._recent and seq <= self._recent[-1].seq:
            return
        if len(self._recent) == self._recent.maxlen:
            self._forgotten = self._recent[0].seq
        self._recent.append(_Change(seq, conversation, joined))

    async def seen(self, user: str, messages: Iterable[Stored]) -> list[Stored]:
        """Those of these messages that a user may read and has not hidden, as the user sees them.

        That is without what became of them after the user left.
        """
        by_conversation: dict[str, list[Stored]] = {}
        for message in messages:
            by_conversation.setdefault(message.conversation, []).append(message)
        seen: list[Stored] = []
        for name, some in by_conversation.items():
            found = await self._directory.conversation(name)
            if found is None:
                continue
            windows, left = _readable(found, user), found.left(user)
            hidden = await self._directory.hidden(user, name, [one.seq for one in some])
            for message in some:
                if message.seq not in hidden and any(w.holds(message.seq) for w in windows):
                    if left and was_changed(message.payload):
                        message.payload = as_left(message.payload, left)
                    seen.append(message)
        return seen

    async def named(self, user: str, conversation: str) -> Scope:
        """One conversation.

        Raises ``NotFound`` (unknown_conversation) and ``Forbidden`` (not_member).
        """
        found = await self._directory.conversation(conversation)
        if found is None:
            raise error("unknown_conversation", conversation=conversation[:300])
        if user not in found.windows:
            raise error("not_member", conversation=conversation)
        return _scope({conversation: self._share(found, _readable(found, user))})

    async def everything(self, user: str) -> Scope:
        """All conversations that a user is or was in.  Raises ``Invalid`` (too_broad)."""
        kept = self._kept.get(user)
        if kept is None or kept.upto < self._forgotten:
            kept = await self._make(user)
        else:
            await self._bring_up_to_date(user, kept)
        self._keep(user, kept)
        return kept.scope

    # -- one user -------------------------------------------------------------------------------

    async def _make(self, user: str) -> _Kept:
        upto = self._newest()
        shares: dict[str, _Share] = {}
        after, began = "", monotonic()
        while True:
            page = await self._directory.memberships(user, after=after, limit=PAGE)
            for mine in page:
                shares[mine.conversation] = await self._share_of(user, mine.conversation)
                if monotonic() - began > TURN_S:
                    await asyncio.sleep(0)
                    began = monotonic()
            if len(page) < PAGE:
                return _Kept(upto, shares, _scope(shares))
            if len(shares) >= MAX_CONVERSATIONS:
                raise error("too_broad", "you are in too many conversations; name one to search")
            after = page[-1].conversation

    async def _bring_up_to_date(self, user: str, kept: _Kept) -> None:
        upto = self._newest()
        touched: set[str] = set()
        for change in reversed(self._recent):
            if change.seq <= kept.upto:
                break
            if change.conversation in kept.shares or user in change.joined:
                touched.add(change.conversation)
        if touched:
            shares = {name: await self._share_of(user, name) for name in touched}
            kept.shares = kept.shares | shares
            kept.scope = _scope(kept.shares)
        kept.upto = max(kept.upto, upto)

    def _keep(self, user: str, kept: _Kept) -> None:
        before = self._kept.pop(user, None)
        self._shares_kept += len(kept.shares) - (len(before.shares) if before else 0)
        self._kept[user] = kept
        while self._shares_kept > MAX_SHARES_KEPT:
            _, oldest = self._kept.popitem(last=False)
            self._shares_kept -= len(oldest.shares)

    def _newest(self) -> Seq:
        return self._recent[-1].seq if self._recent else 0

    # -- one conversation -----------------------------------------------------------------------

    async def _share_of(self, user: str, name: str) -> _Share:
        # Whoever is in one of these is so from its beginning, for ever.
        if name.startswith(_UNCHANGING):
            return _WHOLE
        found = await self._directory.conversation(name)
        return self._share(found, _readable(found, user)) if found else _Share()

    def _share(self, found: Conversation, windows: Iterable[Window]) -> _Share:
        audiences: list[Seq] = []
        parts: list[Window] = []
        for window in windows:
            if window.joined <= found.created and not window.left:
                return _WHOLE
            changes = found.roll().changes
            first = bisect_left(changes, window.joined)
            last = bisect_left(changes, window.left) if window.left else len(changes)
            if last - first <= MAX_AUDIENCES:
                audiences += changes[first:last]
            else:
                parts.append(window)
        return _Share(False, tuple(audiences), tuple(parts))


def _scope(shares: dict[str, _Share]) -> Scope:
    return Scope(
        frozenset(name for name, share in shares.items() if share.whole),
        frozenset((name, seq) for name, share in shares.items() for seq in share.audiences),
        tuple((name, window) for name, share in shares.items() for window in share.parts),
    )


def _readable(found: Conversation, user: str) -> list[Window]:
    return found.readable(user) if user in found.windows else []
