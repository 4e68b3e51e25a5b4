"""What operators do to a cluster: make it, look at it."""

from __future__ import annotations

from typing import Any

from timewire.backends import jetstream
from timewire.backends.jetstream import LogStream, Names, connect


async def init(urls: str, replicas: int, names: Names | None = None) -> dict[str, Any]:
    """Make a cluster, or check that the one that is there is as wanted; what it is.

    Raises ``Unusable``: nats_unreachable, nats_unfit, cluster_differs.
    """
    names = names or Names()
    client = await connect(urls, "timewire cluster init")
    try:
        await jetstream.init(client, names, replicas)
    finally:
        await client.close()
    return await status(urls, names)


async def status(urls: str, names: Names | None = None) -> dict[str, Any]:
    """What a cluster is now.  Raises ``Unusable``, no_cluster too."""
    names = names or Names()
    client = await connect(urls, "timewire cluster status")
    try:
        stream = LogStream(client, names)
        shape = await jetstream.check(stream)
        info = await stream.info()
    finally:
        await client.close()
    peers: list[dict[str, Any]] = info.get("cluster", {}).get("replicas") or []
    current = 1 + sum(1 for peer in peers if peer.get("current"))
    return {
        "epoch": shape.epoch,
        "shards": shape.shards,
        "replicas": shape.replicas,
        "current": current,
        "records": info["state"]["messages"],
        "bytes": info["state"]["bytes"],
    }
