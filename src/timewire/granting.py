"""The commands about keys of administrators: make one for a purpose, list them, revoke one."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from timewire import remote
from timewire.adminkeys import SCOPES
from timewire.settings import load

app = typer.Typer(no_args_is_help=True, help="Keys of administrators, each with its scopes.")

_Name = Annotated[str, typer.Argument(help="What it is for; names one key.")]


@app.command()
def create(
    name: _Name,
    *,
    scope: Annotated[list[str], typer.Option(help=f"What it may do: {', '.join(SCOPES)}.")],
    data: remote.Data = "",
) -> None:
    """Make a key and show it, this once; only its hash is kept.

    It holds at once, also for a server that runs.

    ```
    timewire keys create login-service --scope tokens
    timewire keys create bot --scope act --scope search
    ```
    """
    from timewire import adminkeys
    from timewire.clock import wall_clock

    sys.stdout.write(adminkeys.create(_directory(data), name, scope, wall_clock()) + "\n")


@app.command(name="list")
def list_(
    *,
    data: remote.Data = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show names and scopes of all keys; the keys themselves are not known to anybody.

    ```
    timewire keys list
    ```
    """
    from timewire import adminkeys

    keys = adminkeys.read(_directory(data))
    if json:
        for one in keys:
            told = {"name": one.name, "scopes": one.scopes, "created": one.created}
            sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        return
    table = Table("name", "scopes", "created")
    for one in keys:
        made = datetime.fromtimestamp(one.created / 1000, UTC)
        table.add_row(one.name, ", ".join(one.scopes), f"{made:%Y-%m-%d %H:%M}")
    Console().print(table)


@app.command()
def revoke(name: _Name, *, data: remote.Data = "") -> None:
    """Take a key back: from now on it is refused, also by a server that runs.

    ```
    timewire keys revoke login-service
    ```
    """
    from timewire import adminkeys

    adminkeys.revoke(_directory(data), name)


def _directory(data: str) -> Path:
    return Path(load({"data": data or None}, os.environ, remote.config_file()).data)
