"""Uploads and downloads over real HTTP: what is taken, who gets it, in what headers, in parts."""

import asyncio
import hashlib
import io
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from timewire.api import files as module
from timewire.attachments import File
from timewire.auth import mint
from timewire.testing.devices import eventually

DATA = bytes(n % 251 for n in range(700_000))


def png(size: tuple[int, int] = (30, 20)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "blue").save(file, "PNG")
    return file.getvalue()


async def upload(http: Any, data: Any, type: str | None = None, **headers: str) -> Any:
    if type is not None:
        headers["Content-Type"] = type
    options: dict[str, Any] = {} if type is not None else {"skip_auto_headers": ["Content-Type"]}
    return await http.call("POST", "/v1/media", headers=headers, data=data, **options)


async def uploaded(http: Any, data: bytes = DATA, type: str = "application/pdf") -> str:
    answer = await upload(http, data, type)
    assert answer.status == 200, answer.body
    return answer.json["media"]


async def fetch(http: Any, name: str, method: str = "GET", query: str = "", **headers: str) -> Any:
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return await http.call(method, f"/v1/media/{name}{query}", headers=headers)


# -- uploads ------------------------------------------------------------------------------------


async def test_what_is_uploaded_can_be_downloaded(http: Any) -> None:
    alice = http.user("alice")
    answer = await upload(alice, DATA, "application/pdf")
    name = hashlib.sha256(DATA).hexdigest()
    assert answer.json == {"media": name, "bytes": len(DATA), "type": "application/pdf"}
    got = await fetch(alice, name)
    assert (got.status, got.body) == (200, DATA)
    image = await upload(alice, png(), "application/octet-stream")
    assert {key: image.json[key] for key in ("type", "width", "height")} == {
        "type": "image/png",
        "width": 30,
        "height": 20,
    }


async def test_an_upload_may_come_in_chunks_without_a_length(http: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 10_000):
            yield DATA[start : start + 10_000]

    answer = await upload(http.user("alice"), chunks(), "text/plain")
    assert answer.json["media"] == hashlib.sha256(DATA).hexdigest()


async def test_who_may_upload(http: Any) -> None:
    assert (await upload(http, b"x", "text/plain")).code == "bad_token"
    assert (await upload(http.bearer("x"), b"x", "text/plain")).status == 401
    assert (await upload(http.backend(), b"x", "text/plain")).code == "bad_token"
    answer = await http.backend().call("POST", "/v1/media", data=b"x", params={"as": "bot"})
    assert answer.status == 200
    assert (await fetch(http.user("bot"), answer.json["media"])).body == b"x"


async def test_too_large(start: Callable[..., Any]) -> None:
    http = await start(media_mb=1)
    alice = http.user("alice")
    largest = b"x" * (1 << 20)
    assert (await upload(alice, largest, "text/plain")).status == 200
    answer = await upload(alice, largest + b"x", "text/plain")
    assert (answer.status, answer.code) == (413, "media_too_large")
    assert answer.json["fields"] == {"limit": 1 << 20}

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b"x" * 65_536

    answer = await upload(alice, chunks(), "text/plain")
    assert (answer.status, answer.code) == (413, "media_too_large")


async def test_a_body_that_unpacks_beyond_the_limit(start: Callable[..., Any]) -> None:
    http = await start(media_mb=1)
    headers = {"Content-Type": "text/plain"}
    answer = await http.user("alice").call(
        "POST", "/v1/media", headers=headers, data=b"\0" * 5_000_000, compress="gzip"
    )
    assert (answer.status, answer.code) == (413, "media_too_large")


async def test_types(start: Callable[..., Any]) -> None:
    http = await start(media_types=("image/*", "text/plain"))
    alice = http.user("alice")
    assert (await upload(alice, b"x", "text/plain")).status == 200
    assert (await upload(alice, png(), "text/html")).json["type"] == "image/png"
    for data, type in (
        (b"x", "text/html"),
        (b"x", None),
        (b"<html>", "image/png"),
        (b"x", "multipart/form-data; boundary=b"),
    ):
        answer = await upload(alice, data, type)
        assert (answer.status, answer.code) == (415, "bad_media_type")


async def test_an_upload_that_breaks_off_leaves_nothing(http: Any, tmp_path: Path) -> None:
    host, port = http.server.url.removeprefix("http://").split(":")
    token = mint(http.server.keys.secret, "alice")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    writer.write(head.encode() + b"Content-Length: 1000000\r\n\r\n" + b"x" * 300_000)
    await writer.drain()
    incoming = tmp_path / "media" / "incoming"
    await eventually(lambda: incoming.exists() and bool(list(incoming.iterdir())))
    writer.close()
    await eventually(lambda: not list(incoming.iterdir()))
    assert await http.server._attachments._store.names() == []


