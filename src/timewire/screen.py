"""The before-send hook: the product is asked before a message is stored.

It may allow a message, change its body, or refuse it with a reason; it is asked for sends and edits
of members, not for what the product itself has done with the admin key.  Requests of one connection
keep their order, however long the answers take: answers are awaited side by side, and what follows
waits its turn.  A repeat of what is stored is not asked for again.

Without a hook this class is not used, and costs nothing.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, Literal, Protocol

import aiohttp
import msgspec
import structlog

from timewire.clock import Clock
from timewire.commands import Edit, Send
from timewire.errors import TimewireError, error
from timewire.metrics import BEFORE_SEND, BEFORE_SEND_SECONDS
from timewire.model import Receipt
from timewire.permits import Request
from timewire.send import Sender
from timewire.signing import Signer

MAX_WAITING_REQUESTS: Final = 5_000
"""Requests that may wait for answers, or for others of their connection; more get too_busy."""

MAX_CALLS: Final = 100
"""Questions that may be under way at once."""

MAX_ANSWER_BYTES: Final = 1 << 20
MAX_REASON_CHARS: Final = 500

logger = structlog.get_logger("timewire.screen")
Asked = Send | Edit


class Question(msgspec.Struct, frozen=True):
    """What the hook is asked: may this user do this?  ``command``: the frame, as it came."""

    user: str
    command: Asked
    type: Literal["before_send"] = "before_send"


class Verdict(msgspec.Struct, frozen=True):
    """What the hook says.  ``body``: to be stored instead.  ``reason``: why not, for the sender."""

    allow: bool = True
    reason: str = ""
    body: dict[str, Any] | None = None


class Hook(Protocol):
    """Something that can be asked.  Raises any ``Exception`` when it cannot answer."""

    async def ask(self, question: Question) -> Verdict:
        """The hook's answer."""
        ...

    async def aclose(self) -> None:
        """Release what it holds."""
        ...


class HttpHook:
    """An address that answers a POST, signed as webhooks are, with a ``Verdict`` in JSON."""

    def __init__(self, url: str, signer: Signer, clock: Clock) -> None:
        self._url = url
        self._signer = signer
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, question: Question) -> Verdict:
        body = msgspec.json.encode(question)
        headers = self._signer.headers(question.command.id, self._clock(), body)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CALLS), cookie_jar=aiohttp.DummyCookieJar()
            )
        async with self._session.post(
            self._url, data=body, headers=headers, allow_redirects=False
        ) as response:
            if response.status != 200:
                raise ValueError(f"answered with status {response.status}")
            answer = await response.content.read(MAX_ANSWER_BYTES + 1)
            while piece := await response.content.read(MAX_ANSWER_BYTES + 1 - len(answer)):
                answer += piece
            return msgspec.json.decode(answer, type=Verdict)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class PythonHook:
    """A function of the product's own: takes a ``Question`` as a dictionary, and returns None to
    allow it or what a ``Verdict`` says.  One that is no coroutine runs in a thread."""

    def __init__(self, function: Callable[[dict[str, Any]], Any]) -> None:
        self._function = function

    @classmethod
    def load(cls, name: str) -> PythonHook:
        """The function ``package.module:name``.  Raises ``Unusable`` (bad_config)."""
        module, _, function = name.partition(":")
        try:
            found = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as problem:
            message = f"before_send = {name!r} cannot be loaded: {problem}"
            raise error("bad_config", message, key="before_send") from None
        return cls(found)

    async def ask(self, question: Question) -> Verdict:
        asked = msgspec.to_builtins(question)
        if inspect.iscoroutinefunction(self._function):
            said = await self._function(asked)
        else:
            said = await asyncio.to_thread(self._function, asked)
        return Verdict() if said is None else msgspec.convert(said, Verdict)

    async def aclose(self) -> None:
        """A function holds nothing."""


class Terms(msgspec.Struct, frozen=True):
    """How long a hook may take, and what happens when it does not answer."""

    timeout_s: float
    failure: Literal["allow", "refuse"]


