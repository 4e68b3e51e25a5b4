"""Devices and revocations over HTTP."""

import asyncio
from typing import Any

from prometheus_client import generate_latest

from timewire.auth import mint
from timewire.testing.devices import eventually, raw_device


async def test_one_lists_and_logs_out_ones_devices(http: Any) -> None:
    token = mint(http.server.keys.secret, "alice")
    async with raw_device(http.server.url) as phone:
        await phone.hello(token, "phone")
        listed = await http.user("alice").get("/v1/devices")
        assert [one["device"] for one in listed.json["devices"]] == ["phone"]
        unknown = await http.user("alice").delete("/v1/devices/tv")
        assert (unknown.status, unknown.code) == (404, "unknown_device")
        foreign = await http.user("bob").delete("/v1/devices/phone")
        assert (foreign.status, foreign.code) == (404, "unknown_device")
        left = await http.user("alice").delete("/v1/devices/phone")
        assert (left.status, left.json["devices"]) == (200, [])
        assert await phone.closed() == 4202


async def test_the_backend_revokes(http: Any) -> None:
    alice = http.user("alice")
    claims = http.server._verify(alice.credentials, None)
    assert (await alice.get("/v1/devices")).status == 200
    refused = await alice.post("/v1/revocations", {"user": "bob"})
    assert (refused.status, refused.code) == (401, "bad_admin_key")
    done = await http.backend().post("/v1/revocations", {"token": claims.id})
    assert (done.status, done.json) == (200, {"revoked": True})
    gone = await alice.get("/v1/devices")
    assert (gone.status, gone.code) == (401, "token_revoked")
    assert (await http.user("alice").get("/v1/devices")).status == 200
    none = await http.backend().post("/v1/revocations", {})
    assert (none.status, none.code) == (400, "bad_frame")


async def test_a_poll_that_waits_tells_nothing_to_who_was_revoked_meanwhile(http: Any) -> None:
    alice = http.user("alice")
    now = (await alice.get("/v1/sync")).json["cursor"]
    poll = asyncio.create_task(alice.get("/v1/sync", **now, wait=20))
    await eventually(lambda: "timewire_polls 1.0" in generate_latest().decode())
    await http.backend().post("/v1/revocations", {"user": "alice"})
    await http.user("bob").send("direct:alice:bob", "1", "secret")
    answer = await poll
    assert (answer.status, answer.code) == (401, "token_revoked")
