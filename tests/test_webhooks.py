"""Webhooks: what is told, how it is signed, and that nothing is lost, whatever an endpoint does."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from timewire import admin, cli
from timewire.auth import mint
from timewire.client import Client, connect
from timewire.errors import TimewireError
from timewire.hooks import _Endpoints
from timewire.server import Server
from timewire.signing import Signer, secret_of
from timewire.testing.servers import ServerProcess, running_server, serving
from timewire.webhooks import events, ledger, posting
from timewire.webhooks.ledger import FileLedger, Parked, Progress
from timewire.webhooks.service import endpoint_name, find_secrets

SECRET = secret_of("a secret of more than twenty-four bytes")
WAIT_S = 30.0

Event = dict[str, Any]


class Product:
    """A product's server: keeps what it takes, and takes what ``status`` gives 200 for."""

    def __init__(self) -> None:
        self.url = ""
        self.taken: list[Event] = []
        self.asked: Counter[str] = Counter()
        self.status: Callable[[Event], int] = lambda event: 200
        self.changed = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        id, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        mac = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        assert (
            f"v1,{base64.b64encode(mac).decode()}" in request.headers["webhook-signature"].split()
        )
        event = json.loads(body) | {"id": id}
        self.asked[id] += 1
        status = self.status(event)
        if status == 200:
            self.taken.append(event)
        self.changed.set()
        return web.Response(status=status)

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not done():
                self.changed.clear()
                await self.changed.wait()

    def texts(self, conversation: str = "team") -> list[str]:
        """What was said, once each, in the order in which it first came."""
        messages = [one["data"] for one in self.taken if one["type"] == "message"]
        said = [m["body"]["text"] for m in messages if m["conversation"] == conversation]
        return list(dict.fromkeys(said))

    def of(self, type: str) -> list[Event]:
        return [event for event in self.taken if event["type"] == type]


