"""The before-send hook: what it may do, order, and what happens when it does not answer."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from timewire import screen
from timewire.auth import mint
from timewire.client import Client, connect
from timewire.errors import TimewireError
from timewire.server import Server
from timewire.testing.devices import RawDevice, raw_device
from timewire.testing.servers import serving

Question = dict[str, Any]
Answer = Callable[[Question], Awaitable[Any]]


@asynccontextmanager
async def product(answer: Answer) -> AsyncGenerator[str]:
    """A product's server that answers with JSON, or with a status."""

    async def handle(request: web.Request) -> web.Response:
        assert request.headers["webhook-signature"].startswith("v1,")
        said = await answer(json.loads(await request.read()))
        return web.Response(status=said) if isinstance(said, int) else web.json_response(said)

    application = web.Application()
    application.router.add_post("/check", handle)
    runner = web.AppRunner(application, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/check"
    finally:
        await runner.cleanup()


@pytest.fixture
def own() -> Generator[types.ModuleType]:
    """A module of the product's own."""
    module = types.ModuleType("product_hook")
    sys.modules["product_hook"] = module
    yield module
    del sys.modules["product_hook"]


def device(server: Server, user: str, name: str = "laptop") -> Client:
    return connect(server.url, mint(server.keys.secret, user), device=name)


async def refused(work: Awaitable[Any]) -> TimewireError:
    with pytest.raises(TimewireError) as caught:
        await work
    return caught.value


async def answered(raw: RawDevice, id: str) -> dict[str, Any]:
    """The answer to a command; pushes are passed over."""
    while (frame := await raw.next()).get("id") != id:
        assert frame["type"] == "push"
    return frame


async def texts(me: Client, conversation: str = "team") -> list[str]:
    page = await me.history(conversation, limit=500)
    return [m.body["text"] for m in page.messages if m.kind == "text"][::-1]


def verdict(question: Question) -> Any:
    text = question["command"]["body"]["text"]
    if "bad" in text:
        return {"allow": False, "reason": "mind your words"}
    return {"body": {"text": text.replace("damn", "****")}} if "damn" in text else {}


async def judge(question: Question) -> Any:
    return verdict(question)


# Allow, change, refuse -------------------------------------------------------------------------


async def check_verdicts(server: Server) -> None:
    async with device(server, "alice") as me, device(server, "bob") as bob:
        await me.create("team", ["bob"])
        one = await me.send("team", "fine")
        await me.send("team", "damn it")
        fault = await refused(me.send("team", "bad"))
        assert (fault.code, fault.message) == ("refused", "mind your words")
        await me.edit("team", one.seq, {"text": "damn fine"})
        assert (await refused(me.edit("team", one.seq, {"text": "bad"}))).code == "refused"
        await me.send("team", "after")
        assert sorted(await texts(bob)) == ["**** fine", "**** it", "after"]


async def test_over_http(tmp_path: Path) -> None:
    asked: list[Question] = []

    async def answer(question: Question) -> Any:
        asked.append(question)
        return verdict(question)

    async with product(answer) as url, serving(tmp_path, before_send=url) as server:
        await check_verdicts(server)
    first = asked[0]
    assert (first["type"], first["user"]) == ("before_send", "alice")
    assert first["command"]["type"] == "send"
    assert first["command"]["to"] == "team"
    assert [one["command"]["type"] for one in asked].count("edit") == 2


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_in_python(kind: str, own: types.ModuleType, tmp_path: Path) -> None:
    own.check = (  # pyright: ignore[reportAttributeAccessIssue]
        judge if kind == "coroutine" else lambda question: verdict(question) or None
    )
    async with serving(tmp_path, before_send="product_hook:check") as server:
        await check_verdicts(server)


@pytest.mark.parametrize("name", ["product_hook:nothing", "no_such_module:check"])
async def test_what_cannot_be_loaded(name: str, own: types.ModuleType, tmp_path: Path) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(TimewireError) as caught:
            async with serving(tmp_path, before_send=name):
                pass
    assert caught.value.code == "bad_config"


async def test_a_changed_body_is_checked_too(tmp_path: Path) -> None:
    async def answer(question: Question) -> Any:
        return {"body": {"text": 5}}

    async with (
        product(answer) as url,
        serving(tmp_path, before_send=url) as server,
        device(server, "alice") as me,
    ):
        await me.create("team")
        assert (await refused(me.send("team", "x"))).code == "bad_body"


async def test_the_products_own_messages_are_not_asked_about(tmp_path: Path) -> None:
    async def answer(question: Question) -> Any:
        return {"allow": False}

    async with product(answer) as url, serving(tmp_path, before_send=url) as server:
        async with device(server, "alice") as me:
            await me.create("team")
            fault = await refused(me.send("team", "x"))
            assert fault.message.startswith("the product does not allow")
        headers = {"Authorization": f"Bearer {server.keys.admin_key}"}
        body = {"id": "1", "to": "team", "body": {"text": "from the product"}}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{server.url}/v1/messages?as=desk", json=body) as response,
        ):
            assert response.status == 200


async def test_http_requests_are_asked_about(tmp_path: Path) -> None:
    async with product(judge) as url, serving(tmp_path, before_send=url) as server:
        token = mint(server.keys.secret, "alice")
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            for text, status in {"fine": 200, "bad": 403}.items():
                body = {"id": text, "to": "self:alice", "body": {"text": text}}
                async with http.post(f"{server.url}/v1/messages", json=body) as response:
                    assert response.status == status, await response.text()


# Order and repeats -----------------------------------------------------------------------------


