"""What a cluster's stream and subjects are called."""

from __future__ import annotations

from typing import Final

DEFAULT_PREFIX: Final = "timewire"
FIRST_SHARD: Final = 0
"""There is one shard of the log; its number is part of all names, so that there can be more."""


class Names:
    """Everything that a cluster uses in its NATS account begins with ``prefix``."""

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        self.stream: Final = f"{prefix.upper()}_LOG_{FIRST_SHARD}"
        self.log: Final = f"{prefix}.log.{FIRST_SHARD}"
        """Records are published here, to be stored in the stream."""
        self.news: Final = f"{prefix}.news.{FIRST_SHARD}"
        """The server publishes here what it has stored."""
        self.ask: Final = f"{prefix}.ask.{FIRST_SHARD}"
        """The leader listens here for what is to be done."""
        self.lead: Final = f"{prefix}.lead.{FIRST_SHARD}"
        """The leader says here again and again that it is there."""
        self.answers: Final = f"{prefix}.answers"
        """The leader's answers, each to a subject below this one."""
        self.roll: Final = f"{prefix}.roll"
        """The leader calls here; every gateway says who is connected to it."""
        self.here: Final = f"{prefix}.here"
        """Where they say it, and who comes and goes."""
        self.loads: Final = f"{prefix}.loads"
        """What gateways observe of conversations."""
        self.signals: Final = f"{prefix}.signals"
        """Who is typing, who is online."""
