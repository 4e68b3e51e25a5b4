"""Policies for tests: modes change often, and nobody notices, or a promise is broken.

fanout_policy = "timewire.testing.flipping:Flipping"
fanout_policy = "timewire.testing.flipping:Threshold"
"""

from __future__ import annotations

import random

from timewire.config import Config
from timewire.epochs import ModeName
from timewire.policy import Load


class Flipping:
    """Never rests: changes modes between ``write`` and ``read`` at random."""

    watch_members = 1
    pause_s = 0.01

    def __init__(self, config: Config) -> None:
        self._chance = random.Random(config.data)

    def choose(self, load: Load) -> ModeName:
        """The other mode, every third time."""
        if self._chance.random() < 2 / 3:
            return load.mode
        return "write" if load.mode == "read" else "read"


class Threshold:
    """Writes conversations of up to ``write_members_max`` members, reads others; at once."""

    watch_members = 1
    pause_s = 0.05

    def __init__(self, config: Config) -> None:
        self._most = config.write_members_max

    def choose(self, load: Load) -> ModeName:
        """By size alone."""
        return "read" if load.members > self._most else "write"
