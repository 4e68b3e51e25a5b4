"""The FastAPI example, run by uvicorn as its text says, with a real Timewire server beside it."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from timewire.backends.memory import MemoryStore
from timewire.config import Config
from timewire.server import Server

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fastapi_backend"
SOON_S = 60
ALICE, BOB, SAM = ("alice", "wonderland"), ("bob", "builder"), ("sam", "support")


class Desk:
    """Calls to the example's application, and as its users to Timewire."""

    def __init__(self, url: str, server: Server) -> None:
        self.app = httpx.AsyncClient(base_url=url, timeout=SOON_S)
        self.chat = httpx.AsyncClient(base_url=server.url, timeout=SOON_S)

    async def post(self, path: str, login: tuple[str, str], json: Any = None) -> httpx.Response:
        return await self.app.post(path, auth=login, json=json)

    async def log_in(self, login: tuple[str, str]) -> dict[str, str]:
        """Headers with which the user calls Timewire."""
        answer = await self.post("/chat/token", login)
        assert answer.status_code == 200
        assert httpx.URL(answer.json()["url"]) == self.chat.base_url
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    async def received(self, who: dict[str, str], cursor: Any, count: int) -> list[Any]:
        """The next messages of a user, waited for by long poll."""
        got: list[Any] = []
        while len(got) < count:
            page = await self.chat.get("/v1/sync", headers=who, params={**cursor, "wait": 30})
            assert page.status_code == 200
            got += page.json()["messages"]
            cursor = page.json()["cursor"]
        return got

    async def head(self, who: dict[str, str]) -> Any:
        return (await self.chat.get("/v1/sync", headers=who)).json()["cursor"]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def server(tmp_path: Path, store: MemoryStore) -> AsyncIterator[Server]:
    server = await Server.start(Config(data=str(tmp_path / "data"), port=0), store=store)
    yield server
    await server.aclose()


@asynccontextmanager
async def application(server: Server, tickets: Path) -> AsyncIterator[Desk]:
    """The example under uvicorn, on a free port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(EXAMPLE), "--port", "0"),
        env={
            **os.environ,
            "TIMEWIRE_URL": server.url,
            "TIMEWIRE_ADMIN_KEY": server.keys.admin_key,
            "TICKETS_DB": str(tickets),
        },
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(SOON_S):
            url = None
            while url is None:
                line = (await process.stderr.readline()).decode()
                assert line, "uvicorn ended"
                url = re.search(r"running on (http://[\w.:]+)", line)
        desk = Desk(url[1], server)
        async with desk.app, desk.chat:
            yield desk
    finally:
        process.terminate()
        await process.communicate()


async def test_a_ticket_becomes_a_conversation(server: Server, tmp_path: Path) -> None:
    async with application(server, tmp_path / "tickets.db") as desk:
        alice, bob, sam = [await desk.log_in(login) for login in (ALICE, BOB, SAM)]
        starts = await desk.head(alice), await desk.head(sam)

        opened = await desk.post("/tickets", ALICE, {"subject": "It is broken"})
        room = opened.json()["conversation"]
        created, greeting = await desk.received(alice, starts[0], 2)
        not_his = await desk.chat.get(f"/v1/conversations/{room}/messages", headers=bob)
        refused = await desk.post(f"/tickets/{opened.json()['ticket']}/take", BOB)
        taken = await desk.post(f"/tickets/{opened.json()['ticket']}/take", SAM)
        answer = {"id": "a1", "to": room, "body": {"text": "Which one?"}}
        sent = await desk.chat.post("/v1/messages", headers=sam, json=answer)
        joined, own = await desk.received(sam, starts[1], 2)

    assert opened.status_code == 201
    assert created["conversation"] == greeting["conversation"] == room
    assert created["body"] == {"kind": "group", "members": ["alice"], "title": "It is broken"}
    assert greeting["from"] == "helpdesk"
    assert greeting["body"] == {"text": "Your ticket was received: It is broken"}
    assert not_his.status_code == 403
    assert (refused.status_code, taken.status_code, sent.status_code) == (403, 200, 200)
    assert joined["body"]["joined"] == ["sam"]
    assert own["seq"] == sent.json()["seq"]


async def test_strangers_get_no_token(server: Server, tmp_path: Path) -> None:
    async with application(server, tmp_path / "tickets.db") as desk:
        for login in (("alice", "wrong"), ("mallory", ""), ("helpdesk", "")):
            assert (await desk.post("/chat/token", login)).status_code == 401
        assert (await desk.post("/tickets", ALICE, {"subject": ""})).status_code == 422
        assert (await desk.post("/tickets/none/take", SAM)).status_code == 404


async def test_a_ticket_is_announced_once_whatever_fails(
    server: Server, store: MemoryStore, tmp_path: Path
) -> None:
    tickets = tmp_path / "tickets.db"
    async with application(server, tickets) as desk:
        alice = await desk.log_in(ALICE)
        start = await desk.head(alice)
        store.log.writable = False
        opened = await desk.post("/tickets", ALICE, {"subject": "The disk is full"})
        store.log.writable = True
        await desk.received(alice, start, 2)

    # As if the application had died between sending and noting that it has.
    import sqlite3

    with sqlite3.connect(tickets) as database:
        database.execute("UPDATE tickets SET announced = 0")
    database.close()

    async with application(server, tickets) as desk:
        second = await desk.post("/tickets", ALICE, {"subject": "The next"})
        got = await desk.received(alice, start, 4)
        history = await desk.chat.get(
            f"/v1/conversations/{opened.json()['conversation']}/messages", headers=alice
        )

    assert [one["conversation"] for one in got] == [
        *[opened.json()["conversation"]] * 2,
        *[second.json()["conversation"]] * 2,
    ]
    assert len(history.json()["messages"]) == 2
