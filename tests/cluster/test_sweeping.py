"""Media of a cluster: the leader sweeps what nobody uses from the common store."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from timewire import attachments
from timewire.auth import mint
from timewire.backends.jetstream import Names
from timewire.cluster import init
from timewire.cluster.gateway import Gateway
from timewire.testing.devices import eventually, raw_device

from .test_together import SECRET, config, gateway, live, working

ORPHAN_S = 1.0


async def upload(one: Gateway, data: bytes) -> str:
    """Alice uploads a file; its name."""
    headers = {"Authorization": f"Bearer {mint(SECRET, 'alice')}"}
    url = one.url + "/v1/media"
    async with aiohttp.ClientSession() as http, http.post(url, data=data, headers=headers) as done:
        assert done.status < 300, await done.text()
        return (await done.json())["media"]


async def found(one: Gateway, name: str) -> int:
    """The status of Alice's asking for a file."""
    headers = {"Authorization": f"Bearer {mint(SECRET, 'alice')}"}
    url = f"{one.url}/v1/media/{name}"
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        return answer.status


async def test_what_nobody_uses_goes_and_what_is_used_stays(
    tmp_path: Path, nats_url: str, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "SWEEP_PAUSE_S", 0.1)
    files = tmp_path / "files"
    files.mkdir()
    media = {"media_store": f"file://{files}", "media_orphan_hours": ORPHAN_S / 3600}
    w1, g1, g2 = (config(tmp_path, name, nats_url, **media) for name in ("w1", "g1", "g2"))
    await init(nats_url, 1, names)
    async with (
        working(w1, names),
        gateway(g1, names) as one,
        gateway(g2, names) as two,
        raw_device(one.url) as alice,
    ):
        await live(alice, "alice")
        used = await upload(one, b"used")
        body = {"media": used, "name": "used.txt"}
        sent = await alice.ask("send", id="1", to="self:alice", kind="file", body=body)
        assert sent["type"] == "ack", sent
        unused = await upload(two, b"unused")
        assert {path.name for path in files.iterdir()} == {used, unused}
        await eventually(lambda: [path.name for path in files.iterdir()] == [used])
        assert await found(two, used) == 200
        assert await found(one, unused) == 404
        # It may come again, and stays for its time.
        assert await upload(one, b"unused") == unused
        assert await found(two, unused) == 200