async def test_transfers_are_bounded(http: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRANSFERS_A_USER", 2)
    alice, go = http.user("alice"), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await go.wait()

    under_way = [asyncio.create_task(upload(alice, slow(), "text/plain")) for _ in range(2)]
    transfers = http.server._api._files._transfers
    await eventually(lambda: transfers["alice"] == 2)
    refused = await upload(alice, b"y", "text/plain")
    assert (refused.status, refused.code) == (503, "too_busy")
    assert (await upload(http.user("bob"), b"y", "text/plain")).status == 200
    go.set()
    assert [one.status for one in await asyncio.gather(*under_way)] == [200, 200]
    assert not transfers


async def test_a_silent_upload_ends(http: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_TIMEOUT_S", 0.05)

    async def silent() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(30)

    answer = await upload(http.user("alice"), silent(), "text/plain")
    assert (answer.status, answer.code) == (400, "bad_frame")


# -- messages -----------------------------------------------------------------------------------


async def test_a_message_shares_what_its_sender_can_see(http: Any) -> None:
    alice, bob, eve = http.user("alice"), http.user("bob"), http.user("eve")
    await alice.create("team", "bob")
    name = await uploaded(alice)

    async def send(user: Any, id: str, media: Any, to: str = "team") -> Any:
        return await user.post("/v1/messages", {"id": id, "to": to, "body": {"media": media}})

    refused = await send(bob, "1", name)
    assert (refused.status, refused.code) == (404, "unknown_media")
    unknown = await send(bob, "2", "0" * 64)
    assert refused.json["message"] == unknown.json["message"], "nothing can be probed"
    assert (await fetch(bob, name)).status == (await fetch(bob, "0" * 64)).status == 404
    assert (await send(bob, "3", [1])).code == "bad_body"

    sent = await send(alice, "4", name)
    assert (await send(alice, "4", name)).json == sent.json
    assert (await fetch(bob, name)).body == DATA
    assert (await fetch(eve, name)).code == "unknown_media"
    assert (await send(eve, "5", name, "direct:bob:eve")).code == "unknown_media"
    page = (await eve.get("/v1/conversations")).json
    assert "direct:bob:eve" not in [one["conversation"] for one in page["conversations"]]
    assert (await send(bob, "6", [name, name], "direct:bob:eve")).status == 200
    assert (await fetch(eve, name)).status == 200


async def test_the_system_may_share_all_there_is(http: Any) -> None:
    name = await uploaded(http.user("alice"))
    body = {"id": "1", "to": "direct:bob:carol", "body": {"media": name}}
    assert (await http.backend().post("/v1/messages", body, **{"as": "bot"})).status == 200
    assert (await fetch(http.user("bob"), name)).status == 200
    got = await http.backend().call("GET", f"/v1/media/{name}", params={"as": "bot"})
    assert got.body == DATA
    body = {"id": "2", "to": "direct:bob:carol", "body": {"media": "0" * 64}}
    assert (await http.backend().post("/v1/messages", body, **{"as": "bot"})).status == 404


# -- downloads ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "type", "shown"),
    [
        (png(), "image/png", True),
        (b"<script>alert(1)</script>", "text/html", False),
        (b"<svg onload='alert(1)'/>", "image/svg+xml", False),
        (b"%PDF", "application/pdf", False),
        (b"alert(1)", "text/javascript", False),
    ],
)
async def test_nothing_runs_in_a_page(http: Any, data: bytes, type: str, shown: bool) -> None:
    alice = http.user("alice")
    got = await fetch(alice, await uploaded(alice, data, type))
    assert got.headers["Content-Type"] == type
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert got.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert got.headers["Server"] == "timewire"
    assert got.headers.get("Content-Disposition") == (None if shown else "attachment")


async def test_thumbnails(http: Any) -> None:
    alice = http.user("alice")
    name = await uploaded(alice, png((400, 300)), "image/png")
    got = await fetch(alice, name, query="?size=100")
    assert got.headers["Content-Type"] == "image/webp"
    with Image.open(io.BytesIO(got.body)) as image:
        assert image.size == (128, 96)
    for size in ("63", "1025", "x", "-1"):
        assert (await fetch(alice, name, query=f"?size={size}")).code == "bad_frame"
    text = await uploaded(alice, b"text", "text/plain")
    refused = await fetch(alice, text, query="?size=100")
    assert (refused.status, refused.code) == (415, "bad_media_type")
    assert (await fetch(http.user("eve"), name, query="?size=100")).status == 404


async def test_who_has_it_need_not_get_it_again(http: Any) -> None:
    alice = http.user("alice")
    name = await uploaded(alice)
    tag = (await fetch(alice, name)).headers["ETag"]
    for given_tag in (tag, f'"x", {tag}'):
        got = await fetch(alice, name, If_None_Match=given_tag)
        assert (got.status, got.body, got.headers["ETag"]) == (304, b"", tag)
    assert (await fetch(alice, name, If_None_Match='"other"')).status == 200
    assert (await fetch(http.user("eve"), name, If_None_Match=tag)).status == 404


async def test_head_says_what_get_would(http: Any) -> None:
    alice = http.user("alice")
    name = await uploaded(alice)
    got = await fetch(alice, name, "HEAD")
    assert (got.status, got.body, got.headers["Content-Length"]) == (200, b"", str(len(DATA)))
    got = await fetch(alice, name, "HEAD", Range="bytes=0-9")
    assert (got.status, got.headers["Content-Length"]) == (206, "10")
    assert (await fetch(http.user("eve"), name, "HEAD")).status == 404
    assert (await fetch(alice, name)).body == DATA, "the connection is in step"


@pytest.mark.parametrize(
    ("header", "first", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 700_000),
        ("bytes=699999-", 699_999, 700_000),
        ("bytes=100-300000", 100, 300_001),
        ("bytes=5-99999999999", 5, 700_000),
        ("bytes=-7", 699_993, 700_000),
        ("bytes=-999999999", 0, 700_000),
    ],
)
async def test_parts(http: Any, header: str, first: int, stop: int) -> None:
    alice = http.user("alice")
    name = await uploaded(alice)
    got = await fetch(alice, name, Range=header)
    assert (got.status, got.body) == (206, DATA[first:stop])
    assert got.headers["Content-Range"] == f"bytes {first}-{stop - 1}/{len(DATA)}"
    tag = got.headers["ETag"]
    assert (await fetch(alice, name, Range=header, If_Range=tag)).status == 206
    assert (await fetch(alice, name, Range=header, If_Range='"x"')).body == DATA


