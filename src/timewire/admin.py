"""Calling a running server with its admin key, for the commands of those who operate it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from timewire import remote
from timewire.auth import find_admin_key
from timewire.errors import CODES, TimewireError, error
from timewire.settings import load

if TYPE_CHECKING:
    import aiohttp

Answer = TypeVar("Answer")


class _Refusal(msgspec.Struct):
    code: str
    message: str


def find_key(data: str) -> str:
    """The admin key, from the configuration or a data directory (empty: the configured one)."""
    config = load({"data": data or None}, os.environ, remote.config_file())
    return find_admin_key(config, Path(config.data))


class Admin:
    """A server to be called.  ``async with`` it: its connections are used again."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Admin:
        import aiohttp

        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._key}"})
        return self

    async def __aexit__(self, *why: Any) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        answers: type[Answer],
        *,
        asks: msgspec.Struct | None = None,
    ) -> Answer:
        """Ask for something.  Raises what is refused, or ``Retryable`` (not_connected)."""
        body = msgspec.json.encode(asks) if asks is not None else b"{}"
        status, answer = await self._request(method, path, body if method == "POST" else None)
        try:
            if status == 200:
                return msgspec.json.decode(answer, type=answers)
        except msgspec.DecodeError:
            raise self._stranger() from None
        raise self._refusal(answer)

    async def bytes(self, path: str) -> bytes:
        """A file.  Raises what is refused, or ``Retryable`` (not_connected)."""
        status, answer = await self._request("GET", path, None)
        if status != 200:
            raise self._refusal(answer)
        return answer

    async def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        import aiohttp
        from yarl import URL

        assert self._session is not None
        # Encoded: a name may hold what a path has a meaning for.
        address = URL(self._url.rstrip("/") + path, encoded=True)
        try:
            async with self._session.request(method, address, data=body) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError) as problem:
            raise error("not_connected", reason=str(problem)) from None

    def _refusal(self, answer: bytes) -> TimewireError:
        try:
            refusal = msgspec.json.decode(answer, type=_Refusal)
        except msgspec.DecodeError:
            return self._stranger()
        if refusal.code in CODES:
            return error(refusal.code, refusal.message)
        return error("not_connected", reason=refusal.message)

    def _stranger(self) -> TimewireError:
        return error("not_connected", reason=f"{self._url} is no server of Timewire")


async def call(
    method: str,
    url: str,
    path: str,
    key: str,
    answers: type[Answer],
    *,
    asks: msgspec.Struct | None = None,
) -> Answer:
    """Ask a server for one thing.  Raises as ``Admin.call``."""
    async with Admin(url, key) as server:
        return await server.call(method, path, answers, asks=asks)
