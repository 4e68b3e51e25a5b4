"""Making a cluster, and every way in which what is there will not do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.client import Client

from timewire.backends.jetstream import LogStream, Names, check, connect, init
from timewire.backends.jetstream.stream import MAX_SILENCE_S, is_in_touch
from timewire.cluster import operating
from timewire.errors import Retryable, TimewireError
from timewire.testing.nats import NatsServer, free_ports, running_nats

PATIENCE_S = 30.0


@pytest_asyncio.fixture
async def client(nats_url: str) -> AsyncGenerator[Client]:
    client = await connect(nats_url, "test")
    yield client
    await client.close()


async def update(client: Client, names: Names, **changes: Any) -> None:
    """Change the stream behind Timewire's back."""
    config = (await LogStream(client, names).info())["config"]
    request = json.dumps({**config, **changes}).encode()
    answer = await client.request(f"$JS.API.STREAM.UPDATE.{names.stream}", request)
    assert "error" not in json.loads(answer.data)


async def refusal(client: Client, names: Names) -> TimewireError:
    with pytest.raises(TimewireError) as raised:
        await check(LogStream(client, names))
    return raised.value


async def test_a_cluster_is_made_once(client: Client, names: Names, nats_url: str) -> None:
    made = await init(client, names, 1)
    assert (made.replicas, made.shards) == (1, 1)
    assert await init(client, names, 1) == made
    assert await check(LogStream(client, names)) == made

    told = await operating.status(nats_url, names)
    assert (told["epoch"], told["records"], told["current"]) == (made.epoch, 0, 1)
    assert await operating.init(nats_url, 1, names) == told


async def test_two_clusters_are_two_logs(client: Client, names: Names) -> None:
    other = Names(f"{names.log.split('.')[0]}b")
    assert (await init(client, names, 1)).epoch != (await init(client, other, 1)).epoch


async def test_other_replicas_than_there_are(client: Client, names: Names) -> None:
    await init(client, names, 1)
    with pytest.raises(TimewireError) as raised:
        await init(client, names, 3)
    assert raised.value.code == "cluster_differs"
    assert "1 replicas, not 3" in raised.value.fields["reason"]


async def test_more_replicas_than_servers(client: Client, names: Names) -> None:
    with pytest.raises(TimewireError) as raised:
        await init(client, names, 3)
    assert raised.value.code == "nats_unfit"
    assert "replicas" in raised.value.fields["reason"]


async def test_no_cluster(client: Client, names: Names) -> None:
    assert (await refusal(client, names)).code == "no_cluster"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_age": 3600_000_000_000}, "max_age"),
        ({"max_msgs": 5}, "max_msgs"),
        ({"republish": None}, "republish"),
    ],
)
async def test_a_setting_was_changed(
    client: Client, names: Names, changes: dict[str, Any], told: str
) -> None:
    await init(client, names, 1)
    await update(client, names, **changes)
    found = await refusal(client, names)
    assert found.code == "cluster_differs"
    assert told in found.fields["reason"]


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("shards", "4", "cluster_differs"),
        ("shards", "many", "cluster_differs"),
        ("format", "2", "cluster_newer"),
    ],
)
async def test_what_the_cluster_says_of_itself(
    client: Client, names: Names, key: str, value: str, code: str
) -> None:
    await init(client, names, 1)
    metadata = (await LogStream(client, names).info())["config"]["metadata"]
    await update(client, names, metadata={**metadata, f"timewire-{key}": value})
    assert (await refusal(client, names)).code == code


async def test_somebody_elses_stream(client: Client, names: Names) -> None:
    config = {"name": names.stream, "subjects": [names.log]}
    await client.request(f"$JS.API.STREAM.CREATE.{names.stream}", json.dumps(config).encode())
    found = await refusal(client, names)
    assert (found.code, found.fields["reason"]) == (
        "cluster_differs",
        "the stream was not made by Timewire",
    )