class _Waiting(msgspec.Struct, eq=False):
    """A request on its way.  ``settled``: it may go on, or ``refusal`` says why not."""

    request: Request
    settled: bool = False
    refusal: TimewireError | None = None


class Screening(Sender):
    """A ``Sender`` that asks a hook first."""

    def __init__(self, hook: Hook, terms: Terms, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._hook = hook
        self._terms = terms
        self._lines: dict[object, deque[_Waiting]] = {}
        self._waiting = 0
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, request: Request) -> None:
        """As ``Sender.submit``, after the hook's answer and all before it of the connection."""
        source = request.origin if request.origin is not None else request.user
        line = self._lines.get(source)
        asked = isinstance(request.command, Asked) and request.authority == "member"
        if not asked and line is None:
            super().submit(request)
        elif self._waiting >= MAX_WAITING_REQUESTS:
            request.reply(request.command, error("too_busy"))
        else:
            one = _Waiting(request, settled=not asked)
            self._lines.setdefault(source, deque()).append(one)
            self._waiting += 1
            if asked:
                task = asyncio.get_running_loop().create_task(self._settle(source, one))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """As ``Sender.run``; what still waits for answers at the end is refused for now."""
        try:
            await super().run()
        finally:
            for task in self._tasks:
                task.cancel()
            for line in list(self._lines.values()):
                for one in line:
                    super().submit(one.request)
            self._lines.clear()
            await self._hook.aclose()

    async def _settle(self, source: object, one: _Waiting) -> None:
        try:
            await self._ask(one)
        except TimewireError as refusal:
            one.refusal = refusal
        except Exception as problem:
            logger.error("a message was not screened", exc_info=problem)
            one.refusal = error("server_fault")
        one.settled = True
        self._go_on(source)

    def _go_on(self, source: object) -> None:
        """Let go of what has its turn.  After a refusal for now, nothing behind it may overtake."""
        line = self._lines.get(source)
        later: TimewireError | None = None
        while line and (line[0].settled or later is not None):
            one = line.popleft()
            self._waiting -= 1
            refusal = later or one.refusal
            if refusal is None:
                super().submit(one.request)
            else:
                one.request.reply(one.request.command, refusal)
                later = refusal if refusal.retry else None
        if not line:
            self._lines.pop(source, None)

    async def _ask(self, one: _Waiting) -> None:
        """Have a request allowed, changed or (raising) refused."""
        request = one.request
        command = request.command
        assert isinstance(command, Asked)
        if isinstance(await self._log.find(self._permits.draft(request)), Receipt):
            return
        verdict = await self._verdict(Question(request.user, command))
        if not verdict.allow:
            BEFORE_SEND.labels("refused").inc()
            reason = verdict.reason[:MAX_REASON_CHARS]
            raise error("refused", reason or None, reason=reason)
        BEFORE_SEND.labels("allowed" if verdict.body is None else "changed").inc()
        if verdict.body is not None:
            request.command = msgspec.structs.replace(command, body=verdict.body)

    async def _verdict(self, question: Question) -> Verdict:
        async with self._calls:
            began = perf_counter()
            try:
                async with asyncio.timeout(self._terms.timeout_s):
                    return await self._hook.ask(question)
            except Exception as problem:
                reason = str(problem) or type(problem).__name__
                logger.warning("the before-send hook failed", reason=reason)
                BEFORE_SEND.labels("failed").inc()
                if self._terms.failure == "refuse":
                    raise error("hook_failed") from None
                return Verdict()
            finally:
                BEFORE_SEND_SECONDS.observe(perf_counter() - began)


def load_hook(name: str, signer: Callable[[], Signer], clock: Clock) -> Hook:
    """The hook that a configuration names: an address, or a function as ``module:function``."""
    if name.startswith(("http://", "https://")):
        return HttpHook(name, signer(), clock)
    return PythonHook.load(name)
