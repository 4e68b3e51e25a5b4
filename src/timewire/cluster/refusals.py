"""What was refused stays refused, whoever still asks for it.

A gateway may stand still with a command that it has not asked for yet.  Its device repeats it
through another gateway and is told no; then the first one goes on, and by now it could be a yes.
So a refusal for good takes the id: it is a message of the internal conversation ``REFUSALS``, and
it is told once that is kept.  Whatever comes with the same id is a repeat of it, for every leader.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec

from timewire.errors import CODES, Forbidden, Invalid, NotFound, TimewireError, error
from timewire.log import MessageLog
from timewire.model import INTERNAL, Draft, Receipt, decode_stored, encode_stored
from timewire.names import check_id
from timewire.permits import Outcome
from timewire.timeline import TimelineStore

REFUSALS: Final = f"{INTERNAL}refusals"

MAX_REMEMBERED_REFUSALS: Final = 1_000
"""Of these a repeat is told the reason again; of older ones, that the id was used."""

KIND: Final = "refused"


class Refusals:
    """Those of one lead.  ``load`` what former leaders have refused before anything is decided."""

    def __init__(self, log: MessageLog) -> None:
        self._log = log
        self._known: OrderedDict[tuple[str, str], asyncio.Future[Outcome]] = OrderedDict()

    async def load(self, messages: TimelineStore) -> None:
        """Remember the newest ones."""
        page = await messages.scan_back(REFUSALS, limit=MAX_REMEMBERED_REFUSALS)
        for entry in reversed(page.entries):
            if entry.payload:
                stored = decode_stored(entry.payload)
                self._remember(stored.sender, stored.id).set_result(_reason(stored.body))

    def of(self, user: str, id: str) -> asyncio.Future[Outcome] | None:
        """What a command is told that was refused before; None when none was, or that is long ago.

        Shared by all who ask: not to be cancelled.
        """
        return self._known.get((user, id))

    def keep(self, user: str, id: str, refusal: TimewireError) -> asyncio.Future[Outcome]:
        """What may be told of a refusal, when it may.

        To be called before anything else is decided: what has the same id comes after it then.
        """
        before = self.of(user, id)
        if before is not None:
            return before
        if not _is_for_good(refusal) or not _is_an_id(id):
            told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            told.set_result(refusal)
            return told
        fields = msgspec.to_builtins(refusal.fields, enc_hook=str)
        body = {"code": refusal.code, "message": refusal.message, "fields": fields}
        kept = self._log.append([Draft(REFUSALS, user, id, encode_stored(user, id, KIND, body))])
        told = self._remember(user, id)

        def tell(_: object) -> None:
            if _is_kept(kept):
                told.set_result(refusal)
            else:
                self._known.pop((user, id), None)
                told.set_result(error("outcome_unknown"))

        kept.add_done_callback(tell)
        return told

    def _remember(self, user: str, id: str) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._known[user, id] = future
        if len(self._known) > MAX_REMEMBERED_REFUSALS:
            self._known.popitem(last=False)
        return future


def _is_kept(done: asyncio.Future[list[Receipt | TimewireError]]) -> bool:
    """Whether the id is taken now; not if another command with it was stored meanwhile."""
    if done.cancelled() or done.exception() is not None:
        return False
    return isinstance(done.result()[0], Receipt)


def _is_for_good(refusal: TimewireError) -> bool:
    """Whether the user is told that it has failed.  An id that was used is taken already."""
    return isinstance(refusal, Invalid | Forbidden | NotFound) and refusal.code != "id_reused"


def _is_an_id(id: str) -> bool:
    try:
        check_id(id)
    except TimewireError:
        return False
    return True


def _reason(body: dict[str, object]) -> TimewireError:
    """The refusal again."""
    code, message, fields = body["code"], body["message"], body["fields"]
    assert isinstance(code, str)
    assert isinstance(message, str)
    assert isinstance(fields, dict)
    return error(code if code in CODES else "refused", message, **fields)
