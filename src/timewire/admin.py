"""Calling a running server with its admin key, for the commands of those who operate it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from timewire import remote
from timewire.auth import find_admin_key
from timewire.config import load
from timewire.errors import CODES, error

Answer = TypeVar("Answer")


class _Refusal(msgspec.Struct):
    code: str
    message: str


def find_key(data: str) -> str:
    """The admin key, from the configuration or a data directory (empty: the configured one)."""
    config = load({"data": data or None}, os.environ, remote.config_file())
    return find_admin_key(config, Path(config.data))


async def call(
    method: str,
    url: str,
    path: str,
    key: str,
    answers: type[Answer],
    *,
    asks: msgspec.Struct | None = None,
) -> Answer:
    """Ask a server for something.  Raises what it refuses, or ``Retryable`` (not_connected)."""
    import aiohttp

    body = msgspec.json.encode(asks) if asks is not None else b"{}"
    try:
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
            session.request(
                method, url.rstrip("/") + path, data=body if method == "POST" else None
            ) as response,
        ):
            answer = await response.read()
    except (aiohttp.ClientError, OSError) as problem:
        raise error("not_connected", reason=str(problem)) from None
    try:
        if response.status == 200:
            return msgspec.json.decode(answer, type=answers)
        refusal = msgspec.json.decode(answer, type=_Refusal)
    except msgspec.DecodeError:
        raise error("not_connected", reason=f"{url} is no server of Timewire") from None
    if refusal.code in CODES:
        raise error(refusal.code, refusal.message)
    raise error("not_connected", reason=refusal.message)
