"""A help desk with chat: its users log in here, and talk through Timewire.

timewire serve &
export TIMEWIRE_ADMIN_KEY=$(cat timewire-data/admin-key)
uvicorn app:app --app-dir examples/fastapi_backend
curl -u alice:wonderland -X POST localhost:8000/chat/token
curl -u alice:wonderland -X POST localhost:8000/tickets --json '{"subject": "It is broken"}'
"""

import asyncio
import contextlib
import logging
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel, Field
from timewire_backend import Refused, Timewire

URL = os.environ.get("TIMEWIRE_URL", "http://127.0.0.1:7447")
PASSWORDS = {"alice": "wonderland", "bob": "builder", "sam": "support"}
AGENTS = {"sam"}
SYSTEM = "helpdesk"
"""Who speaks for the product.  No user may have this name."""

TOKEN_LIFE_S = 3600
PAUSE_S = 5.0

log = logging.getLogger("uvicorn.error")
timewire = Timewire(URL, os.environ["TIMEWIRE_ADMIN_KEY"])


# Who is logged in: put your own login here ------------------------------------------------------


def logged_in(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
    password = PASSWORDS.get(given.username, "")
    if not password or not secrets.compare_digest(given.password.encode(), password.encode()):
        raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})
    return given.username


User = Annotated[str, Depends(logged_in)]


# Tickets: your own tables ------------------------------------------------------------------------


class Tickets:
    """Tickets, and whether each has its conversation: told in the same row, so nothing is lost."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS tickets"
            " (id TEXT PRIMARY KEY, user TEXT, subject TEXT, announced INT DEFAULT 0)"
        )
        self.opened = asyncio.Event()

    def open(self, user: str, subject: str) -> str:
        ticket = secrets.token_hex(8)
        row = (ticket, user, subject)
        self._db.execute("INSERT INTO tickets (id, user, subject) VALUES (?, ?, ?)", row)
        self.opened.set()
        return ticket

    def exists(self, ticket: str) -> bool:
        row = self._db.execute("SELECT 1 FROM tickets WHERE id = ?", (ticket,)).fetchone()
        return row is not None

    def unannounced(self) -> list[tuple[str, str, str]]:
        return self._db.execute(
            "SELECT id, user, subject FROM tickets WHERE NOT announced ORDER BY rowid"
        ).fetchall()

    def announced(self, ticket: str) -> None:
        self._db.execute("UPDATE tickets SET announced = 1 WHERE id = ?", (ticket,))


tickets = Tickets(os.environ.get("TICKETS_DB", ":memory:"))


async def announce(ticket: str, user: str, subject: str) -> None:
    """Make a ticket's conversation and greet.

    The ids come from the ticket, so doing it again, after a crash of either side, does it once.
    """
    room = f"ticket-{ticket}"
    greeting = {"text": f"Your ticket was received: {subject}"}
    try:
        await timewire.create(room, [user], subject, by=SYSTEM, id=f"{ticket}.create")
        await timewire.send(room, greeting, by=SYSTEM, id=f"{ticket}.greet")
    except Refused as refused:
        if refused.retry:
            raise
        log.error("ticket %s has no conversation: %s", ticket, refused)  # trying again is no help
    tickets.announced(ticket)


async def announce_all() -> None:
    """Announce what was opened, also before a restart, for as long as the application runs."""
    while True:
        tickets.opened.clear()
        try:
            for ticket in tickets.unannounced():
                await announce(*ticket)
            await tickets.opened.wait()
        except Refused as refused:
            log.warning("not yet announced: %s", refused)
            await asyncio.sleep(PAUSE_S)


# The application ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(announce_all())
    yield
    task.cancel()
    await timewire.aclose()


app = FastAPI(title="Help desk", lifespan=lifespan)


class NewTicket(BaseModel):
    subject: str = Field(min_length=1, max_length=100)


@app.post("/chat/token")
async def chat_token(user: User) -> dict[str, Any]:
    """What the user's page or app needs to connect; it asks again before the token expires."""
    return {"url": URL, **await timewire.token(user, TOKEN_LIFE_S)}


@app.post("/tickets", status_code=201)
async def open_ticket(user: User, new: NewTicket) -> dict[str, str]:
    """Open a ticket.  Its conversation appears on the user's devices a moment later."""
    ticket = tickets.open(user, new.subject)
    return {"ticket": ticket, "conversation": f"ticket-{ticket}"}


@app.post("/tickets/{ticket}/take")
async def take_ticket(user: User, ticket: str) -> dict[str, str]:
    """An agent joins the conversation of a ticket."""
    if user not in AGENTS:
        raise HTTPException(403)
    if not tickets.exists(ticket):
        raise HTTPException(404)
    room = f"ticket-{ticket}"
    try:
        await timewire.add(room, [user], by=SYSTEM, id=f"{ticket}.take.{user}")
    except Refused as refused:
        raise HTTPException(503, str(refused)) from None
    return {"conversation": room}
