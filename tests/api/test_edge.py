"""The edge of HTTP: headers, origins, what is no proper request, and that nothing is a 500."""

import asyncio
import gzip
import logging
import sys
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.api.conftest import ORIGIN
from timewire import logs
from timewire.api import edge
from timewire.api.edge import status_of
from timewire.api.routes import ROUTES
from timewire.auth import mint
from timewire.errors import CODES

EXAMPLES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def raw(http: Any, data: bytes) -> bytes:
    """What the server says to bytes of any kind, until it closes or says nothing more."""
    host, port = http.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.readuntil(b"\r\n")
    except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
        return b""
    finally:
        writer.close()


# Paths and methods -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/messages/", "/docs/", "/docs/x", "/.env"])
async def test_unknown_paths(http: Any, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status, answer.code) == (404, "unknown_path")


async def test_wrong_methods_name_the_right_ones(http: Any) -> None:
    answer = await http.user("alice").call("PUT", "/v1/conversations", {})
    assert (answer.status, answer.code) == (405, "wrong_method")
    assert answer.headers["Allow"] == "GET,HEAD,POST"
    assert answer.json["fields"]["allowed"] == ["GET", "HEAD", "POST"]


async def test_head_is_get_without_the_body(http: Any) -> None:
    head = await http.call("HEAD", "/healthz")
    get = await http.get("/healthz")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.body))


async def test_every_status_is_that_of_the_code(http: Any) -> None:
    assert {code: status_of(code) for code in ("bad_id", "not_member", "unknown_path")} == {
        "bad_id": 400,
        "not_member": 403,
        "unknown_path": 404,
    }
    assert all(400 <= status_of(code) < 600 for code in CODES)


# Headers ---------------------------------------------------------------------------------------


async def test_every_answer_carries_the_security_headers(http: Any) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/v1/sync", "/nope"):
        headers = (await http.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "timewire"
        assert headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


async def test_pages_of_configured_origins_may_call(http: Any) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = await http.call("OPTIONS", "/v1/messages", headers=asked)
    answer = await http.user("alice").call("GET", "/v1/sync", headers={"Origin": ORIGIN})
    refused = await http.call("GET", "/v1/sync", headers={"Origin": ORIGIN})

    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert "DELETE" in preflight.headers["Access-Control-Allow-Methods"]
    for one in (answer, refused):
        assert one.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert one.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in one.headers
    assert answer.status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN + ".evil.example"])
