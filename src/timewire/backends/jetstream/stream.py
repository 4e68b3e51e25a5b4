"""The stream that is the log: append after a known sequence, read from any, hear what is new.

nats-py has no call for most of this, and these are a few requests: JSON to the subjects of the
JetStream API, MessagePack records to that of the log.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from timewire.backends.jetstream.connection import subscribe, unsubscribe
from timewire.backends.jetstream.names import Names
from timewire.errors import TimewireError, error

API_TIMEOUT_S: Final = 3.0
APPEND_TIMEOUT_S: Final = 2.0
MAX_SILENCE_S: Final = 2.5
"""Servers of a stream hear its leader every second, and choose another after 4 s without."""

READ_TIMEOUT_S: Final = 3.0
READ_RECORDS: Final = 256
READ_BYTES: Final = 8 * 1024 * 1024
"""Of one read, after at least one record."""

MAX_NEWS: Final = 256
"""Records that were heard of and not yet asked for; beyond it they are read from the stream."""

WRONG_LAST_SEQUENCE: Final = (10070, 10071, 10164)
NOT_FOUND: Final = 404

MSG_ID: Final = "Nats-Msg-Id"


class Overtaken(Exception):
    """Something else stands in the stream where the append wanted to be."""


class Kept(NamedTuple):
    """A record in the stream.  ``id`` is what its writer has called it."""

    sequence: int
    data: bytes
    id: str


class Bounds(NamedTuple):
    """The first and the last sequence; for an empty stream the last is one less than the first."""

    first: int
    last: int


class LogStream:
    """One stream, through a connection.  Raises ``Retryable`` (cluster_unavailable) at any call."""

    def __init__(self, client: Client, names: Names) -> None:
        self.client: Final = client
        self.names: Final = names

    async def append(self, data: bytes, after: int, id: str) -> int:
        """Store a record right after this sequence; its own.  The same again is stored once.

        Raises ``Overtaken`` when there is another record after ``after``.
        """
        headers = {MSG_ID: id, "Nats-Expected-Last-Sequence": str(after)}
        answer = await self._request(self.names.log, data, APPEND_TIMEOUT_S, headers)
        fault = answer.get("error")
        if fault is None and answer["seq"] == after + 1:
            return after + 1
        if fault is not None and fault.get("err_code") not in WRONG_LAST_SEQUENCE:
            raise error("cluster_unavailable", reason=fault.get("description", ""))
        # It may be this very record that is there, from an attempt whose answer was lost.
        found = await self._get(after + 1)
        if found is not None and found.id == id:
            return after + 1
        if found is None:
            raise error("cluster_unavailable", reason="the stream is not settled")
        raise Overtaken

    async def bounds(self, timeout_s: float = API_TIMEOUT_S) -> Bounds:
        """Where the stream begins and ends, as its leader knows it."""
        state = (await self.info(timeout_s))["state"]
        return Bounds(max(1, state["first_seq"]), state["last_seq"])

    async def newest(self, timeout_s: float = API_TIMEOUT_S) -> int:
        """The sequence of the newest record, all that anyone was told of included.

        A leader that was cut off answers for a while as if it led.  So its word counts only when a
        majority was in touch with it just now, which then has not chosen another one.
        """
        info = await self.info(timeout_s)
        if not is_in_touch(info):
            raise error("cluster_unavailable", reason="the stream's leader has no majority")
        return info["state"]["last_seq"]

    async def info(self, timeout_s: float = API_TIMEOUT_S) -> dict[str, Any]:
        """Configuration and state, as JetStream tells them.  Raises ``Unusable`` (no_cluster)."""
        answer = await self._request(f"$JS.API.STREAM.INFO.{self.names.stream}", b"", timeout_s)
        fault = answer.get("error")
        if fault is None:
            return answer
        if fault.get("code") == NOT_FOUND:
            raise error("no_cluster", stream=self.names.stream)
        raise error("cluster_unavailable", reason=fault.get("description", ""))

    async def get(self, sequence: int) -> Kept:
        """One record that is there for certain."""
        found = await self._get(sequence)
        if found is None:
            raise error("cluster_unavailable", reason=f"{sequence} is not there")
        return found

    async def read(self, first: int) -> list[Kept]:
        """Records from this sequence on, without holes; none at the end.

        Any replica may answer, and may know less than the stream's leader.
        """
        inbox = self.client.new_inbox()
        subscription = await subscribe(self.client, inbox)
        asked = {"seq": first, "batch": READ_RECORDS, "max_bytes": READ_BYTES}
        found: list[Kept] = []
        try:
            subject = f"$JS.API.DIRECT.GET.{self.names.stream}"
            await self.client.publish(subject, json.dumps(asked).encode(), reply=inbox)
            while (message := await subscription.next_msg(READ_TIMEOUT_S)) and _holds(message):
                headers = message.headers or {}
                sequence = int(headers["Nats-Sequence"])
                if sequence != first + len(found):
                    break
                found.append(Kept(sequence, message.data, headers.get(MSG_ID, "")))
        except (nats.errors.Error, TimeoutError) as problem:
            if not found:
                raise _unavailable(problem) from None
        finally:
            await unsubscribe(subscription)
        return found

    @asynccontextmanager
    async def news(self) -> AsyncGenerator[News]:
        """What is stored from now on, as far as it is heard."""
        news = News()
        subscription = await subscribe(self.client, self.names.news, news.take)
        try:
            yield news
        finally:
            await unsubscribe(subscription)

    async def _get(self, sequence: int) -> Kept | None:
        """A record from the stream's leader, which knows all."""
        asked = json.dumps({"seq": sequence}).encode()
        answer = await self._request(f"$JS.API.STREAM.MSG.GET.{self.names.stream}", asked)
        fault = answer.get("error")
        if fault is None:
            return _kept(answer["message"])
        if fault.get("code") == NOT_FOUND:
            return None
        raise error("cluster_unavailable", reason=fault.get("description", ""))

    async def _request(
        self,
        subject: str,
        data: bytes,
        timeout_s: float = API_TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            given = dict(headers) if headers else None
            answer = await self.client.request(subject, data, timeout_s, headers=given)
        except (nats.errors.Error, TimeoutError) as problem:
            raise _unavailable(problem) from None
        return json.loads(answer.data)


def is_in_touch(info: dict[str, Any]) -> bool:
    """Whether the stream's leader has heard from a majority of its servers just now."""
    peers: list[dict[str, Any]] = info.get("cluster", {}).get("replicas") or []
    heard = [one for one in peers if one.get("active", math.inf) < MAX_SILENCE_S * 1e9]
    return 2 * (len(heard) + 1) > len(peers) + 1


class News:
    """Records that the server has published after storing them.  Some may have been lost."""

    def __init__(self) -> None:
        self._heard: dict[int, bytes] = {}
        self._any = asyncio.Event()

    async def take(self, message: Msg) -> None:
        """Keep one; called by the connection."""
        sequence = int((message.headers or {})["Nats-Sequence"])
        if len(self._heard) < MAX_NEWS:
            self._heard[sequence] = message.data
        self._any.set()

    def next(self, first: int) -> list[tuple[int, bytes]]:
        """What was heard from this sequence on, without holes; what is older is forgotten."""
        found: list[tuple[int, bytes]] = []
        while (data := self._heard.pop(first + len(found), None)) is not None:
            found.append((first + len(found), data))
        behind = first + len(found)
        if len(self._heard) >= MAX_NEWS:
            self._heard.clear()
        for old in [sequence for sequence in self._heard if sequence < behind]:
            del self._heard[old]
        return found

    async def wait(self, timeout_s: float) -> None:
        """Wait for something new, or for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._any.wait()
        except TimeoutError:
            return
        self._any.clear()


def _holds(message: Msg) -> bool:
    """Whether an answer to a read holds a record: the end and errors are told by a status."""
    headers = message.headers or {}
    return "Nats-Sequence" in headers and "Status" not in headers


def _kept(told: dict[str, Any]) -> Kept:
    id = ""
    for line in base64.b64decode(told.get("hdrs", "")).decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.lower() == MSG_ID.lower():
            id = value.strip()
    return Kept(told["seq"], base64.b64decode(told.get("data", "")), id)


def _unavailable(problem: Exception) -> TimewireError:
    return error("cluster_unavailable", reason=str(problem) or type(problem).__name__)
