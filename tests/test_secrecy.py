"""What a server writes to its log over a whole run: no token, no key, no word of a message."""

from pathlib import Path
from typing import Any

import aiohttp

from timewire.testing.devices import raw_device
from timewire.testing.servers import running_server

WORD = "xyzzy-plugh"


async def test_a_whole_run_leaves_no_secret_in_the_log(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", log_level="debug") as server:
        token = server.token("alice")
        admin = (tmp_path / "data" / "admin-key").read_text().strip()
        secret = (tmp_path / "data" / "secret").read_text().strip()
        async with raw_device(server.url) as device, raw_device(server.url) as broken:
            await device.hello(token, "phone")
            for body in ({"text": WORD}, {WORD: 1}, [WORD], WORD):
                await device.send("send", id=WORD, to="self:alice", body=body)
            await device.ask("search", id="1", text=WORD)
            await device.ask("renew", id="2", token=token)
            await device.ask("renew", id="3", token=token + WORD)
            await device.raw(f'{{"type": "{WORD}", "id": "{WORD}"')
            await device.raw(WORD.encode())
            await broken.send("hello", token=token[:-2] + WORD, device="phone")
            assert await broken.closed() == 4100
            assert (await device.ask("ping", id="p"))["type"] == "pong"
        async with aiohttp.ClientSession(server.url) as http:
            await _call(http, token)
            await _call(http, admin)
            await _call(http, token + WORD)
            async with http.get(f"/v1/ws?token={token}&{WORD}") as refused:
                assert refused.status >= 400
        assert await server.stop() == 0
    log = server.log.read_text()
    assert '"listening"' in log
    signature = token.rpartition(".")[2]
    for hidden in (WORD, token, signature, admin, secret, "xyzzy"):
        assert hidden not in log


async def _call(http: aiohttp.ClientSession, credentials: str) -> None:
    """Everything that can be got wrong, once."""
    headers = {"Authorization": f"Bearer {credentials}"}
    bodies: list[Any] = [{"to": "self:alice", "id": "h", "body": {"text": WORD}}, [WORD], WORD]
    for body in bodies:
        for path in ("/v1/messages", f"/v1/{WORD}", f"/v1/messages?as={WORD}&token={credentials}"):
            async with http.post(path, json=body, headers=headers) as answer:
                await answer.read()
    async with http.post("/v1/messages", data=WORD.encode(), headers=headers) as answer:
        await answer.read()
