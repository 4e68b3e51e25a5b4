"""The commands that keep data safe: backups of a data directory, and their way back."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import DownloadColumn, TimeRemainingColumn

from timewire import admin, backups, remote
from timewire.errors import Retryable, TimewireError, error
from timewire.progress import bar
from timewire.settings import load

LOCK = "backup.lock"

_Target = Annotated[str, typer.Argument(help="The directory of backups.")]


def backup(
    target: _Target,
    *,
    keep: Annotated[
        int, typer.Option(min=0, help="Keep the newest N backups only; 0 keeps all.")
    ] = 0,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the newest backup instead, and check it.")
    ] = False,
    url: remote.Url = remote.DEFAULT_URL,
    data: remote.Data = "",
) -> None:
    """Make a backup of a data directory, also while its server runs.

    Messages, inboxes, groups, media and keys: everything but the search index, which is made anew.
    What has not changed since the backup before is a hard link to it. Whoever reads a backup can be
    anyone: keep it as safe as the data directory.

    ```
    timewire backup /backups/timewire --data /var/lib/timewire --keep 14
    timewire backup /backups/timewire --verify
    ```
    """
    if verify:
        _verify(backups.find(Path(target)))
        return
    config = load({"data": data or None}, os.environ, remote.config_file())
    directory = Path(config.data)
    with _alone(directory):
        snapshot, running = asyncio.run(_snapshot(url, directory, data))
        try:
            with bar("copying", DownloadColumn(), TimeRemainingColumn()) as told:
                path, manifest = backups.take(snapshot, directory, Path(target), told)
        finally:
            asyncio.run(_release(url, data, running, snapshot))
    remote.say(
        f"{path}: messages up to {manifest.head}, {manifest.total_bytes:,} bytes, "
        f"{manifest.linked_bytes:,} of them unchanged"
    )
    if keep:
        for gone in backups.prune(Path(target), keep):
            remote.say(f"{gone}: removed")


def restore(
    source: Annotated[str, typer.Argument(help="A backup, or a directory: its newest one.")],
    *,
    data: remote.Data = "",
) -> None:
    """Make a data directory from a backup.

    The directory must not exist yet, or be empty. Every file is checked. The log gets a new epoch:
    devices that were ahead of the backup, or behind, find out and start again from history.

    ```
    timewire restore /backups/timewire --data /var/lib/timewire
    timewire restore /backups/timewire/2026-05-01T120000Z --data /tmp/look
    ```
    """
    config = load({"data": data or None}, os.environ, remote.config_file())
    directory = Path(config.data)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise error("directory_not_empty", path=str(directory))
    found = backups.find(Path(source))
    part = directory.with_name(directory.name + ".restoring")
    shutil.rmtree(part, ignore_errors=True)
    with bar("restoring", DownloadColumn(), TimeRemainingColumn()) as told:
        manifest = backups.restore(found, part, told)
    from timewire import library

    try:
        epoch = asyncio.run(library.begin_anew(part))
        if directory.exists():
            directory.rmdir()
        part.rename(directory)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    remote.say(f"{directory}: messages up to {manifest.head} or more, from {found}, epoch {epoch}")


def _verify(path: Path) -> None:
    with bar("reading", DownloadColumn(), TimeRemainingColumn()) as told:
        wrong = backups.verify(path, told)
    for fault in wrong:
        remote.say(f"{fault.fields['path']}: {fault.fields['reason']}")
    if wrong:
        raise error("backup_damaged", path=str(path))
    manifest = backups.read(path)
    remote.say(f"{path}: {len(manifest.files)} files, {manifest.total_bytes:,} bytes, all sound")


async def _snapshot(url: str, directory: Path, data: str) -> tuple[backups.Snapshot, bool]:
    """A snapshot by the running server; without one, by ourselves.  And whether there is one."""
    from timewire import library

    try:
        key = admin.find_key(data)
        made = await admin.call("POST", url, "/v1/snapshot", key, backups.Snapshot)
    except TimewireError as refusal:
        if not isinstance(refusal, Retryable) or refusal.code != "not_connected":
            raise
        if not (directory / "CURRENT").exists():
            reason = "there is no Timewire data in it"
            raise error("directory_unusable", path=str(directory), reason=reason) from None
        return await library.snapshot(directory), False
    if not (directory / backups.SNAPSHOT).is_dir() or Path(made.path) != (
        (directory / backups.SNAPSHOT).resolve()
    ):
        raise error(
            "directory_unusable", f"the server at {url} has its data elsewhere, in {made.path}"
        )
    return made, True


async def _release(url: str, data: str, running: bool, made: backups.Snapshot) -> None:
    if running:
        try:
            await admin.call("DELETE", url, "/v1/snapshot", admin.find_key(data), dict[str, Any])
        except Retryable:  # it has stopped meanwhile
            running = False
    if not running:
        shutil.rmtree(made.path, ignore_errors=True)


@contextmanager
def _alone(directory: Path) -> Generator[None]:
    """One backup of a data directory at a time.  Raises ``Unusable`` (backup_running)."""
    if not directory.is_dir():
        raise error("directory_unusable", path=str(directory), reason="there is no such directory")
    with (directory / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise error("backup_running", path=str(directory)) from None
        yield
