"""An event loop on simulated time, with processes that can be killed between any two of its steps.

When nothing is left to do, the time jumps to the next timer: an hour of waiting costs nothing.
There are no sockets and no threads, so a run is a function of what is put in.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

MAX_STEPS: Final = 2_000_000
"""A run with more steps goes round in circles."""

A = TypeVar("A")
R = TypeVar("R")

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Stuck(Exception):
    """Nothing is left that could happen, or it would never end."""


class Process:
    """A program on a simulated machine: its tasks, and those that they begin."""

    def __init__(self, loop: SimulatedLoop, name: str) -> None:
        self.name = name
        self.alive = True
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self._loop = loop
        self._context = contextvars.copy_context()
        self._context.run(_PROCESS.set, self)

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have something done in this process."""
        return self._loop.create_task(work, context=self._context.copy())

    def call(self, call: Callable[..., object], *arguments: object) -> None:
        """Have something called in this process, soon."""
        self._loop.call_soon(call, *arguments, context=self._context.copy())

    def enter(self, call: Callable[[A], R], argument: A) -> R:
        """Call something in this process, now."""
        return self._context.copy().run(call, argument)

    def kill(self) -> None:
        """End it at once.  See to it first that what its tasks do in the end reaches nobody."""
        self.alive = False
        for task in list(self.tasks):
            task.cancel()


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module.  ``steps`` counts what was run; ``at_step`` says when to call something."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.faults: list[str] = []
        """What nobody caught."""
        self._now = 0.0
        self._breaks: dict[int, Callable[[], None]] = {}
        self._next_break = MAX_STEPS
        self._selector = _Selector(self)
        self._ready = _Ready(self.step)
        self.set_task_factory(_make_task)  # pyright: ignore[reportArgumentType]
        self.set_exception_handler(self._note)

    def time(self) -> float:
        """The simulated time in s."""
        return self._now

    def at_step(self, step: int, call: Callable[[], None]) -> None:
        """Have something called right before the step of this number."""
        self._breaks[step] = call
        self._next_break = min(self._next_break, step)

    def step(self) -> None:
        """One callback is about to be run."""
        self.steps += 1
        if self.steps >= self._next_break:
            if self.steps >= MAX_STEPS:
                raise Stuck("the run does not end")
            call = self._breaks.pop(self._next_break, None)
            self._next_break = min([*self._breaks, MAX_STEPS])
            if call is not None:
                call()

    def pass_time(self) -> None:
        """Nothing is left to do now: go to the next timer."""
        timers: list[asyncio.TimerHandle] = getattr(self, "_scheduled")  # noqa: B009
        if not timers:
            raise Stuck("everybody waits, for nothing")
        self._now = max(self._now, timers[0].when())

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Call it at once: there are no threads."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as fault:
            future.set_exception(fault)
        return future

    def _process_events(self, event_list: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits in another thread."""

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")


def run(work: Callable[[SimulatedLoop], Coroutine[Any, Any, None]]) -> None:
    """Run something on a loop of its own to its end, and end all that it has begun."""
    loop = SimulatedLoop()
    try:
        loop.run_until_complete(work(loop))
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
    finally:
        loop.close()


class _Selector:
    """What the loop asks for events: none ever come, but time passes."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        """Pass the time until the next timer, unless there is something to do now."""
        if timeout != 0:
            self._loop.pass_time()
        return []

    def close(self) -> None:
        """Nothing is open."""


class _Ready(deque[asyncio.Handle]):
    """What is to be run now; each taking is a step."""

    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__()
        self._step = step

    def popleft(self) -> asyncio.Handle:
        self._step()
        return super().popleft()


def _make_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any],
    *,
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    task = asyncio.Task(work, loop=loop, context=context)
    process = context.get(_PROCESS) if context is not None else _PROCESS.get()
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda ended: process.tasks.pop(ended, None))
        if not process.alive:
            task.cancel()
    return task
