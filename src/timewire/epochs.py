"""Modes: how a conversation's messages reach devices that are not connected, and since when.

A conversation has a list of epochs, oldest first.  An epoch is the mode of the messages past a
SeqId, up to the next epoch; before the first one the mode is ``write``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

ModeName = Literal["write", "read", "push"]
"""``write``: each member's inbox has them; ``read``: a sync reads the conversation itself;
``push``: not at all, they are only pushed."""

SYSTEM_MODES: Final = "system:modes"
"""The conversation of all ``Mode`` changes.  It has no members, so nobody is sent them."""

FIRST_MODES: Final[dict[str, ModeName]] = {"room": "push"}
"""Kinds of conversations that begin in another mode than ``write``."""


class Epoch(msgspec.Struct, frozen=True, array_like=True):
    """From the message after a SeqId on: a mode."""

    since: int
    mode: ModeName


class Mode(msgspec.Struct, frozen=True, tag="mode"):
    """Messages of a conversation that come after this one have another mode.

    ``floor``: nothing below it can be synced any more; epochs that ended before it are forgotten.
    """

    conversation: str
    mode: ModeName
    floor: int = 1


def first_epochs(kind: str, created: int) -> list[Epoch]:
    """The epochs of a new conversation, of which the message with this SeqId is the first."""
    mode = FIRST_MODES.get(kind, "write")
    return [] if mode == "write" else [Epoch(created - 1, mode)]


def newest_mode(epochs: Sequence[Epoch]) -> ModeName:
    """The mode of the next message."""
    return epochs[-1].mode if epochs else "write"


def mode_at(epochs: Sequence[Epoch], seq: int) -> ModeName:
    """The mode of the message with this SeqId."""
    for epoch in reversed(epochs):
        if epoch.since < seq:
            return epoch.mode
    return "write"


def switched(epochs: Sequence[Epoch], seq: int, change: Mode) -> list[Epoch]:
    """The epochs after a change with this SeqId."""
    known = [*epochs, Epoch(seq, change.mode)]
    ended = [number for number, epoch in enumerate(known) if epoch.since < change.floor]
    kept = known[ended[-1] if ended else 0 :]
    return kept[1:] if kept[0].mode == "write" else kept


def was_read(epochs: Sequence[Epoch]) -> bool:
    """Whether the mode is or was ``read``, in an epoch that is not forgotten."""
    return any(epoch.mode == "read" for epoch in epochs)
