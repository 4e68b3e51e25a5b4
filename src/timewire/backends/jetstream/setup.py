"""Making a cluster's stream, and finding out whether the one that is there will do."""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

import msgspec
import nats.errors
from nats.aio.client import Client

from timewire.backends.jetstream.names import Names
from timewire.backends.jetstream.records import FORMAT
from timewire.backends.jetstream.stream import API_TIMEOUT_S, LogStream
from timewire.errors import TimewireError, error

OLDEST_SERVER: Final = (2, 11, 0)
"""The first NATS server that gives several entries for one question."""

MIN_PAYLOAD_BYTES: Final = 1024 * 1024
DEDUP_WINDOW_NS: Final = 120 * 1_000_000_000
CREATE_TIMEOUT_S: Final = 10.0
SHARDS: Final = 1
"""Of the log: more are not implemented, but their number is stored."""

_METADATA: Final = "timewire-"


class Shape(msgspec.Struct, frozen=True):
    """What a cluster is: the name of its log's life, and how it is stored."""

    epoch: str
    replicas: int
    shards: int = SHARDS
    format: int = FORMAT


async def init(client: Client, names: Names, replicas: int) -> Shape:
    """Make what is missing, and check what is there.

    Raises ``Unusable``: nats_unfit (no JetStream, too old, too few servers), cluster_differs.
    """
    await _check_server(client)
    stream = LogStream(client, names)
    try:
        found = await check(stream)
    except TimewireError as fault:
        if fault.code != "no_cluster":
            raise
    else:
        if found.replicas != replicas:
            reason = f"it has {found.replicas} replicas, not {replicas}"
            raise error("cluster_differs", reason=reason)
        return found
    await _create(client, names, Shape(secrets.token_hex(4), replicas))
    return await check(stream)


async def check(stream: LogStream) -> Shape:
    """What the cluster is.  Raises ``Unusable``: no_cluster, nats_unfit, cluster_differs, or newer.

    And ``Retryable`` (cluster_unavailable) when the servers have no quorum.
    """
    await _check_server(stream.client)
    config: dict[str, Any] = (await stream.info())["config"]
    shape = _shape(config)
    wanted = _config(stream.names, shape)
    for key, value in wanted.items():
        if key != "metadata" and config.get(key) != value:
            reason = f"the stream's {key} is {config.get(key)!r}, not {value!r}"
            raise error("cluster_differs", reason=reason)
    return shape


async def _check_server(client: Client) -> None:
    version = client.connected_server_version
    found = version.major, version.minor, version.patch
    if found < OLDEST_SERVER:
        told, oldest = (".".join(map(str, one)) for one in (found, OLDEST_SERVER))
        raise error("nats_unfit", reason=f"it is NATS {told}, and {oldest} is needed")
    if client.max_payload < MIN_PAYLOAD_BYTES:
        raise error("nats_unfit", reason=f"its max_payload is below {MIN_PAYLOAD_BYTES}")
    try:
        answer = await client.request("$JS.API.INFO", b"", API_TIMEOUT_S)
    except nats.errors.NoRespondersError:
        raise error("nats_unfit", reason="JetStream is not enabled for this account") from None
    except (nats.errors.Error, TimeoutError):
        raise error("cluster_unavailable", reason="JetStream does not answer") from None
    fault = json.loads(answer.data).get("error")
    if fault is not None:
        raise error("nats_unfit", reason=fault.get("description", ""))


async def _create(client: Client, names: Names, shape: Shape) -> None:
    request = json.dumps(_config(names, shape)).encode()
    subject = f"$JS.API.STREAM.CREATE.{names.stream}"
    try:
        answer = await client.request(subject, request, CREATE_TIMEOUT_S)
    except (nats.errors.Error, TimeoutError):
        raise error("cluster_unavailable", reason="JetStream does not answer") from None
    fault = json.loads(answer.data).get("error")
    if fault is not None:
        # Most often: more replicas than there are servers.
        raise error("nats_unfit", reason=fault.get("description", ""), replicas=shape.replicas)


def _config(names: Names, shape: Shape) -> dict[str, Any]:
    """The stream's configuration: records are kept for ever, in files."""
    return {
        "name": names.stream,
        "subjects": [names.log],
        "storage": "file",
        "retention": "limits",
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "num_replicas": shape.replicas,
        "duplicate_window": DEDUP_WINDOW_NS,
        "allow_direct": True,
        "republish": {"src": names.log, "dest": names.news},
        "metadata": {
            f"{_METADATA}epoch": shape.epoch,
            f"{_METADATA}format": str(shape.format),
            f"{_METADATA}shards": str(shape.shards),
        },
    }


def _shape(config: dict[str, Any]) -> Shape:
    metadata = config.get("metadata", {})
    try:
        shape = Shape(
            metadata[f"{_METADATA}epoch"],
            config["num_replicas"],
            int(metadata[f"{_METADATA}shards"]),
            int(metadata[f"{_METADATA}format"]),
        )
    except (LookupError, ValueError):
        raise error("cluster_differs", reason="the stream was not made by Timewire") from None
    if shape.format > FORMAT:
        raise error("cluster_newer", format=shape.format, known=FORMAT)
    if shape.shards != SHARDS:
        reason = f"its log has {shape.shards} shards, and this Timewire knows one"
        raise error("cluster_differs", reason=reason)
    return shape
