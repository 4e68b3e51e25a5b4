"""A policy that never rests: every conversation gets another mode again and again.

    fanout_policy = "timewire.testing.flipping:Flipping"

Nobody notices, or a promise is broken.
"""

from __future__ import annotations

import random

from timewire.config import Config
from timewire.epochs import ModeName
from timewire.policy import Load


class Flipping:
    """Changes modes between ``write`` and ``read`` at random."""

    watch_members = 1
    pause_s = 0.01

    def __init__(self, config: Config) -> None:
        self._chance = random.Random(config.data)

    def choose(self, load: Load) -> ModeName:
        """The other mode, every third time."""
        if self._chance.random() < 2 / 3:
            return load.mode
        return "write" if load.mode == "read" else "read"
