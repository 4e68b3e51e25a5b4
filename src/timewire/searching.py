"""The commands that search, and that keep the search index: what they take, and what they print."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from timewire import admin, remote, showing
from timewire.auth import find_admin_key
from timewire.errors import error
from timewire.progress import bar
from timewire.settings import load

if TYPE_CHECKING:
    from timewire.client import Client, Hit

PAGE_HITS: Final = 100
POLL_S: Final = 0.2
MATCH_STYLE: Final = "bold yellow"


class _State(msgspec.Struct):
    """How far the index has come, as the server tells."""

    position: int
    head: int
    rebuilt: int | None
    rebuilds: int


Order = Literal["newest", "oldest", "best"]


def search(
    text: Annotated[
        str, typer.Argument(help='What to find: words, "phrases", beginn*, -not.')
    ] = "",
    *,
    url: remote.Url = remote.DEFAULT_URL,
    token: remote.Token = "",
    user: remote.User = "",
    data: remote.Data = "",
    where: Annotated[str, typer.Option("--in", help="Only there: a group or `@bob`.")] = "",
    sender: Annotated[str, typer.Option("--from", help="Only by this user.")] = "",
    kind: Annotated[str, typer.Option(help="Only messages of this kind.")] = "",
    since: Annotated[str, typer.Option(help="From this day or time on: `2024-05-01`.")] = "",
    until: Annotated[str, typer.Option(help="Before this day or time.")] = "",
    media: Annotated[bool, typer.Option("--media", help="Only what carries a file.")] = False,
    mentioned: Annotated[
        bool, typer.Option("--mentioned", help="Only what speaks to you.")
    ] = False,
    either: Annotated[bool, typer.Option("--any", help="Any of the words; else all.")] = False,
    order: Annotated[Order, typer.Option(help="What comes first.")] = "newest",
    limit: Annotated[int, typer.Option(min=1, help="How many messages.")] = 20,
    as_json: remote.Json = False,
) -> None:
    """Find messages that you may read, in any script, one a line.

    ```
    timewire search "deploy failed" --user alice
    timewire search '"time out" -staging' --in ops --since 2024-05-01
    timewire search 北京 --from bob --order oldest
    timewire search --media --in @bob --json
    ```
    """
    out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

    async def work() -> None:
        async with remote.device("search", url, token, user, data) as me:
            asked: dict[str, Any] = {
                "match": "any" if either else "all",
                "conversation": showing.resolve(where, me.user) if where else "",
                "sender": sender,
                "kind": kind,
                "since": _moment(since),
                "until": _moment(until),
                "media": media,
                "mentioned": mentioned,
                "order": order,
            }
            async for hit in _hits(me, text, asked, limit):
                if as_json:
                    remote.say(remote.to_json(hit))
                else:
                    out.print(_line(hit, me.user))

    asyncio.run(work())


async def _hits(me: Client, text: str, asked: dict[str, Any], limit: int) -> AsyncIterator[Hit]:
    page = ""
    while limit:
        found = await me.search(text, **asked, limit=min(limit, PAGE_HITS), page=page)
        for hit in found.hits:
            yield hit
        limit -= len(found.hits)
        page = found.next
        if not page:
            return


def _line(hit: Hit, user: str) -> Text:
    """A hit as one line, with what was found marked."""
    line = Text(showing.heading(hit.message, user) + ": ")
    if not hit.snippet:
        return line.append(showing.content(hit.message))
    for piece, found in showing.marked(hit.snippet, hit.matches):
        line.append(piece, MATCH_STYLE if found else None)
    return line


def _moment(text: str) -> int | None:
    """A day or time as this machine's wall clock has it, in ms; None for an empty text."""
    if not text:
        return None
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError) as problem:
        raise typer.BadParameter(f"no day or time: {text} ({problem})") from None


# The index -------------------------------------------------------------------------------------


def reindex(
    *,
    url: remote.Url = remote.DEFAULT_URL,
    data: remote.Data = "",
) -> None:
    """Make the search index of a running server anew, from its log.

    Nothing stops meanwhile: the old index answers until the new one is complete. Ctrl-C ends the
    watching, not the work. Needs the admin key: from the data directory, or `TIMEWIRE_ADMIN_KEY`.

    ```
    timewire reindex
    timewire reindex --data /var/lib/timewire --url http://127.0.0.1:8000
    ```
    """
    config = load({"data": data or None}, os.environ, remote.config_file())
    asyncio.run(_watch(url, find_admin_key(config, Path(config.data))))


async def _watch(url: str, key: str) -> None:
    before = await _call("GET", url, key)
    state = await _call("POST", url, key)
    began = time.monotonic()
    with bar("indexing") as show:
        while state.rebuilds == before.rebuilds:
            show(state.rebuilt or 0, state.head)
            await asyncio.sleep(POLL_S)
            state = await _call("GET", url, key)
            if state.rebuilt is None and state.rebuilds == before.rebuilds:
                raise error(
                    "server_fault", "the index was not made anew; the server's log says why"
                )
        show(state.head, state.head)
    seconds = time.monotonic() - began
    sys.stdout.write(f"{state.position} messages indexed in {seconds:.1f} s\n")


async def _call(method: str, url: str, key: str) -> _State:
    return await admin.call(method, url, "/v1/search/index", key, _State)
