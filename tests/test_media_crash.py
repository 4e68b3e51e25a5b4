"""A server that is killed in the middle of uploads: whole files, or none."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from timewire.testing.devices import eventually
from timewire.testing.servers import ServerProcess, running_server

DATA = b"0123456789abcdef" * 65_536
NAME = hashlib.sha256(DATA).hexdigest()


def spooled(data: Path) -> list[Path]:
    incoming = data / "media" / "incoming"
    return list(incoming.iterdir()) if incoming.exists() else []


def shelved(data: Path) -> list[Path]:
    return [path for path in (data / "media").glob("??/*") if path.is_file()]


async def status(server: ServerProcess, name: str, user: str = "alice") -> int:
    headers = {"Authorization": f"Bearer {server.token(user)}"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/v1/media/{name}", headers=headers) as response,
    ):
        if response.status == 200:
            assert hashlib.sha256(await response.read()).hexdigest() == name
        return response.status


async def test_a_kill_in_the_middle_of_an_upload_leaves_no_half_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running_server(data) as server, aiohttp.ClientSession() as http:

        async def half() -> AsyncIterator[bytes]:
            yield DATA[: len(DATA) // 2]
            await asyncio.sleep(60)

        headers = {"Authorization": f"Bearer {server.token('alice')}"}
        under_way = asyncio.create_task(
            http.post(f"{server.url}/v1/media", data=half(), headers=headers)
        )
        await eventually(lambda: any(path.stat().st_size for path in spooled(data)))
        await server.kill()
        await asyncio.gather(under_way, return_exceptions=True)
        assert shelved(data) == []
        assert spooled(data)
        await server.start()
        assert spooled(data) == [], "what was left is gone at the next start"
        assert await status(server, NAME) == 404


async def test_what_was_answered_outlives_kills(tmp_path: Path) -> None:
    """Uploads one after the other, and kills at any moment: answered means kept."""
    data = tmp_path / "data"
    async with running_server(data) as server:
        answered: list[str] = []
        number = 0

        async def work() -> None:
            nonlocal number
            async with aiohttp.ClientSession() as http:
                headers = {"Authorization": f"Bearer {server.token('alice')}"}
                while True:
                    number += 1
                    body = b"%d" % number * 20_000
                    url = f"{server.url}/v1/media"
                    async with http.post(url, data=body, headers=headers) as response:
                        if response.status == 200:
                            answered.append((await response.json())["media"])

        for life in range(1, 4):
            task = asyncio.create_task(work())
            await eventually(lambda wanted=10 * life: len(answered) >= wanted)
            await server.kill()
            await asyncio.gather(task, return_exceptions=True)
            await server.start()
        for name in answered:
            assert await status(server, name) == 200
        for path in shelved(data):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