async def test_pages_of_other_origins_may_not(http: Any, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = await http.call("OPTIONS", "/v1/messages", headers=asked)
    answer = await http.user("alice").call("GET", "/v1/sync", headers={"Origin": origin})

    assert (preflight.status, preflight.code) == (403, "bad_origin")
    for one in (preflight, answer):
        assert "Access-Control-Allow-Origin" not in one.headers


async def test_without_origins_no_page_may_call(start: Any) -> None:
    http = await start()
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answers = [
        await http.call("OPTIONS", "/v1/messages", headers=asked),
        await http.user("alice").call("GET", "/v1/sync", headers={"Origin": ORIGIN}),
    ]
    assert [one.status for one in answers] == [403, 200]
    assert all("Access-Control-Allow-Origin" not in one.headers for one in answers)


async def test_any_origin_when_configured_so(start: Any) -> None:
    http = await start(origins=("*",))
    answer = await http.user("alice").call("GET", "/v1/sync", headers={"Origin": "https://a.b"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_websocket_of_a_foreign_page_is_refused_in_our_words(http: Any) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.session.ws_connect("/v1/ws", headers={"Origin": "https://evil.example"})
    answer = await http.call("GET", "/v1/ws", headers={"Origin": "https://evil.example"})

    assert refused.value.status == 403
    assert (answer.status, answer.code) == (403, "bad_origin")


async def test_a_fault_in_a_websocket_ends_it_and_writes_nothing_into_it(
    http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("timewire.connection.Connection.take", broken)
    async with http.session.ws_connect("/v1/ws") as ws:
        await ws.send_str("{}")
        message = await ws.receive()

    assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)
    assert ws.close_code != aiohttp.WSCloseCode.PROTOCOL_ERROR


# Bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b'{"id":"m","to":"team","body":{}',
        b'{"id":"m","to":"team","body":{}} x',
        b'{"id":"\xff","to":"team","body":{}}',
        b'{"id":"\\ud800","to":"team","body":{}}',
        b'{"id":"m","to":"team","body":{"n":NaN}}',
        b'{"id":"m","to":"team","body":{"n":1e999}}',
        b'{"id":"m","to":"team","body":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "{}".encode("utf-16"),
    ],
)
async def test_bodies_that_are_no_json_objects(http: Any, body: bytes) -> None:
    answer = await http.user("alice").call("POST", "/v1/messages", data=body)
    assert (answer.status, answer.code) == (400, "bad_frame")


async def test_a_body_nested_too_deeply_for_readers(http: Any) -> None:
    alice = http.user("alice")
    await alice.create("team")
    body = b'{"id":"m","to":"team","body":' + b'{"a":' * 100 + b"1" + b"}" * 101
    answer = await alice.call("POST", "/v1/messages", data=body)
    assert (answer.status, answer.code) == (400, "bad_body")


@pytest.mark.parametrize("length_told", [True, False])
async def test_bodies_beyond_the_limit(http: Any, length_told: bool) -> None:
    data = b'{"id":"' + b"x" * 100_000 + b'"}'

    async def pieces() -> Any:
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]

    body = data if length_told else pieces()
    answer = await http.user("alice").call("POST", "/v1/messages", data=body)

    assert (answer.status, answer.code) == (413, "frame_too_large")
    assert answer.json["fields"]["limit"] == http.server.config.frame_bytes


async def test_bodies_that_claim_to_be_compressed(http: Any) -> None:
    alice = http.user("alice")
    await alice.create("team")
    good = msgspec.json.encode({"id": "m", "to": "team", "body": {}})
    headers = {"Content-Encoding": "gzip"}

    packed = await alice.call("POST", "/v1/messages", data=gzip.compress(good), headers=headers)
    broken = await alice.call("POST", "/v1/messages", data=b"no gzip at all", headers=headers)
    bomb = gzip.compress(b'{"id":"' + b"x" * 10_000_000 + b'"}')
    exploding = await alice.call("POST", "/v1/messages", data=bomb, headers=headers)

    assert packed.status == 200
    assert broken.status == 400
    assert exploding.status == 413


