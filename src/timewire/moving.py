"""The commands that take everything elsewhere: from a directory to a cluster, and back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskProgressColumn, TimeRemainingColumn

from timewire import clustered, remote
from timewire.config import Config
from timewire.progress import bar
from timewire.settings import load

Nats = Annotated[
    str,
    typer.Option(
        "--nats",
        help="The NATS servers of a cluster, in place of a data directory of one server.",
        show_default=False,
    ),
]


def export(
    file: Annotated[str, typer.Argument(help="The file to write, one JSON object a line.")],
    *,
    data: remote.Data = "",
    nats: Nats = "",
    media: Annotated[bool, typer.Option(help="Take the files along that were uploaded.")] = True,
) -> None:
    """Write everything that was said into a file, to be imported elsewhere.

    Messages in their order, and with them who is a member of what, read marks, settings, blocks,
    modes; media. Works while the server runs. With `--nats` the data directory is that of a worker
    or gateway that does not run, or a new one: a copy of the cluster is made in it. What broke off
    goes on when it is called again. Keys, tokens and settings are not in it.

    ```
    timewire export all.jsonl --data /var/lib/timewire
    timewire export all.jsonl --nats nats://a:4222 --data /var/tmp/copy
    ```
    """
    from timewire import transfer

    config = _config(data, nats)
    source = Path(config.data)
    if config.nats:
        source = asyncio.run(clustered.roles().refresh(config))
    with bar("exporting", TaskProgressColumn(), TimeRemainingColumn()) as told:
        work = transfer.write_export(config, source, Path(file), told, with_media=media)
        end = asyncio.run(work)
    remote.say(f"{file}: {end.messages:,} messages up to {end.head}, {end.media:,} media")


def take_in(
    file: Annotated[str, typer.Argument(help="A file that `timewire export` has written.")],
    *,
    data: remote.Data = "",
    nats: Nats = "",
) -> None:
    """Make a data directory from an export, or fill a cluster with it.

    The directory must not exist yet, or be empty; a cluster must be made, hold nothing, and have no
    worker running. Messages keep their SeqIds. The log gets a new epoch: devices find out, and
    start again from history. What broke off goes on when it is called again.

    ```
    timewire import all.jsonl --data /var/lib/timewire
    timewire cluster init --nats nats://a:4222 && timewire import all.jsonl --nats nats://a:4222
    ```
    """
    from timewire import transfer

    config = _config(data, nats)
    with bar("importing", TaskProgressColumn(), TimeRemainingColumn()) as told:
        if config.nats:
            work = clustered.roles().import_cluster(config, Path(file), told)
        else:
            work = transfer.import_directory(config, Path(file), told)
        end, epoch = asyncio.run(work)
    where = "the cluster" if config.nats else config.data
    remote.say(
        f"{where}: {end.messages:,} messages up to {end.head}, {end.media:,} media, epoch {epoch}"
    )


def _config(data: str, nats: str) -> Config:
    given = {"data": data or None, "nats": nats or None}
    return load(given, os.environ, remote.config_file())
