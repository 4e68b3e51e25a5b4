"""A real server on a free port, and calls to it over real HTTP."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from timewire.auth import mint
from timewire.backends.memory import MemoryIndex, MemoryStore
from timewire.config import Config
from timewire.server import Server

ORIGIN = "https://chat.example.com"


class Answer(msgspec.Struct):
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """Of an error."""
        assert self.json["type"] == "error"
        return self.json["code"]


class Http:
    """Calls a server, as one user or as the product's backend."""

    def __init__(
        self, server: Server, session: aiohttp.ClientSession, credentials: str | None
    ) -> None:
        self.server = server
        self.session = session
        self.credentials = credentials

    def user(self, name: str) -> "Http":
        return Http(self.server, self.session, mint(self.server.keys.secret, name))

    def backend(self) -> "Http":
        return Http(self.server, self.session, self.server.keys.admin_key)

    def bearer(self, credentials: str | None) -> "Http":
        return Http(self.server, self.session, credentials)

    async def call(
        self, method: str, path: str, json: Any = None, headers: Any = None, **options: Any
    ) -> Answer:
        headers = dict(headers or {})
        if self.credentials is not None:
            headers["Authorization"] = f"Bearer {self.credentials}"
        if json is not None:
            options["json"] = json
        async with self.session.request(method, path, headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **params: Any) -> Answer:
        return await self.call("GET", path, params={key: str(one) for key, one in params.items()})

    async def post(self, path: str, json: Any, **params: str) -> Answer:
        return await self.call("POST", path, json, params=params)

    async def delete(self, path: str, **params: str) -> Answer:
        return await self.call("DELETE", path, params=params)

    async def create(self, conversation: str, *members: str, id: str = "create") -> Answer:
        body = {"id": id, "conversation": conversation, "members": members}
        return await self.post("/v1/conversations", body)

    async def send(self, to: str, id: str, text: str = "hello", **more: Any) -> Answer:
        return await self.post("/v1/messages", {"id": id, "to": to, "body": {"text": text}, **more})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(bucket_ms=1)


@pytest.fixture
async def start(tmp_path: Path, store: MemoryStore) -> AsyncIterator[Callable[..., Any]]:
    """Starts servers with settings of the test's own."""
    servers: list[tuple[Server, aiohttp.ClientSession]] = []

    async def start(**settings: Any) -> Http:
        config = Config(data=str(tmp_path), port=0, **settings)
        server = await Server.start(config, store=store, index=MemoryIndex())
        session = aiohttp.ClientSession(server.url)
        servers.append((server, session))
        return Http(server, session, None)

    yield start
    for server, session in servers:
        await server.aclose()
        await session.close()


@pytest.fixture
async def http(start: Callable[..., Any]) -> Http:
    return await start(origins=(ORIGIN,))
