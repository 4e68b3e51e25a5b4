"""Files over HTTP: what a device uploads and downloads beside its connection."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
import msgspec

from timewire import protocol as wire
from timewire.client.session import fault_of
from timewire.client.transport import PATH, socket_url
from timewire.coding import JSON
from timewire.errors import TimewireError, error
from timewire.model import Media

PIECE_BYTES: Final = 256 * 1024
SILENCE_S: Final = 60.0
"""A transfer in which nothing happens for this long has failed."""

_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=15.0, sock_read=SILENCE_S)

Tokens = Callable[[str], Awaitable[str]]
"""Gets a token: another one than that which was refused, if one was ("": none was)."""


class Files:
    """Uploads and downloads of one device.  Made within ``async with`` of a client."""

    def __init__(self, url: str, tokens: Tokens) -> None:
        self._url = http_url(url) + "/v1/media"
        self._tokens = tokens
        self._http = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def close(self) -> None:
        """Release the sockets."""
        await self._http.close()

    async def upload(self, source: str | Path | bytes, type: str) -> Media:
        """Upload a file, or bytes.  Raises why it was refused, or ``Retryable``."""
        if not type and not isinstance(source, bytes):
            type = mimetypes.guess_type(source)[0] or ""
        headers = {"Content-Type": type or "application/octet-stream"}

        def body() -> Any:
            return source if isinstance(source, bytes) else Path(source).open("rb")

        async with self._request("POST", "", headers, body) as response:
            return msgspec.json.decode(await response.read(), type=Media)

    async def stream(self, name: str, size: int | None) -> AsyncGenerator[bytes]:
        """The bytes of a file, or of its thumbnail, as they come."""
        path = f"/{quote(name, safe='')}" + (f"?size={size}" if size is not None else "")
        async with self._request("GET", path, {}, lambda: None) as response:
            async for piece in response.content.iter_chunked(PIECE_BYTES):
                yield piece

    async def download(self, name: str, size: int | None) -> bytes:
        """All bytes of a file, or of its thumbnail.  Raises ``Damaged`` when they are others."""
        data = b"".join([piece async for piece in self.stream(name, size)])
        if size is None and hashlib.sha256(data).hexdigest() != name:
            raise error("damaged", "what came is not what was asked for", media=name)
        return data

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: Callable[[], Any]
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """A good answer.  A token that is refused is renewed once."""
        try:
            refused = ""
            while True:
                token = await self._tokens(refused)
                bearer = headers | {"Authorization": f"Bearer {token}"}
                url = self._url + path
                async with self._http.request(method, url, headers=bearer, data=body()) as response:
                    if response.status == 401 and not refused:
                        refused = token
                        continue
                    if response.status != 200:
                        raise _fault(await response.read(), response.status)
                    yield response
                    return
        except (aiohttp.ClientError, TimeoutError) as failure:
            raise error("not_connected", reason=str(failure) or repr(failure)) from None


def http_url(url: str) -> str:
    """Where a server's HTTP is, from the URL that a device connects to."""
    parts = urlsplit(socket_url(url))
    scheme = {"ws": "http", "wss": "https"}[parts.scheme]
    return urlunsplit((scheme, parts.netloc, parts.path.removesuffix(PATH), "", ""))


def _fault(body: bytes, status: int) -> TimewireError:
    try:
        told = JSON.decode_server(body)
    except TimewireError:
        told = None
    if isinstance(told, wire.Problem):
        return fault_of(told)
    return error("not_connected", reason=f"the server answered with status {status}")