async def test_parts_that_there_are_not(http: Any) -> None:
    alice = http.user("alice")
    name, empty = await uploaded(alice), await uploaded(alice, b"", "text/plain")
    for of, header in ((name, "bytes=700000-"), (name, "bytes=-0"), (empty, "bytes=0-")):
        got = await fetch(alice, of, Range=header)
        assert (got.status, got.code) == (416, "bad_media_range")
        size = 0 if of == empty else len(DATA)
        assert got.headers["Content-Range"] == f"bytes */{size}"
    for header in ("bytes=5-2", "bytes=0-1,5-6", "bytes=-", "items=0-1", "bytes=a-b", "0-1"):
        got = await fetch(alice, name, Range=header)
        assert (got.status, got.body) == (200, DATA)


class _Asks:
    """A request of which only the headers are looked at."""

    def __init__(self, value: str) -> None:
        self.headers = {"Range": value}


_numbers = st.one_of(st.just(""), st.integers(0, 30).map(str), st.integers(0, 10**18).map(str))


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(max_size=20),
        st.builds("bytes={}-{}".format, _numbers, _numbers),
        st.builds(" bytes={}-{} ".format, _numbers, _numbers),
    ),
    st.integers(0, 20),
)
def test_any_range_is_a_part_of_the_file_or_none(header: str, size: int) -> None:
    found = module._range(_Asks(header), File("a" * 64, size, "x/y"))  # pyright: ignore
    if found is None or not found:
        return
    assert 0 <= found.start < found.stop <= size
    assert re.fullmatch(r"bytes=\d*-\d*", header.strip())


async def test_fuzzed_headers_are_never_a_fault_of_the_server(http: Any) -> None:
    alice = http.user("alice")
    name = await uploaded(alice, DATA[:1000])
    odd = ["", " ", "x" * 3000, "\t", "é", "0", "-1", "bytes=", "*/*", 'W/"x"', "a/b;c=d;;"]
    for value in odd:
        for header in ("Range", "If-Range", "If-None-Match", "Accept", "Accept-Encoding"):
            got = await fetch(alice, name, **{header.replace("-", "_"): value})
            assert got.status in (200, 206, 416, 400), (header, value, got.status)
        for header in ("Content-Type", "Content-Language", "Content-Range"):
            got = await upload(alice, b"data", None, **{header: value})
            assert got.status in (200, 400, 415), (header, value, got.status)
    for path in ("..", "%2e%2e", "a" * 5000, "%00", "%ff", name.upper(), name + ".64", "a/b"):
        got = await fetch(alice, path)
        assert got.status in (400, 404), (path, got.status)


async def test_pages_of_the_products_origin_may_use_it(http: Any) -> None:
    alice = http.user("alice")
    name = await uploaded(alice)
    origin = "https://chat.example.com"
    got = await fetch(alice, name, Origin=origin)
    assert got.headers["Access-Control-Allow-Origin"] == origin
    assert got.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    asked = await http.call(
        "OPTIONS",
        f"/v1/media/{name}",
        headers={"Origin": origin, "Access-Control-Request-Method": "GET"},
    )
    assert "Range" in asked.headers["Access-Control-Allow-Headers"]


async def test_a_file_that_is_gone_is_told_before_the_answer_begins(http: Any) -> None:
    alice = http.user("alice")
    name = await uploaded(alice)
    await http.server._attachments._store.delete(name)
    assert (await fetch(alice, name)).code == "unknown_media"


async def test_who_does_not_take_what_comes_is_left(
    http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE_TIMEOUT_S", 0.2)
    alice = http.user("alice")
    name = await uploaded(alice, b"x" * 30_000_000, "text/plain")
    token = mint(http.server.keys.secret, "alice")
    async with (
        aiohttp.ClientSession(http.server.url, read_bufsize=1024) as session,
        session.get(f"/v1/media/{name}", headers={"Authorization": f"Bearer {token}"}) as response,
    ):
        transfers = http.server._api._files._transfers
        await eventually(lambda: not transfers)
        with pytest.raises((aiohttp.ClientError, OSError)):
            await response.read()