@asynccontextmanager
async def product(port: int = 0) -> AsyncGenerator[Product]:
    made = Product()
    application = web.Application()
    application.router.add_post("/hook", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(posting, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(posting, "MAX_PAUSE_S", 0.01)


def settings(one: Product, **more: Any) -> dict[str, Any]:
    wanted = ("message", "change", "offline")
    known = {"webhooks": (one.url,), "webhook_secret": SECRET, "webhook_events": wanted}
    return known | {"webhooks_per_second": 10_000} | more


def device(server: Server, user: str) -> Client:
    return connect(server.url, mint(server.keys.secret, user), device="laptop")


async def call(server: Server, method: str, path: str, **fields: Any) -> _Endpoints:
    import msgspec

    asks = msgspec.defstruct("Asks", list(fields))(**fields) if fields else None
    key = server.keys.admin_key
    return await admin.call(method, server.url, path, key, _Endpoints, asks=asks)


# Signing and remembering -----------------------------------------------------------------------


def test_the_signature_is_that_of_the_standard() -> None:
    signer = Signer("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signer.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330_000, b'{"test": 2432232314}'
    )
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_every_secret_signs() -> None:
    both = Signer(f"{SECRET} {secret_of('x' * 32)}").headers("1", 0, b"")["webhook-signature"]
    assert both.split()[0] == Signer(SECRET).headers("1", 0, b"")["webhook-signature"]
    assert len(set(both.split())) == 2


@pytest.mark.parametrize("bad", ["whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "c2hvcnQ=" * 8])
def test_a_bad_secret(bad: str) -> None:
    with pytest.raises(TimewireError) as caught:
        Signer(bad)
    assert caught.value.code == "bad_config"


def test_the_name_of_an_endpoint_holds_no_secret() -> None:
    url = "https://me:password@app.example:8443/hook/?token=secret"
    assert endpoint_name(url) == "app.example:8443/hook"


def test_what_is_remembered(tmp_path: Path) -> None:
    kept = FileLedger(tmp_path / "kept.json")
    progress = kept.progress("a", "one", 7)
    assert progress == Progress("one", 7)
    progress.position = 9
    progress.parked.append(Parked("one_8", "message", 8, 3, "no", 0))
    kept.write(kept.encode())
    again = FileLedger(tmp_path / "kept.json")
    assert again.progress("a", "one", 20) == progress
    assert again.progress("b", "one", 20).position == 20
    assert again.progress("a", "one", 5).position == 5


def test_a_log_of_another_life(tmp_path: Path) -> None:
    kept = FileLedger(tmp_path / "kept.json")
    parked = [Parked(f"one_{n}_offline_0", "offline", n, 3, "no", 0) for n in (4, 8)]
    kept.progress("a", "one", 9).parked = parked
    progress = kept.progress("a", "two", 5)
    assert (progress.epoch, progress.position) == ("two", 5)
    assert [one.id for one in progress.parked] == ["two_4_offline_0"]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text("{")
    with pytest.raises(TimewireError) as caught:
        FileLedger(tmp_path / "kept.json")
    assert caught.value.code == "directory_unusable"


# What is told ----------------------------------------------------------------------------------


async def test_messages_and_changes_are_told_as_clients_see_them(tmp_path: Path) -> None:
    async with (
        product() as mine,
        serving(tmp_path, **settings(mine)) as server,
        device(server, "alice") as me,
    ):
        await me.create("team", ["bob"])
        sent = await me.send("team", "Hello 你好")
        await me.edit("team", sent.seq, {"text": "Hello"})
        await me.mark_read("team", sent.seq)
        await me.recall("team", sent.seq)
        await mine.until(lambda: len(mine.of("change")) == 3)
        [said] = mine.of("message")
        assert said["data"]["from"] == "alice"
        assert said["data"]["seq"] == sent.seq
        assert said["id"].endswith(f"_{sent.seq}")
        assert [one["data"]["kind"] for one in mine.of("change")] == [
            "created",
            "edited",
            "recalled",
        ]
        [endpoint] = (await call(server, "GET", "/v1/webhooks")).endpoints
        assert endpoint.endpoint == endpoint_name(mine.url)
        assert endpoint.parked == []


async def test_only_what_is_wanted(tmp_path: Path) -> None:
    wanted = settings(product_ := Product(), webhook_events=("message",))
    async with product() as mine:
        wanted["webhooks"] = (mine.url,)
        async with serving(tmp_path, **wanted) as server, device(server, "alice") as me:
            await me.create("team", ["bob"])
            await me.send("team", "one")
            await mine.until(lambda: mine.texts() == ["one"])
        assert {one["type"] for one in mine.taken} == {"message"}
    assert not product_.taken


async def test_offline_names_who_has_no_device_here(tmp_path: Path) -> None:
    async with (
        product() as mine,
        serving(tmp_path, **settings(mine)) as server,
        device(server, "alice") as me,
        device(server, "bob"),
    ):
        await me.create("team", ["bob", "carol", "dave"], title="The team")
        sent = await me.send("team", "Where are you?", mentions=["dave"])
        await mine.until(lambda: bool(mine.of("offline")))
        [event] = mine.of("offline")
        notice = event["data"]
        assert notice["users"] == [{"user": "carol"}, {"user": "dave", "mentioned": True}]
        assert (notice["title"], notice["preview"]) == ("The team", "Where are you?")
        assert (notice["kind"], notice["sender"]) == ("group", "alice")
        assert notice["message"]["seq"] == sent.seq
        await me.send("direct:alice:bob", "here")
        await me.send("self:alice", "a note")
        await me.send("team", {"x": 1}, kind="custom")
        await mine.until(lambda: len(mine.of("offline")) == 2)
        assert "preview" not in mine.of("offline")[1]["data"]


async def test_large_groups_are_told_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PIECE_USERS", 10)
    monkeypatch.setattr(events, "MAX_NOTIFIED_MEMBERS", 35)
    users = [f"u{n:02}" for n in range(34)]
    async with (
        product() as mine,
        serving(tmp_path, **settings(mine)) as server,
        device(server, "alice") as me,
    ):
        await me.create("team", users)
        await me.send("team", "to all")
        await mine.until(lambda: len(mine.of("offline")) == 4)
        told = [one["user"] for event in mine.of("offline") for one in event["data"]["users"]]
        assert sorted(told) == users
        assert len({event["id"] for event in mine.of("offline")}) == 4
        await me.add("team", ["late"])
        await me.send("team", "to one", mentions=["u07"])
        await me.send("team", "last")
        await mine.until(lambda: mine.texts()[-1] == "last")
        assert [one["data"]["users"] for one in mine.of("offline")[4:]] == [
            [{"user": "u07", "mentioned": True}]
        ]


# Whatever an endpoint does ---------------------------------------------------------------------


async def test_order_and_repeats(tmp_path: Path) -> None:
    async with product() as mine:
        mine.status = lambda event: 200 if mine.asked[event["id"]] > 2 else 503
        async with (
            serving(tmp_path, **settings(mine, webhook_events=("message",))) as server,
            device(server, "alice") as me,
        ):
            groups = ["red", "green", "blue"]
            for group in groups:
                await me.create(group)
            posted = [me.post(groups[n % 3], str(n)) for n in range(90)]
            await asyncio.gather(*posted)
            await mine.until(lambda: len(mine.taken) == 90)
            for start, group in enumerate(groups):
                assert mine.texts(group) == [str(n) for n in range(start, 90, 3)]
            assert set(mine.asked.values()) == {3}


async def test_what_is_not_taken_is_parked_and_can_be_told_again(tmp_path: Path) -> None:
    async with product() as mine:
        mine.status = lambda event: 500 if event["data"]["body"]["text"] == "poison" else 200
        wanted = settings(mine, webhook_events=("message",), webhook_attempts=3)
        async with serving(tmp_path, **wanted) as server, device(server, "alice") as me:
            await me.create("team")
            for text in ("one", "poison", "two"):
                await me.send("team", text)
            await mine.until(lambda: mine.texts() == ["one", "two"])
            assert max(mine.asked.values()) == 3
        async with serving(tmp_path, **wanted) as server:
            [endpoint] = (await call(server, "GET", "/v1/webhooks")).endpoints
            [parked] = endpoint.parked
            assert (parked.attempts, parked.reason) == (3, "answered with status 500")
            await call(server, "POST", "/v1/webhooks/replay", endpoint="", since=None)
            await mine.until(lambda: mine.asked[parked.id] == 6)
            mine.status = lambda event: 200
            while (await call(server, "GET", "/v1/webhooks")).endpoints[0].parked:
                await call(server, "POST", "/v1/webhooks/replay", endpoint="", since=None)
                await asyncio.sleep(0.01)
            assert mine.texts() == ["one", "two", "poison"]


async def test_with_no_room_to_park_an_endpoint_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timewire.webhooks import endpoint

    monkeypatch.setattr(endpoint, "MAX_PARKED", 2)
    assert ledger.MAX_PARKED > 2
    async with product() as mine:
        mine.status = lambda event: 500
        wanted = settings(mine, webhook_events=("message",), webhook_attempts=1)
        async with serving(tmp_path, **wanted) as server, device(server, "alice") as me:
            await me.create("team")
            for n in range(4):
                await me.send("team", str(n))
            await mine.until(lambda: len(mine.asked) == 3 and max(mine.asked.values()) > 5)
            mine.status = lambda event: 200
            await mine.until(lambda: mine.texts() == ["2", "3"])


async def test_everything_from_a_message_on_can_be_told_again(tmp_path: Path) -> None:
    async with (
        product() as mine,
        serving(tmp_path, **settings(mine, webhook_events=("message",))) as server,
        device(server, "alice") as me,
    ):
        await me.create("team")
        sent = [await me.send("team", str(n)) for n in range(20)]
        await mine.until(lambda: len(mine.taken) == 20)
        first = [event["id"] for event in mine.taken]
        await call(server, "POST", "/v1/webhooks/replay", endpoint="", since=sent[5].seq)
        await mine.until(lambda: len(mine.taken) == 35)
        assert [event["id"] for event in mine.taken[20:]] == first[5:]
        with pytest.raises(TimewireError) as caught:
            await call(server, "POST", "/v1/webhooks/replay", endpoint="other", since=None)
        assert caught.value.code == "unknown_endpoint"


async def test_acks_do_not_wait_for_an_endpoint_that_hangs(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    application = web.Application()
    application.router.add_post("/", hang)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        wanted = settings(Product(), webhooks=(url,), webhook_timeout_s=60.0)
        async with serving(tmp_path, **wanted) as server, device(server, "alice") as me:
            await me.create("team", ["bob"])
            # More than all lanes hold.
            await asyncio.gather(*(me.post("team", str(n)) for n in range(500)))
            [endpoint] = (await call(server, "GET", "/v1/webhooks")).endpoints
            assert endpoint.head - endpoint.position >= 500
            released.set()
    finally:
        await runner.cleanup()


async def test_an_endpoint_begins_at_the_head(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, device(server, "alice") as me:
        await me.create("team")
        await me.send("team", "before")
    async with (
        product() as mine,
        serving(tmp_path, **settings(mine, webhook_events=("message",))) as server,
        device(server, "alice") as me,
    ):
        await me.send("team", "after")
        await mine.until(lambda: bool(mine.taken))
        assert mine.texts() == ["after"]


async def test_an_endpoint_twice_is_refused(tmp_path: Path) -> None:
    urls = ("http://a.example/x?1", "http://a.example/x?2")
    with pytest.raises(TimewireError) as caught:
        async with serving(tmp_path, webhooks=urls):
            pass
    assert caught.value.code == "bad_config"


async def test_a_secret_is_made_and_kept(tmp_path: Path) -> None:
    async with serving(tmp_path, webhooks=("http://127.0.0.1:9/",)) as server:
        made = find_secrets(server.config)
        assert made.startswith("whsec_")
        assert find_secrets(server.config) == made
        Signer(made)


# The commands ----------------------------------------------------------------------------------


async def run(*arguments: str) -> str:
    result = await asyncio.to_thread(CliRunner().invoke, cli.app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


async def test_the_commands(tmp_path: Path) -> None:
    async with product() as mine:
        mine.status = lambda event: 500
        wanted = settings(mine, webhook_events=("message",), webhook_attempts=1)
        async with serving(tmp_path, **wanted) as server, device(server, "alice") as me:
            at = ("--url", server.url, "--data", str(tmp_path))
            await me.create("team")
            sent = await me.send("team", "one")
            await mine.until(lambda: bool(mine.asked))
            while not json.loads(await run("webhooks", "list", "--json", *at))["parked"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            shown = await run("webhooks", "list", *at)
            assert endpoint_name(mine.url) in shown
            assert "answered with status 500" in shown
            assert await run("webhooks", "replay", *at) == "done; 1 events are parked\n"
            mine.status = lambda event: 200
            assert await run("webhooks", "replay", *at) == "done; 0 events are parked\n"
            assert mine.texts() == ["one"]
            await run("webhooks", "replay", endpoint_name(mine.url), "--since", str(sent.seq), *at)
            assert len(mine.taken) == 2
    async with serving(tmp_path) as server:
        at = ("--url", server.url, "--data", str(tmp_path))
        assert "No endpoints are configured" in await run("webhooks", "list", *at)
    assert (await run("webhooks", "secret", "--data", str(tmp_path))).startswith("whsec_")


@pytest.mark.parametrize("command", ["list", "replay", "secret"])
async def test_the_help_shows_how_to_use_them(command: str) -> None:
    assert f"timewire webhooks {command}" in await run("webhooks", command, "--help")


# Kills -----------------------------------------------------------------------------------------


def of_process(one: Product) -> dict[str, Any]:
    return {"webhooks": one.url, "webhook_secret": SECRET, "webhook_events": "message,offline"}


async def test_nothing_is_lost_and_order_stays_over_kills(tmp_path: Path) -> None:
    async with product() as mine, running_server(tmp_path / "data", **of_process(mine)) as server:
        mine.status = lambda event: 200 if mine.asked[event["id"]] % 3 else 503
        acked: list[str] = []
        for life in range(3):
            async with connect(server.url, server.token("alice"), device="phone") as me:
                if not life:
                    await me.create("team", ["bob"])
                texts = [f"{life}.{n}" for n in range(60)]
                await asyncio.gather(*(me.post("team", text) for text in texts))
                acked += texts
                await mine.until(lambda: len(mine.texts()) > 60 * life + 20)  # noqa: B023
            await server.restart()
        await mine.until(lambda: len(mine.texts()) == len(acked))
        assert mine.texts() == acked
        await finished(server, mine)
        told = {one["data"]["message"]["body"]["text"] for one in mine.of("offline")}
        assert told == set(acked)


async def finished(server: ServerProcess, mine: Product) -> None:
    key = admin.find_key(str(server.data))
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = await admin.call("GET", server.url, "/v1/webhooks", key, _Endpoints)
            if answer.endpoints[0].position == answer.endpoints[0].head:
                return
            await asyncio.sleep(0.02)
