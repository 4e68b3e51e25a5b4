"""Who may find what: a user's windows as a scope that an index can keep to.

Between two changes of its members all messages of a conversation have the same readers.  So each
message is indexed with the *audience* it was said to, named by the SeqId of the last change, and a
user's windows are a set of audiences: no range is compared, and five thousand conversations are
one look-up of five thousand terms.  A whole conversation is one term; a window over very many
audiences is a range after all.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from timewire.changes import as_left, was_changed
from timewire.directory import Directory
from timewire.errors import error
from timewire.finding import Scope
from timewire.model import DIRECT, SELF, Conversation, Seq, Stored, Window

MAX_AUDIENCES: Final = 64
"""In one window; for a window over more the index compares SeqIds."""

MAX_CONVERSATIONS: Final = 50_000
"""In one scope.  Who is in more has to name one."""

MAX_CONVERSATIONS_KEPT: Final = 50_000
"""Conversations whose changes are remembered."""

PAGE: Final = 500


class _Changes(msgspec.Struct, frozen=True, gc=False):
    """When the members of a conversation changed, as of the change ``upto``."""

    upto: Seq
    seqs: tuple[Seq, ...]


class Scopes:
    """Finds audiences and scopes, from the directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._changes: OrderedDict[str, _Changes] = OrderedDict()

    async def audience(self, conversation: str, seq: Seq) -> Seq:
        """The audience that a message is said to; 0 in a conversation that is not known."""
        found = await self._directory.conversation(conversation)
        if found is None:
            return 0
        changes = self._changes_of(found)
        return changes[max(0, bisect_right(changes, seq) - 1)]

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
        scope = _Growing()
        self._add(scope, found, _readable(found, user))
        return scope.done()

    async def everything(self, user: str) -> Scope:
        """All conversations that a user is or was in.  Raises ``Invalid`` (too_broad)."""
        scope = _Growing()
        after, count = "", 0
        while True:
            page = await self._directory.memberships(user, after=after, limit=PAGE)
            for mine in page:
                # Whoever is in one of these is so from its beginning, for ever.
                if mine.conversation.startswith((DIRECT, SELF)):
                    scope.whole.add(mine.conversation)
                elif found := await self._directory.conversation(mine.conversation):
                    self._add(scope, found, _readable(found, user))
            count += len(page)
            if len(page) < PAGE:
                return scope.done()
            if count >= MAX_CONVERSATIONS:
                raise error("too_broad", "you are in too many conversations; name one to search")
            after = page[-1].conversation
            await asyncio.sleep(0)

    def _add(self, scope: _Growing, found: Conversation, windows: Iterable[Window]) -> None:
        for window in windows:
            if window.joined <= found.created and not window.left:
                scope.whole.add(found.name)
                continue
            changes = self._changes_of(found)
            first = bisect_left(changes, window.joined)
            last = bisect_left(changes, window.left) if window.left else len(changes)
            if last - first <= MAX_AUDIENCES:
                scope.audiences.update((found.name, seq) for seq in changes[first:last])
            else:
                scope.parts.append((found.name, window))

    def _changes_of(self, found: Conversation) -> tuple[Seq, ...]:
        known = self._changes.get(found.name)
        if known is None or known.upto != found.changed:
            ends = {end for mine in found.windows.values() for one in mine for end in _ends(one)}
            known = _Changes(found.changed, tuple(sorted(ends | {found.created})))
            self._changes[found.name] = known
        self._changes.move_to_end(found.name)
        if len(self._changes) > MAX_CONVERSATIONS_KEPT:
            self._changes.popitem(last=False)
        return known.seqs


class _Growing:
    """A scope that is being put together."""

    def __init__(self) -> None:
        self.whole: set[str] = set()
        self.audiences: set[tuple[str, Seq]] = set()
        self.parts: list[tuple[str, Window]] = []

    def done(self) -> Scope:
        return Scope(frozenset(self.whole), frozenset(self.audiences), tuple(self.parts))


def _readable(found: Conversation, user: str) -> list[Window]:
    return found.readable(user) if user in found.windows else []


def _ends(window: Window) -> tuple[Seq, ...]:
    return (window.joined, window.left) if window.left else (window.joined,)
