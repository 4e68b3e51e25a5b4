"""The commands about webhooks: how far endpoints have come, and telling them again."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from timewire import admin, remote, showing
from timewire.progress import bar
from timewire.settings import load

POLL_S: Final = 0.2

app = typer.Typer(no_args_is_help=True, help="What the product's own servers are told.")


class _Parked(msgspec.Struct):
    id: str
    type: str
    seq: int
    attempts: int
    reason: str
    time: int


class _Endpoint(msgspec.Struct):
    endpoint: str
    position: int
    head: int
    parked: list[_Parked]
    replaying: bool


class _Endpoints(msgspec.Struct):
    endpoints: list[_Endpoint]


class _Replay(msgspec.Struct):
    endpoint: str
    since: int | None


@app.command(name="list")
def list_endpoints(
    *, url: remote.Url = remote.DEFAULT_URL, data: remote.Data = "", as_json: remote.Json = False
) -> None:
    """Show how far each endpoint has come, and what it would not take.

    ```
    timewire webhooks list
    timewire webhooks list --json | jq .parked
    ```
    """
    found = asyncio.run(_states(url, admin.find_key(data)))
    if as_json:
        for one in found:
            remote.say(remote.to_json(one))
        return
    out = Console(highlight=False, soft_wrap=True, markup=False)
    table = Table("endpoint", "told up to", "behind", "parked", box=box.SIMPLE_HEAD)
    for one in found:
        behind, parked = f"{one.head - one.position:,}", f"{len(one.parked):,}"
        table.add_row(showing.printable(one.endpoint), str(one.position), behind, parked)
    out.print(table if found else "No endpoints are configured: see docs/WEBHOOKS.md.")
    for one in found:
        for event in one.parked:
            out.print(_line(event))


@app.command()
def replay(
    endpoint: Annotated[str, typer.Argument(help="Its name, as `list` shows it; else all.")] = "",
    *,
    since: Annotated[
        int, typer.Option(min=0, help="Everything from this SeqId on; else what is parked.")
    ] = 0,
    url: remote.Url = remote.DEFAULT_URL,
    data: remote.Data = "",
) -> None:
    """Tell endpoints again: what is parked, or everything from a SeqId on.

    Events have the ids that they had before. Ctrl-C ends the watching, not the work.

    ```
    timewire webhooks replay
    timewire webhooks replay app.example.com/timewire --since 12000
    ```
    """
    asyncio.run(_replay(url, admin.find_key(data), _Replay(endpoint, since or None)))


@app.command()
def secret(*, data: remote.Data = "") -> None:
    """Show what endpoints check signatures with.

    ```
    timewire webhooks secret --data /var/lib/timewire
    ```
    """
    from timewire.webhooks.service import find_secrets

    config = load({"data": data or None}, os.environ, remote.config_file())
    sys.stdout.write(find_secrets(config) + "\n")


async def _states(url: str, key: str) -> list[_Endpoint]:
    return (await admin.call("GET", url, "/v1/webhooks", key, _Endpoints)).endpoints


async def _replay(url: str, key: str, asked: _Replay) -> None:
    answer = await admin.call("POST", url, "/v1/webhooks/replay", key, _Endpoints, asks=asked)
    concerned = {one.endpoint for one in answer.endpoints if asked.endpoint in ("", one.endpoint)}
    until = max((one.head for one in answer.endpoints), default=0)
    total = 0
    with bar("telling again") as show:
        while True:
            states = [one for one in await _states(url, key) if one.endpoint in concerned]
            left = sum(_left(one, asked, until) for one in states)
            total = max(total, left)
            show(total - left, total)
            if not left and not any(one.replaying for one in states):
                break
            await asyncio.sleep(POLL_S)
    parked = sum(len(one.parked) for one in states)
    sys.stdout.write(f"done; {parked} events are parked\n")


def _left(one: _Endpoint, asked: _Replay, until: int) -> int:
    """How much is still to be told."""
    if asked.since is None:
        return len(one.parked) if one.replaying else 0
    return max(0, until - one.position)


def _line(event: _Parked) -> str:
    when = datetime.fromtimestamp(event.time / 1000, UTC).isoformat(timespec="seconds")
    return showing.printable(
        f"{event.id}  {event.type}  {when}  tried {event.attempts} times: {event.reason}"
    )