async def test_order_holds_however_long_answers_take(tmp_path: Path) -> None:
    dice = random.Random(7)

    async def answer(question: Question) -> Any:
        await asyncio.sleep(dice.random() / 50)
        return verdict(question)

    async with (
        product(answer) as url,
        serving(tmp_path, before_send=url) as server,
        device(server, "alice") as me,
        device(server, "bob") as bob,
    ):
        await me.create("team", ["bob"])
        said = [f"{'bad' if n % 7 == 3 else 'good'} {n}" for n in range(100)]
        posts = [one.post("team", text) for text in said for one in (me, bob)]
        outcomes = await asyncio.gather(*posts, return_exceptions=True)
        assert sum(isinstance(one, TimewireError) for one in outcomes) == 28
        page = await me.history("team", limit=500)
        for user in ("alice", "bob"):
            mine = [m.body["text"] for m in page.messages if m.sender == user and m.kind == "text"]
            assert mine[::-1] == [text for text in said if "bad" not in text]


async def test_other_commands_wait_their_turn(tmp_path: Path) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def answer(question: Question) -> Any:
        asked.set()
        await released.wait()
        return {}

    async with (
        product(answer) as url,
        serving(tmp_path, before_send=url, before_send_timeout_s=60.0) as server,
        raw_device(server.url) as raw,
        device(server, "bob", "other") as bob,
    ):
        await raw.hello(mint(server.keys.secret, "alice"), "phone")
        await raw.next()
        await raw.send("create", id="0", conversation="team", members=["bob"])
        await raw.expect("ack", id="0")
        await raw.send("send", id="1", to="team", body={"text": "first"})
        await raw.send("update", id="2", conversation="team", title="second")
        await asked.wait()
        # Others do not wait for it.
        await bob.create("elsewhere")
        released.set()
        acks = [await raw.next(), await raw.next()]
        assert [ack["id"] for ack in acks] == ["1", "2"]
        assert acks[0]["seq"] < acks[1]["seq"]


async def test_a_repeat_is_not_asked_about(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(question: Question) -> Any:
        asked.append(question["command"]["id"])
        return {"allow": asked.count("same") < 2}

    async with (
        product(answer) as url,
        serving(tmp_path, before_send=url) as server,
        raw_device(server.url) as raw,
    ):
        await raw.hello(mint(server.keys.secret, "alice"), "phone")
        await raw.next()
        acks: list[Any] = []
        for _ in range(3):
            await raw.send("send", id="same", to="self:alice", body={"text": "x"})
            acks.append(await answered(raw, "same"))
        assert acks[0] == acks[1] == acks[2]
        assert asked == ["same"]


# When it does not answer -----------------------------------------------------------------------


async def hang(question: Question) -> Any:
    await asyncio.sleep(60)


async def fail(question: Question) -> Any:
    return 500


async def talk(question: Question) -> Any:
    return {"allow": "perhaps"}


async def flood(question: Question) -> Any:
    return {"reason": "x" * (screen.MAX_ANSWER_BYTES + 1)}


@pytest.mark.parametrize("answer", [hang, fail, talk, flood])
@pytest.mark.parametrize("failure", ["refuse", "allow"])
async def test_a_hook_that_fails(answer: Answer, failure: str, tmp_path: Path) -> None:
    settings = {"before_send_timeout_s": 0.05, "before_send_failure": failure}
    async with (
        product(answer) as url,
        serving(tmp_path, before_send=url, **settings) as server,
        raw_device(server.url) as raw,
    ):
        await raw.hello(mint(server.keys.secret, "alice"), "phone")
        await raw.next()
        for n in ("1", "2"):
            await raw.send("send", id=n, to="self:alice", body={"text": "x"})
        for n in ("1", "2"):
            reply = await answered(raw, n)
            if failure == "allow":
                assert reply["type"] == "ack"
            else:
                # The second would overtake the first.
                assert reply["code"] in ("hook_failed", "out_of_turn")
                assert reply["retry"] is True


async def test_devices_repeat_until_it_answers_again(tmp_path: Path) -> None:
    count = 0

    async def answer(question: Question) -> Any:
        nonlocal count
        count += 1
        return {} if count > 3 else 503

    async with (
        product(answer) as url,
        serving(tmp_path, before_send=url) as server,
        device(server, "alice") as me,
    ):
        await asyncio.gather(*(me.post("self:alice", str(n)) for n in range(5)))
        assert await texts(me, "self:alice") == [str(n) for n in range(5)]


async def test_too_many_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "MAX_WAITING_REQUESTS", 2)
    async with (
        product(hang) as url,
        serving(tmp_path, before_send=url, before_send_timeout_s=60.0, drain_s=0.2) as server,
        raw_device(server.url) as raw,
    ):
        await raw.hello(mint(server.keys.secret, "alice"), "phone")
        await raw.next()
        for n in ("1", "2", "3"):
            await raw.send("send", id=n, to="self:alice", body={"text": "x"})
        reply = await raw.expect("error", id="3")
        assert reply["code"] == "too_busy"


async def test_at_the_end_what_waits_is_refused_for_now(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def answer(question: Question) -> Any:
        asked.set()
        await hang(question)

    async with (
        product(answer) as url,
        serving(tmp_path, before_send=url, before_send_timeout_s=60.0) as server,
        raw_device(server.url) as raw,
    ):
        await raw.hello(mint(server.keys.secret, "alice"), "phone")
        await raw.next()
        await raw.send("send", id="1", to="self:alice", body={"text": "x"})
        await asked.wait()
        closing = asyncio.create_task(server.aclose())
        assert (await raw.next())["code"] == "shutting_down"
        await closing


async def test_without_a_hook_the_plain_sender_is_used(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert not isinstance(server._sender, screen.Screening)