async def test_a_server_without_jetstream(tmp_path: Path, names: Names) -> None:
    server = NatsServer(tmp_path, "plain", free_ports(1)[0])
    config = tmp_path / "nats.conf"
    config.write_text("\n".join(config.read_text().splitlines()[:2]))
    await server.start()
    client = await connect(server.url, "test")
    try:
        found = await refusal(client, names)
        assert (found.code, "JetStream" in found.fields["reason"]) == ("nats_unfit", True)
    finally:
        await client.close()
        await server.kill()


async def test_a_server_that_takes_small_messages_only(tmp_path: Path, names: Names) -> None:
    server = NatsServer(tmp_path, "small", free_ports(1)[0], "max_payload: 64KB\n")
    await server.start()
    client = await connect(server.url, "test")
    try:
        found = await refusal(client, names)
        assert (found.code, "max_payload" in found.fields["reason"]) == ("nats_unfit", True)
    finally:
        await client.close()
        await server.kill()


@pytest.mark.parametrize("urls", ["nats://127.0.0.1:{port}", "nats://user:secret@127.0.0.1:{port}"])
async def test_nobody_there(urls: str) -> None:
    [port] = free_ports(1)
    with pytest.raises(TimewireError) as raised:
        await connect(urls.format(port=port), "test")
    assert raised.value.code == "nats_unreachable"
    assert "secret" not in str(raised.value.fields)


def told(*silent_s: float | None) -> dict[str, Any]:
    """What a stream's leader says of its peers; None for one that it has not heard of."""
    peers = [{} if one is None else {"active": int(one * 1e9)} for one in silent_s]
    return {"cluster": {"leader": "n1", "replicas": peers}}


def test_a_leader_that_was_cut_off_is_not_believed() -> None:
    assert is_in_touch({})
    assert is_in_touch(told())
    assert is_in_touch(told(0.1, 0.9))
    assert is_in_touch(told(0.1, 60.0))
    assert not is_in_touch(told(MAX_SILENCE_S, 60.0))
    assert not is_in_touch(told(3.0, None))
    assert not is_in_touch(told(0.1, 9.0, 9.0, 9.0))
    assert not is_in_touch(told(3.0))


@asynccontextmanager
async def old_server() -> AsyncGenerator[str]:
    """Something that says hello as an old NATS server does; its URL."""
    info = {"server_id": "old", "version": "2.10.4", "proto": 1, "headers": True}
    hello = f"INFO {json.dumps({**info, 'max_payload': 1048576})}\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hello)
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


async def test_too_old_a_server(names: Names) -> None:
    async with old_server() as url:
        client = await connect(url, "test")
        found = await refusal(client, names)
        await client.close()
    assert found.code == "nats_unfit"
    assert found.fields["reason"] == "it is NATS 2.10.4, and 2.11.0 is needed"


async def test_without_a_majority_everything_is_refused_for_now(
    tmp_path: Path, names: Names
) -> None:
    async with running_nats(tmp_path, 3) as cluster:
        await initialized(cluster.urls, names)
        first, *others = cluster.servers
        client = await connect(first.url, "test")
        await asyncio.gather(*(server.kill() for server in others))
        stream = LogStream(client, names)
        with pytest.raises(Retryable) as raised:
            await stream.append(b"?", 0, "x")
        assert raised.value.code == "cluster_unavailable"
        assert await disbelieved(stream) == "cluster_unavailable"
        await client.close()


async def disbelieved(stream: LogStream) -> str:
    """Why nobody can say where a stream ends: what is left may go on for a while as if it led."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await stream.newest()
            except Retryable as fault:
                return fault.code
            await asyncio.sleep(0.2)


async def initialized(urls: str, names: Names) -> None:
    """Make a cluster, once its servers have found each other."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await operating.init(urls, 3, names)
            except TimewireError:
                await asyncio.sleep(0.1)
            else:
                return
