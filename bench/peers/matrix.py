"""Matrix, as much of it as a measurement needs: accounts, rooms, long polls."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import aiohttp

from bench.peers.shapes import FILLER, Client
from bench.wire import NUMBER_DIGITS, Fault

AT_ONCE: Final = 10
POLL_MS: Final = 10_000
PASSWORD: Final = "pw"
SECRET: Final = "bench"
"""With which the server lets accounts be made."""

_FILTER: Final = json.dumps(
    {
        "presence": {"types": []},
        "account_data": {"types": []},
        "room": {"timeline": {"limit": 100}, "ephemeral": {"types": []}},
    }
)


class Person:
    """Somebody with an account.  ``say`` sends each message in a request of its own."""

    def __init__(self, session: aiohttp.ClientSession, base: str, user: str) -> None:
        self.fault: BaseException | None = None
        self.on_number: Callable[[int, float], None] = lambda number, now: None
        self.user = user
        self.room = ""
        self.id = ""
        self._session = session
        self._base = base
        self._headers: dict[str, str] = {}
        self._since = ""
        self._seen: set[str] = set()
        """Events: one may come again, with a room that was joined while a page was made."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """One request.  Raises ``Fault`` when it is refused."""
        url = f"{self._base}{path}"
        async with self._session.request(
            method, url, json=body, params=query, headers=self._headers
        ) as answer:
            found = await answer.json()
            if answer.status != 200:
                raise Fault(f"{self.user}: {method} {path}: {answer.status} {found}")
            return found

    async def register(self) -> None:
        """Make the account and be logged in."""
        nonce = (await self.call("GET", "/_synapse/admin/v1/register"))["nonce"]
        words = [nonce, self.user, PASSWORD, "notadmin"]
        mac = hmac.new(SECRET.encode(), "\0".join(words).encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": self.user, "password": PASSWORD, "admin": False}
        made = await self.call("POST", "/_synapse/admin/v1/register", {**body, "mac": mac})
        self.id = made["user_id"]
        self._headers = {"Authorization": f"Bearer {made['access_token']}"}

    async def listen(self) -> None:
        """Take what comes from now on."""
        first = await self.call("GET", "/_matrix/client/v3/sync", filter=_FILTER, timeout="0")
        self._since = first["next_batch"]
        self._spawn(self._poll())

    async def _poll(self) -> None:
        while True:
            found = await self.call(
                "GET",
                "/_matrix/client/v3/sync",
                filter=_FILTER,
                timeout=str(POLL_MS),
                since=self._since,
            )
            now, self._since = perf_counter(), found["next_batch"]
            room = found.get("rooms", {}).get("join", {}).get(self.room, {})
            for event in room.get("timeline", {}).get("events", []):
                if event["type"] == "m.room.message" and event["event_id"] not in self._seen:
                    self._seen.add(event["event_id"])
                    self.on_number(int(event["content"]["body"][:NUMBER_DIGITS]), now)

    def say(self, numbers: range) -> None:
        """Send messages with these numbers."""
        for number in numbers:
            self._spawn(self._send(number))

    async def _send(self, number: int) -> None:
        path = f"/_matrix/client/v3/rooms/{self.room}/send/m.room.message/{self.room}{number}"
        body = {"msgtype": "m.text", "body": f"{number:0{NUMBER_DIGITS}d}{FILLER}"}
        await self.call("PUT", path, body)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(self._watch(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, work: Any) -> None:
        try:
            await work
        except Exception as fault:
            self.fault = self.fault or fault

    async def stop(self) -> None:
        """End polling."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.on_number = lambda number, now: None


class Matrix:
    """Clients of a Matrix server at a port."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._session: aiohttp.ClientSession | None = None
        self._people: list[Person] = []

    async def pairs(self, count: int) -> list[tuple[Client, Client]]:
        """Clients with a room for each two of them."""
        people = await self._ready(2 * count)
        pairs = list(zip(people[::2], people[1::2], strict=True))
        for at in range(0, count, AT_ONCE):
            await asyncio.gather(*(self._room([*pair]) for pair in pairs[at : at + AT_ONCE]))
        await asyncio.gather(*(other.listen() for _, other in pairs))
        return list[tuple[Client, Client]](pairs)

    async def group(self, members: int) -> list[Client]:
        """Members of a room that the first of them makes."""
        people = await self._ready(members)
        await self._room(people)
        for at in range(1, members, AT_ONCE):
            await asyncio.gather(*(one.listen() for one in people[at : at + AT_ONCE]))
        return list[Client](people)

    async def _room(self, people: list[Person]) -> None:
        maker, others = people[0], people[1:]
        made = await maker.call(
            "POST",
            "/_matrix/client/v3/createRoom",
            {"preset": "public_chat" if len(others) > 1 else "trusted_private_chat",
             "invite": [one.id for one in others] if len(others) == 1 else []},
        )  # fmt: skip
        maker.room = made["room_id"]
        for one in others:
            one.room = maker.room
            await one.call("POST", f"/_matrix/client/v3/rooms/{one.room}/join", {})

    async def _ready(self, count: int) -> list[Person]:
        """So many people with accounts, each made once."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        missing = range(len(self._people), count)
        new = [Person(self._session, self._base, f"b{n}") for n in missing]
        for at in range(0, len(new), AT_ONCE):
            await asyncio.gather(*(one.register() for one in new[at : at + AT_ONCE]))
        self._people += new
        return self._people[:count]

    async def leave(self) -> None:
        """End all polling."""
        await asyncio.gather(*(one.stop() for one in self._people))

    async def close(self) -> None:
        """Release the sockets."""
        await self.leave()
        if self._session is not None:
            await self._session.close()
