"""Which mode a conversation should have: the cost model, and policies that use it.

All costs are in references put into an inbox, which takes 1 to 2 us:

    write cost a second  =  messages a second x members
    read cost a second   =  syncs of members a second x LOOKUP_COST
                            + those of them that find something new x SCAN_COST

In mode ``write`` a message is written once more for each member; a sync reads one inbox, whatever
the number of conversations.  In mode ``read`` it is written once; a sync looks at every such
conversation of its user (a look into a dictionary), and reads those that have news.  How many find
something new: with m messages a second, a member who syncs r times a second finds something with
the probability 1 - exp(-m / r).  Pushes to connected devices cost the same in both.
"""

from __future__ import annotations

import sys
from importlib import import_module
from math import exp
from typing import Final, Protocol

import msgspec

from timewire.config import Config
from timewire.epochs import ModeName
from timewire.errors import error
from timewire.model import (
    ConversationKind,
)

SCAN_COST: Final = 20.0
"""Reading one conversation for one page."""

LOOKUP_COST: Final = 0.05
"""Finding that one conversation has nothing new."""


PAUSE_S: Final = 5.0
"""Between two looks at all conversations that have traffic."""


class Load(msgspec.Struct, frozen=True):
    """A conversation as a policy sees it.

    ``syncs_per_s``: of all its members together.  ``watched_s``: for how long its load has been
    observed, at most since the server's start.  ``settled_s``: since its mode was changed last.
    """

    conversation: str
    kind: ConversationKind
    mode: ModeName
    members: int
    messages_per_s: float
    syncs_per_s: float
    watched_s: float
    settled_s: float


class Policy(Protocol):
    """What chooses modes: ``choose`` is asked again and again for each active conversation."""

    @property
    def watch_members(self) -> int:
        """A conversation in mode ``write`` with fewer members is never asked about."""
        ...

    @property
    def pause_s(self) -> float:
        """How long to wait before it is asked about all of them again."""
        ...

    def choose(self, load: Load) -> ModeName:
        """The mode that a conversation should have from now on.  Quick: it runs on the loop."""
        ...


class FixedPolicy:
    """Every conversation has the same mode, but for those that are only pushed."""

    def __init__(self, mode: ModeName) -> None:
        self._mode: ModeName = mode
        self.pause_s: Final = PAUSE_S
        self.watch_members: Final = sys.maxsize if mode == "write" else 1

    def choose(self, load: Load) -> ModeName:
        """Always the same."""
        return "push" if load.mode == "push" else self._mode


class AdaptivePolicy:
    """The cheaper mode for groups of middle size; small ones are ``write``, large ones ``read``.

    It does not flap: the other mode has to be cheaper by the factor ``hysteresis``, or the size has
    to be past a threshold by it; and a mode is kept for ``dwell_s`` at least.
    """

    def __init__(
        self,
        *,
        write_members_max: int,
        read_members_min: int,
        hysteresis: float,
        dwell_s: float,
    ) -> None:
        self.watch_members: Final = min(read_members_min, write_members_max)
        self.pause_s: Final = PAUSE_S
        self._write_members_max = write_members_max
        self._read_members_min = read_members_min
        self._hysteresis = hysteresis
        self._dwell_s = dwell_s

    def choose(self, load: Load) -> ModeName:
        """What is cheaper, with everything that the class says."""
        if load.mode == "push":
            return "push"
        if load.settled_s < self._dwell_s:
            return load.mode
        slack = self._hysteresis if load.mode == "read" else 1.0
        if load.members > self._write_members_max / slack:
            return "read"
        if load.kind in ("direct", "self") or load.members < self._read_members_min / slack:
            return "write"
        if load.watched_s < self._dwell_s:
            return load.mode
        write, read = write_cost(load), read_cost(load)
        if load.mode == "read":
            return "write" if read > self._hysteresis * write else "read"
        return "read" if write > self._hysteresis * read else "write"


def write_cost(load: Load) -> float:
    """What the conversation costs a second in mode ``write``, in references put."""
    return load.messages_per_s * load.members


def read_cost(load: Load) -> float:
    """What the conversation costs a second in mode ``read``, in references put."""
    syncs = load.syncs_per_s
    if not syncs:
        return 0.0
    finding = 1.0 - exp(-load.messages_per_s * load.members / syncs)
    return syncs * (LOOKUP_COST + finding * SCAN_COST)


def configured(config: Config) -> Policy:
    """The policy that the settings name.  Raises ``Unusable`` (bad_config)."""
    name = config.fanout_policy
    if name == "adaptive":
        return AdaptivePolicy(
            write_members_max=config.write_members_max,
            read_members_min=config.read_members_min,
            hysteresis=config.fanout_hysteresis,
            dwell_s=config.fanout_dwell_s,
        )
    if name in ("write", "read"):
        return FixedPolicy(name)
    module, _, attribute = name.partition(":")
    try:
        make = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as problem:
        message = f"fanout_policy = {name!r}: {problem}"
        raise error("bad_config", message, key="fanout_policy") from None
    return make(config)
