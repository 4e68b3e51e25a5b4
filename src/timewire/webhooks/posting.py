"""One event to one address: requests, and the pauses between them."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import aiohttp
import msgspec

from timewire.clock import Clock
from timewire.metrics import WEBHOOK_REQUESTS
from timewire.signing import Signer
from timewire.webhooks.events import Event

FIRST_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 300.0
"""The pause after a failure doubles each time, up to this."""

JITTER: Final = 0.1
"""How much longer a pause may be, by chance, so that not everything is repeated at once."""

MAX_REASON_CHARS: Final = 200


class Terms(msgspec.Struct, frozen=True):
    """How an endpoint is asked.  ``attempts``: requests for an event before it is parked."""

    attempts: int
    timeout_s: float
    a_second: int


class Pacer:
    """Spreads requests evenly, so that their work leaves room for everything else."""

    def __init__(self, a_second: int) -> None:
        self._gap = 1 / a_second
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next moment at which a request may begin."""
        now = asyncio.get_running_loop().time()
        self._next = max(now, self._next) + self._gap
        await asyncio.sleep(self._next - self._gap - now)


class Poster:
    """Posts events to one address.  What it answers beside its status is not read."""

    def __init__(self, url: str, terms: Terms, signer: Signer, clock: Clock) -> None:
        self._url = url
        self._terms = terms
        self._signer = signer
        self._clock = clock
        self._pacer = Pacer(terms.a_second)
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, event: Event) -> str:
        """Post an event until it is taken, or as often as the terms say.

        Returns "" when it was taken, else why the last attempt failed.
        """
        pause, reason = FIRST_PAUSE_S, ""
        for attempt in range(self._terms.attempts):
            if attempt:
                await asyncio.sleep(pause * (1 + JITTER * random.random()))  # noqa: S311 - only spreads
                pause = min(2 * pause, MAX_PAUSE_S)
            await self._pacer.turn()
            reason = await self._post(event)
            WEBHOOK_REQUESTS.labels("failed" if reason else "taken").inc()
            if not reason:
                break
        return reason

    async def aclose(self) -> None:
        """Close what connections there are."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, event: Event) -> str:
        headers = self._signer.headers(event.id, self._clock(), event.body)
        session = self._session = self._session or self._open()
        try:
            async with session.post(
                self._url, data=event.body, headers=headers, allow_redirects=False
            ) as response:
                taken = 200 <= response.status < 300
                return "" if taken else f"answered with status {response.status}"
        except TimeoutError:
            return f"no answer within {self._terms.timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            return (str(problem) or type(problem).__name__)[:MAX_REASON_CHARS]

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._terms.timeout_s),
            headers={"User-Agent": "timewire"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
