"""Uploads and downloads over HTTP: streamed, bounded, and harmless to the browser that shows them.

Only images whose content says so are shown in place; all else is offered to be saved.  Whatever it
is, it runs in no page: ``nosniff``, and a policy that allows nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Generator
from contextlib import aclosing, contextmanager
from typing import Final

from aiohttp import ClientPayloadError, web

from timewire.api.callers import Caller, Callers
from timewire.api.edge import answer, read, refusal
from timewire.api.routes import GetMedia, Route
from timewire.attachments import Attachments, File
from timewire.errors import error
from timewire.images import IMAGE_TYPES
from timewire.metrics import MEDIA_IN, MEDIA_OUT

MAX_TRANSFERS: Final = 256
"""Uploads and downloads under way in one process; a further one is refused with too_busy."""

MAX_TRANSFERS_A_USER: Final = 16
READ_BYTES: Final = 64 * 1024
PIECE_TIMEOUT_S: Final = 30.0
"""Within this time a sender has to send, and a receiver to take, the next piece."""

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_HEADERS: Final = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Vary": "Authorization",
}


class Files:
    """The handlers of ``/v1/media``."""

    def __init__(self, attachments: Attachments, callers: Callers) -> None:
        self._attachments = attachments
        self._callers = callers
        self._transfers: Counter[str] = Counter()

    async def upload(self, route: Route, request: web.Request) -> web.StreamResponse:
        """Keep the body of a request."""
        caller = self._caller(request)
        limit = self._attachments.rules.max_bytes
        if (request.content_length or 0) > limit:
            raise error("media_too_large", limit=limit)
        type = request.headers.get("Content-Type", "")
        with self._transfer(caller.user):
            return answer(await self._attachments.take(caller.user, type, _pieces(request)))

    async def download(self, route: Route, request: web.Request) -> web.StreamResponse:
        """Hand out a file, a part of it, or a thumbnail."""
        caller = self._caller(request)
        asked = await read(request, GetMedia)
        user = caller.user if caller.authority == "member" else None
        file = await self._attachments.find(user, asked.media, asked.size)
        headers = _HEADERS | {"Content-Type": file.type, "ETag": f'"{file.name}"'}
        if file.type not in IMAGE_TYPES:
            headers["Content-Disposition"] = "attachment"
        if f'"{file.name}"' in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        wanted = _range(request, file)
        if wanted is None:
            response = web.StreamResponse(status=200, headers=headers)
            return await self._send(caller, request, file, range(file.bytes), response)
        if not wanted:
            unmet = refusal(error("bad_media_range", bytes=file.bytes))
            unmet.headers["Content-Range"] = f"bytes */{file.bytes}"
            return unmet
        headers["Content-Range"] = f"bytes {wanted[0]}-{wanted[-1]}/{file.bytes}"
        response = web.StreamResponse(status=206, headers=headers)
        return await self._send(caller, request, file, wanted, response)

    async def _send(
        self,
        caller: Caller,
        request: web.Request,
        file: File,
        part: range,
        response: web.StreamResponse,
    ) -> web.StreamResponse:
        response.content_length = len(part)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        with self._transfer(caller.user):
            async with aclosing(self._attachments.read(file, part.start, part.stop)) as pieces:
                # The first piece is there before the answer begins: what fails can still be told.
                first = await anext(pieces, b"")
                await response.prepare(request)
                await _write(response, first)
                async for piece in pieces:
                    await _write(response, piece)
            await response.write_eof()
        return response

    def _caller(self, request: web.Request) -> Caller:
        caller = self._callers.find(request)
        self._callers.count(caller)
        return caller

    @contextmanager
    def _transfer(self, user: str) -> Generator[None]:
        if self._transfers.total() >= MAX_TRANSFERS:
            raise error("too_busy", limit=MAX_TRANSFERS)
        if self._transfers[user] >= MAX_TRANSFERS_A_USER:
            raise error("too_busy", limit=MAX_TRANSFERS_A_USER)
        self._transfers[user] += 1
        try:
            yield
        finally:
            self._transfers[user] -= 1
            if not self._transfers[user]:
                del self._transfers[user]


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body of a request as it comes.  Raises ``Invalid`` (bad_frame)."""
    while True:
        try:
            async with asyncio.timeout(PIECE_TIMEOUT_S):
                piece = await request.content.read(READ_BYTES)
        except TimeoutError:
            reason = f"nothing of the body came for {PIECE_TIMEOUT_S:.0f} s"
            raise error("bad_frame", reason) from None
        except (web.RequestPayloadError, ClientPayloadError, ConnectionError) as reason:
            raise error("bad_frame", f"the body cannot be read: {reason}") from None
        if not piece:
            return
        MEDIA_IN.inc(len(piece))
        yield piece


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    if piece:
        async with asyncio.timeout(PIECE_TIMEOUT_S):
            await response.write(piece)
        MEDIA_OUT.inc(len(piece))


def _range(request: web.Request, file: File) -> range | None:
    """The part of a file that is asked for; None: all of it; empty: there is none such.

    A range that is none, or several, are passed over, as RFC 9110 has it.
    """
    found = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    condition = request.headers.get("If-Range", f'"{file.name}"')
    if found is None or not (found[1] or found[2]) or condition != f'"{file.name}"':
        return None
    if not found[1]:
        last = min(int(found[2]), file.bytes)
        return range(file.bytes - last, file.bytes)
    start = int(found[1])
    stop = min(int(found[2]) + 1, file.bytes) if found[2] else file.bytes
    if found[2] and int(found[2]) < start:
        return None
    return range(start, max(start, stop))
