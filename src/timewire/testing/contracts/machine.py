"""What the state machines share: whatever is called, a backend does what its model does."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from timewire.testing.contracts.places import ManualClock, Place

T = TypeVar("T")

TICKS = st.integers(-500, 1500)


class Machine(RuleBasedStateMachine):
    """A backend at a place of its own, on an event loop of its own."""

    place: ClassVar[type[Place[Any]]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = ManualClock(10_000)
        self.at = self.place(Path(self.directory.name), self.clock)
        self.backend: Any = self.runner.run(self.at.open())

    def run(self, action: Awaitable[T]) -> T:
        """The result of an action."""

        async def wait() -> T:
            return await action

        return self.runner.run(wait())

    @rule(ms=TICKS)
    def tick(self, ms: int) -> None:
        """Time goes on, or the clock is set back."""
        self.clock.now += ms

    @rule()
    def reopen(self) -> None:
        """Everything is as before after a restart."""
        self.run(self.at.close())
        self.backend = self.run(self.at.open())

    def teardown(self) -> None:
        """Close and remove the place."""
        self.run(self.at.close())
        self.runner.close()
        self.directory.cleanup()
