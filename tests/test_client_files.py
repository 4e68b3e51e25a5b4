"""The SDK's uploads and downloads, against real servers."""

import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from timewire.auth import mint
from timewire.client import Client, Media, connect
from timewire.client.files import http_url
from timewire.errors import Damaged, Forbidden, Invalid, NotFound, Retryable
from timewire.server import Server
from timewire.testing.servers import running_server, serving

DATA = bytes(n % 251 for n in range(900_000))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path / "data", media_mb=1) as running:
        yield running


def device(server: Server, user: str) -> Client:
    return connect(server.url, mint(server.keys.secret, user), device="laptop")


async def test_a_photo_is_shared(server: Server, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (400, 300), "red").save(photo)
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        media = await alice.upload(photo)
        assert (media.type, media.width, media.height) == ("image/jpeg", 400, 300)
        assert await alice.upload(str(photo)) == media
        with pytest.raises(NotFound) as refused:
            await bob.download(media)
        assert refused.value.code == "unknown_media"
        await alice.send("direct:alice:bob", {"media": media.media}, kind="image")
        assert await bob.download(media.media) == photo.read_bytes()
        small = await bob.download(media, size=64)
        with Image.open(io.BytesIO(small)) as image:
            assert image.size == (64, 48)


async def test_bytes_go_up_and_come_down_in_pieces(server: Server) -> None:
    async with device(server, "alice") as alice:
        media = await alice.upload(DATA, type="application/zip")
        assert media == Media(hashlib.sha256(DATA).hexdigest(), len(DATA), "application/zip")
        pieces = [piece async for piece in alice.stream(media)]
        assert b"".join(pieces) == DATA
        assert len(pieces) > 1
        assert (await alice.upload(b"text")).type == "application/octet-stream"


async def test_what_is_refused_is_a_typed_error(server: Server) -> None:
    async with device(server, "alice") as alice:
        with pytest.raises(Invalid) as large:
            await alice.upload(b"x" * ((1 << 20) + 1))
        assert (large.value.code, large.value.fields) == ("media_too_large", {"limit": 1 << 20})
        with pytest.raises(Invalid) as other:
            await alice.upload(b"<html>", type="image/png")
        assert other.value.code == "bad_media_type"
        with pytest.raises(FileNotFoundError):
            await alice.upload("no such file")
        media = await alice.upload(b"text", type="text/plain")
        with pytest.raises(Invalid) as none:
            await alice.download(media, size=64)
        assert none.value.code == "bad_media_type"
        with pytest.raises(NotFound):
            await alice.download("../../secret")


async def test_a_file_that_changed_on_its_way_is_noticed(server: Server, tmp_path: Path) -> None:
    async with device(server, "alice") as alice:
        media = await alice.upload(b"text", type="text/plain")
        kept = tmp_path / "data" / "media" / media.media[:2] / media.media
        kept.write_bytes(b"tExt")
        with pytest.raises(Damaged):
            await alice.download(media)


async def test_a_token_that_is_refused_is_renewed_once(server: Server) -> None:
    given: list[str] = []

    async def token() -> str:
        given.append(mint(server.keys.secret, "alice"))
        return given[-1]

    async with connect(server.url, token, device="laptop") as alice:
        alice._driver._token = "stale"
        media = await alice.upload(b"text")
        assert await alice.download(media) == b"text"
        assert len(given) == 2
    async with device(server, "alice") as alice:
        alice._driver._token = alice._driver._source = "stale"
        with pytest.raises(Forbidden) as refused:
            await alice.upload(b"text")
        assert refused.value.code == "bad_token"


async def test_without_a_server_it_may_be_tried_again(tmp_path: Path) -> None:
    async with (
        running_server(tmp_path / "data") as server,
        connect(server.url, server.token("alice"), device="laptop") as alice,
    ):
        media = await alice.upload(b"text")
        await server.kill()
        with pytest.raises(Retryable):
            await alice.upload(b"text")
        with pytest.raises(Retryable):
            await alice.download(media)
        await server.start()
        assert await alice.upload(b"text") == media
        assert await alice.download(media) == b"text"


@pytest.mark.parametrize(
    ("url", "http"),
    [
        ("http://a:1", "http://a:1"),
        ("https://a/", "https://a"),
        ("wss://a/chat/v1/ws", "https://a/chat"),
        ("ws://[::1]:7/v1/ws", "http://[::1]:7"),
    ],
)
def test_where_http_is(url: str, http: str) -> None:
    assert http_url(url) == http
