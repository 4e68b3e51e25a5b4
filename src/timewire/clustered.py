"""The commands of a cluster: make one, and be one of its workers."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType
from typing import Annotated, Any

import typer

from timewire import remote
from timewire.config import Config
from timewire.errors import error

app = typer.Typer(no_args_is_help=True, help="Make a cluster, look at one. See docs/CLUSTER.md.")

Nats = Annotated[
    str,
    typer.Option(envvar="TIMEWIRE_NATS", help="The NATS servers, separated by commas."),
]


def roles() -> ModuleType:
    """What runs in a cluster.  Raises ``Unusable`` (bad_config) where the extra is missing."""
    try:
        from timewire import cluster
    except ImportError:
        message = "`nats` needs another package: pip install 'timewire[cluster]'"
        raise error("bad_config", message, key="nats") from None
    return cluster


@app.command()
def init(
    nats: Nats,
    *,
    replicas: Annotated[
        int, typer.Option(min=1, max=5, help="NATS servers that keep each message: 1, 3 or 5.")
    ] = 3,
    as_json: remote.Json = False,
) -> None:
    """Make a cluster on NATS servers, or check the one that is there.

    Safe to repeat: what is there is compared with what was asked for, and nothing is changed.

    ```
    timewire cluster init --nats nats://a:4222,nats://b:4222,nats://c:4222
    timewire cluster init --nats nats://localhost:4222 --replicas 1
    ```
    """
    found = asyncio.run(roles().init(nats, replicas))
    _tell(found, as_json)


@app.command()
def status(nats: Nats, *, as_json: remote.Json = False) -> None:
    """Check a cluster, and say what it is.

    ```
    timewire cluster status --nats nats://a:4222
    ```
    """
    _tell(asyncio.run(roles().status(nats)), as_json)


def _tell(found: Any, as_json: bool) -> None:
    if as_json:
        remote.say(remote.to_json(found))
        return
    for name, value in found.items():
        sys.stdout.write(f"{name:<10} {value}\n")


def run_worker(settings: Config) -> None:
    """Be a worker, until SIGTERM or Ctrl-C."""
    import uvloop

    from timewire import logs

    if not settings.nats:
        raise error("bad_config", "a worker needs `nats`, the servers of its cluster", key="nats")
    logs.configure(settings.log_level, settings.log_format)
    uvloop.run(roles().work(settings))
