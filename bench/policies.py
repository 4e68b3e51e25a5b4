"""Policies for measurements: the server gets them by ``fanout_policy``.

A server decides every few seconds, which is long for a measurement; these decide at once.
"""

from __future__ import annotations

from timewire.config import Config
from timewire.epochs import ModeName
from timewire.policy import Load

READ = "bench.policies:Read"
FLIP = "bench.policies:Flip"


class Read:
    """Everything is in mode ``read``."""

    watch_members = 1
    pause_s = 0.05

    def __init__(self, config: Config) -> None:
        self.config = config

    def choose(self, load: Load) -> ModeName:
        return "read"


class Flip(Read):
    """Everything gets the other mode, twenty times a second."""

    def choose(self, load: Load) -> ModeName:
        return "write" if load.mode == "read" else "read"
