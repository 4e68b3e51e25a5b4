"""The command that looks whether a data directory is sound."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from timewire import remote, showing
from timewire.checkup import Checkup, Finding
from timewire.progress import bar
from timewire.settings import load


def doctor(
    *,
    data: remote.Data = "",
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what is safe to be; stop the server first.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also compare the content of media with their names.")
    ] = False,
    erased: Annotated[str, typer.Option(help="Also look for what is left of this user.")] = "",
    as_json: remote.Json = False,
) -> None:
    """Look whether a data directory is sound: every message is read, every reference followed.

    Reads only, also while a server runs. The exit status is 0 when nothing is wrong, or nothing is
    left wrong. `--repair` never touches a message: restore those from a backup.

    ```
    timewire doctor --data /var/lib/timewire
    timewire doctor --data /backups/timewire/2026-05-01T120000Z/data --deep
    timewire doctor --repair
    ```
    """
    from timewire.doctor import examine

    config = load({"data": data or None}, os.environ, remote.config_file())
    with bar("looking") as show:
        found = examine(config, show, repair=repair, deep=deep, erased=erased)
    if as_json:
        remote.say(remote.to_json(found))
    else:
        _show(found)
    if not found.sound:
        raise typer.Exit(1)


def _show(found: Checkup) -> None:
    remote.say(f"{found.path}: format {found.format}, epoch {found.epoch}, head {found.head}")
    remote.say("looked at " + ", ".join(f"{n:,} in {name}" for name, n in found.checked.items()))
    for one in found.findings:
        remote.say(showing.printable(_line(one)))
    for check, number in found.more.items():
        remote.say(f"error in {check}: {number:,} more of the kind")
    if not found.findings:
        remote.say("nothing is wrong")


def _line(one: Finding) -> str:
    line = f"{one.weight} in {one.check}: {one.what}"
    if one.repaired:
        return f"{line} [done: {one.repair}]"
    return f"{line} [--repair would: {one.repair}]" if one.repair else line
