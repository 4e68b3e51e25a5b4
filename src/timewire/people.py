"""The commands about one user's data: a copy of it, and its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
import typer
from rich.progress import TextColumn, TimeElapsedColumn

from timewire import admin, remote
from timewire.errors import TimewireError, error
from timewire.model import CONTROL_KINDS, REACTION, Message, decode_message
from timewire.progress import Show, bar

PAGE_ENTRIES: Final = 100
MAX_RECALLS: Final = 32
"""Recalls that are under way at once."""

GONE: Final = frozenset({"recalled", "unknown_message"})
"""What a recall is refused with when there is nothing left to recall."""

app = typer.Typer(no_args_is_help=True, help="One user's data: a copy of it, and its end.")

_User = Annotated[str, typer.Argument(help="The user's name.")]


class _State(msgspec.Struct):
    conversation: str
    kind: str
    title: str
    member: bool
    read: int


class _States(msgspec.Struct):
    conversations: list[_State]
    has_more: bool


class _History(msgspec.Struct):
    messages: list[msgspec.Raw]
    has_more: bool


class _Reaction(msgspec.Struct):
    id: str
    emoji: str
    on: bool = False


class _Nothing(msgspec.Struct):
    """An answer of which nothing is wanted."""


@app.command()
def export(
    user: _User,
    directory: Annotated[str, typer.Argument(help="A directory that does not exist yet.")],
    *,
    own: Annotated[
        bool, typer.Option("--own", help="Only what the user has said, not what they may read.")
    ] = False,
    url: remote.Url = remote.DEFAULT_URL,
    data: remote.Data = "",
) -> None:
    """Copy what a server has of a user: conversations, messages, media, as JSON lines.

    Without `--own` it is all that the user may read, which holds what others have said. Needs the
    admin key: from the data directory, or `TIMEWIRE_ADMIN_KEY`.

    ```
    timewire user export alice alice-2026-05-01
    ```
    """
    path = Path(directory)
    path.mkdir(parents=True)
    count, files = asyncio.run(_export(user, path, own, url, admin.find_key(data)))
    remote.say(f"{path}: {count} messages, {files} media")


@app.command()
def erase(
    user: _User,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: remote.Url = remote.DEFAULT_URL,
    data: remote.Data = "",
) -> None:
    """Recall all that a user has said, take back their reactions, and let them leave every group.

    Recalled messages are empty for ever, on the server and on every device that comes back; so are
    their edits. Media that nobody refers to any more go after `media_orphan_hours`. It can be
    broken off and repeated. `timewire doctor --erased USER` shows what is left; backups are yours
    to remove.

    ```
    timewire user erase alice
    timewire doctor --erased alice --repair
    ```
    """
    if not yes:
        typer.confirm(f"Recall everything that {user} has said, for ever?", abort=True)
    count, owned = asyncio.run(_erase(user, url, admin.find_key(data)))
    remote.say(f"{count} messages recalled")
    if owned:
        raise error(
            "last_owner",
            f"{user} is the last owner of {', '.join(owned)}: appoint another one, then repeat",
        )


class _Acting:
    """The product acting as a user, page by page."""

    def __init__(self, server: admin.Admin, user: str) -> None:
        self._server = server
        self._as = f"as={quote(user, safe='')}"

    async def conversations(self) -> AsyncIterator[_State]:
        """Every conversation that the user is or was in."""
        after = ""
        while True:
            path = (
                f"/v1/conversations?{self._as}&limit={PAGE_ENTRIES}&after={quote(after, safe='')}"
            )
            page = await self._server.call("GET", path, _States)
            for one in page.conversations:
                yield one
                after = one.conversation
            if not page.has_more:
                return

    async def messages(self, conversation: str) -> AsyncIterator[tuple[Message, bytes]]:
        """Every message of a conversation that the user may read, with its JSON, oldest first."""
        after = 0
        while True:
            where = f"{_path(conversation)}/messages?{self._as}"
            path = f"{where}&limit={PAGE_ENTRIES}&after={after}"
            page = await self._server.call("GET", path, _History)
            for raw in page.messages:
                message = decode_message(raw)
                yield message, bytes(raw)
                after = message.seq
            if not page.has_more:
                return

    async def recall(self, message: Message) -> None:
        """Recall a message, once."""
        path = f"{_path(message.conversation)}/messages/{message.seq}?{self._as}"
        path += f"&id=erase:{message.seq}"
        try:
            await self._server.call("DELETE", path, _Nothing)
        except TimewireError as refusal:
            if refusal.code not in GONE:
                raise

    async def take_back(self, message: Message) -> None:
        """Take back what a message of kind ``reaction`` has put to another one, once."""
        if not message.body.get("on", True):
            return
        path = f"{_path(message.conversation)}/messages/{message.body['seq']}/reactions?{self._as}"
        taken = _Reaction(f"erase:{message.seq}", message.body["emoji"])
        try:
            await self._server.call("POST", path, _Nothing, asks=taken)
        except TimewireError as refusal:
            if refusal.code not in GONE:
                raise

    async def leave(self, conversation: str, user: str) -> bool:
        """Leave a group; False when somebody else has to own it first."""
        path = f"{_path(conversation)}/members/{quote(user, safe='')}?{self._as}"
        try:
            await self._server.call("DELETE", f"{path}&id=erase:{conversation}"[:1000], _Nothing)
        except TimewireError as refusal:
            if refusal.code != "last_owner":
                raise
            return False
        return True

    async def download(self, medium: str) -> bytes | None:
        """A file; None when it is gone."""
        try:
            return await self._server.bytes(f"/v1/media/{medium}?{self._as}")
        except TimewireError as refusal:
            if refusal.code != "unknown_media":
                raise
            return None


async def _export(user: str, path: Path, own: bool, url: str, key: str) -> tuple[int, int]:
    count, files = 0, set[str]()
    async with admin.Admin(url, key) as server:
        acting = _Acting(server, user)
        with (
            _messages("copying") as show,
            (path / "conversations.jsonl").open("wb") as conversations,
            (path / "messages.jsonl").open("wb") as messages,
        ):
            async for conversation in acting.conversations():
                conversations.write(msgspec.json.encode(conversation) + b"\n")
                async for message, raw in acting.messages(conversation.conversation):
                    if own and message.sender != user:
                        continue
                    messages.write(raw + b"\n")
                    count += 1
                    show(count)
                    medium = message.body.get("media")
                    if isinstance(medium, str) and medium not in files:
                        content = await acting.download(medium)
                        if content is not None:
                            (path / "media").mkdir(exist_ok=True)
                            (path / "media" / medium).write_bytes(content)
                            files.add(medium)
    profile = {"user": user, "messages": count, "media": len(files), "own": own}
    (path / "user.json").write_text(json.dumps(profile) + "\n")
    return count, len(files)


async def _erase(user: str, url: str, key: str) -> tuple[int, list[str]]:
    count, owned = 0, list[str]()
    async with admin.Admin(url, key) as server:
        acting = _Acting(server, user)
        with _messages("recalling") as show:
            async for conversation in acting.conversations():
                batch: list[Message] = []
                async for message, _ in acting.messages(conversation.conversation):
                    if message.sender == user and message.kind not in CONTROL_KINDS:
                        batch.append(message)
                    elif message.sender == user and message.kind == REACTION:
                        await acting.take_back(message)
                    if len(batch) == MAX_RECALLS:
                        await asyncio.gather(*map(acting.recall, batch))
                        count += len(batch)
                        show(count)
                        batch.clear()
                await asyncio.gather(*map(acting.recall, batch))
                count += len(batch)
                name = conversation.conversation
                if _can_leave(conversation) and not await acting.leave(name, user):
                    owned.append(name)
    return count, owned


def _can_leave(conversation: _State) -> bool:
    return conversation.member and conversation.kind not in ("direct", "self")


def _path(conversation: str) -> str:
    return f"/v1/conversations/{quote(conversation, safe='')}"


def _messages(what: str) -> AbstractContextManager[Show]:
    """How many were done; nobody knows how many there are."""
    return bar(what, TextColumn("{task.completed:,.0f} messages"), TimeElapsedColumn())
