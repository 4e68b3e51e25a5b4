"""What was answered over HTTP holds after a restart, on the store that a server really has."""

from pathlib import Path

import aiohttp

from tests.api.conftest import Http
from timewire.config import Config
from timewire.server import Server


async def test_acks_ids_tokens_and_cursors_survive_a_restart(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path), port=0)
    server = await Server.start(config)
    async with aiohttp.ClientSession(server.url) as session:
        http = Http(server, session, None)
        made = await http.backend().post("/v1/tokens", {"user": "bob"})
        bob = http.bearer(made.json["token"])
        alice = http.user("alice")
        await alice.create("team", "bob")
        cursor = (await bob.get("/v1/sync")).json["cursor"]
        sent = await alice.send("team", "once")
        await server.aclose()

    server = await Server.start(config)
    async with aiohttp.ClientSession(server.url) as session:
        http = Http(server, session, None)
        ready = await http.get("/readyz")
        page = await http.bearer(made.json["token"]).get("/v1/sync", wait=30, **cursor)
        again = await http.user("alice").send("team", "once")
        history = await http.user("bob").get(
            "/v1/conversations/team/messages", after=sent.json["seq"] - 1
        )
        await server.aclose()

    assert ready.json["ready"] is True
    assert [one["seq"] for one in page.json["messages"]] == [sent.json["seq"]]
    assert again.json == sent.json
    assert [one["id"] for one in history.json["messages"]] == ["once"]