async def test_a_body_that_does_not_come(http: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BODY_TIMEOUT_S", 0.1)
    token = mint(http.server.keys.secret, "alice").encode()
    line = await raw(
        http,
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n"
        b"Content-Length: 100\r\n\r\n{",
    )
    assert line.split()[1] == b"400"


async def test_a_key_that_is_no_text(http: Any) -> None:
    token = mint(http.server.keys.secret, "alice").encode()
    for head in (b"GET /v1/conversations", b"DELETE /v1/conversations/team/members/bob"):
        line = await raw(
            http,
            head + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n"
            b"Idempotency-Key: \xff\xfe\r\n\r\n",
        )
        assert line.split()[1] == b"400"


async def test_credentials_that_are_no_text(http: Any) -> None:
    for query in (b"", b"?as=alice"):
        head = b"GET /v1/conversations" + query + b" HTTP/1.1\r\nHost: x\r\n"
        line = await raw(http, head + b"Authorization: Bearer \xff\xfe\r\n\r\n")
        assert line.split()[1] == b"401"


# Logs ------------------------------------------------------------------------------------------


@pytest.fixture
def logging_restored() -> Any:
    root, level = logging.getLogger(), logging.getLogger().level
    handlers, aiohttp_level = list(root.handlers), logging.getLogger("aiohttp.server").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("aiohttp.server").setLevel(aiohttp_level)
    structlog.reset_defaults()


@pytest.mark.parametrize("style", ["console", "json"])
async def test_no_token_gets_into_the_logs(
    http: Any,
    style: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    logging_restored: Any,
) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(http.server._queries, "answer", broken)
    monkeypatch.setattr("timewire.api.edge.log", structlog.get_logger("timewire.api"))
    logs.configure("debug", style)
    alice = http.user("alice")
    token = alice.credentials

    fault = await alice.get("/v1/conversations")
    refused = await http.bearer(token + "x").get("/v1/conversations")
    await raw(
        http,
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token.encode() + b"\x01\r\n\r\n",
    )
    sys.stderr.flush()
    written = capsys.readouterr().err

    assert (fault.status, fault.code) == (500, "server_fault")
    assert "broken" not in fault.body.decode()
    assert refused.status == 401
    assert "RuntimeError" in written
    assert token not in written
    assert token.rpartition(".")[2] not in written


# Anything at all -------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        *("id", "to", "body", "kind", "sent", "ack", "conversation", "members", "users", "title"),
        *("seq", "user", "device", "life_s", "type", "as"),
    ]
)
NAMES = st.sampled_from(
    ["alice", "team", "direct:alice:bob", "self:alice", "", "..", "a b", "%00", "%FF", "x" * 200]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
QUERIES = st.dictionaries(
    st.sampled_from(
        ["after", "before", "limit", "base", "pos", "id", "as", "type", "conversation"]
    ),
    NAMES | st.integers().map(str),
    max_size=4,
)


def fine(answer: Any) -> None:
    """An answer or a proper error, and never a fault of the server."""
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        assert answer.code in CODES
        assert answer.status == status_of(answer.code)


@EXAMPLES
@given(
    # A store in memory, which these tests run on, has no snapshots.
    st.sampled_from([r for r in ROUTES if r.method == "POST" and r.name != "snapshot"]),
    NAMES,
    st.dictionaries(FIELDS, JSON, max_size=6) | JSON,
)
async def test_any_json_is_answered(http: Any, route: Any, name: str, body: Any) -> None:
    path = route.path.replace("{conversation}", quote(name, safe="") or "x")
    data = msgspec.json.encode(body)
    fine(await http.user("alice").call("POST", path, data=data))
    fine(await http.backend().call("POST", path, data=data, params={"as": "alice"}))


@EXAMPLES
@given(st.sampled_from([r for r in ROUTES if r.method != "POST"]), NAMES, NAMES, QUERIES)
async def test_any_query_is_answered(
    http: Any, route: Any, one: str, other: str, query: Any
) -> None:
    path = route.path.replace("{conversation}", quote(one, safe="") or "x")
    path = path.replace("{user}", quote(other, safe="") or "x")
    for caller in (http.user("alice"), http.backend()):
        answer = await caller.call(route.method, path, params=query)
        if answer.status >= 400:
            fine(answer)


@EXAMPLES
@given(st.binary(max_size=300), st.binary(max_size=300))
@example(b"GET /v1/conversations?after=\xff HTTP/1.1\r\nHost: x", b"")
@example(b"GET /v1/conversations/%ff%00/messages HTTP/1.1\r\nHost: x", b"")
@example(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: -1", b"{}")
@example(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", b"zz\r\n")
async def test_any_bytes_are_no_fault_of_the_server(http: Any, head: bytes, rest: bytes) -> None:
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    for data in (
        head + b"\r\n\r\n" + rest,
        b"GET /v1/sync HTTP/1.1\r\nHost: x\r\nX: " + head + b"\r\n\r\n" + rest,
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n" + rest[:5].ljust(5),
    ):
        line = await raw(http, data)
        assert line == b"" or line.split()[1][:1] in (b"2", b"4"), (line, data)
    assert (await http.get("/healthz")).status == 200
