"""Bounds that are small for a run, so that a few messages reach what else takes thousands."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from importlib import import_module
from random import Random
from typing import Final

SMALL: Final = (
    ("timewire.fanout", "MAX_PUT_REFS", (2, 5)),
    ("timewire.sync", "MAX_PULL_ENTRIES", (1, 2, 7)),
    ("timewire.sync", "MAX_PULL_BYTES", (300, 2_000)),
    ("timewire.send", "MAX_BATCH_DRAFTS", (1, 3)),
    ("timewire.admission", "MAX_QUEUE_REQUESTS", (2, 10)),
    ("timewire.session", "MAX_STALL_MS", (50, 1_000)),
    ("timewire.client.session", "CREDIT_PAGES", (1, 2)),
    ("timewire.client.session", "MAX_UNREAD_EVENTS", (3, 20)),
    ("timewire.client.driver", "MAX_BATCH_MESSAGES", (1, 3)),
    ("timewire.client.queries", "PAGE_ENTRIES", (2, 10)),
)
"""Module, constant, and the values to choose from."""

LOW: Final = "LOW_UNREAD_EVENTS"
"""It goes with MAX_UNREAD_EVENTS, in two modules."""

SHARE: Final = 0.3
"""How often each of them is small."""


@contextlib.contextmanager
def small_bounds(chance: Random) -> Generator[None]:
    """Make some bounds small, and what they were in the end."""
    before: list[tuple[object, str, int]] = []
    try:
        for module, name, values in SMALL:
            if chance.random() < SHARE:
                place = import_module(module)
                before.append((place, name, getattr(place, name)))
                value = chance.choice(values)
                setattr(place, name, value)
                if name == "MAX_UNREAD_EVENTS":
                    for low in (place, import_module("timewire.client.driver")):
                        before.append((low, LOW, getattr(low, LOW)))
                        setattr(low, LOW, value // 2)
        yield
    finally:
        for place, name, value in reversed(before):
            setattr(place, name, value)
