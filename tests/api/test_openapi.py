"""The OpenAPI document says what the server does: no more, no less; and the page that shows it."""

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from timewire.api.openapi import EXAMPLES, document
from timewire.api.routes import MAX_WAIT_S, ROUTES
from timewire.errors import CODES, Unusable
from timewire.model import Message

DOCUMENT = msgspec.json.decode(document())
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def parts(part: Any) -> Iterator[dict[str, Any]]:
    """Every object inside."""
    if isinstance(part, dict):
        yield part
        for one in part.values():
            yield from parts(one)
    elif isinstance(part, list):
        for one in part:
            yield from parts(one)


def resolve(reference: str) -> Any:
    place = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    return place


def is_page(path: str) -> bool:
    """Whether a path is the web client's, not the API's."""
    return path == "/" or path.startswith(("/c/", "/assets/", "/demo/", "/explorer", "/icon.svg"))


async def test_it_has_every_route_of_the_server_and_no_other(http: Any) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in http.server._listener.application.router.routes()
        if route.method != "HEAD"
    }
    api = {(method, path) for method, path in served if not is_page(path)}
    assert api - {("GET", "/v1/ws")} == set(OPERATIONS)


async def test_the_server_hands_it_out(http: Any) -> None:
    answer = await http.get("/openapi.json")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.body == document()


def test_it_is_of_the_right_shape() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert set(DOCUMENT) == {"openapi", "info", "servers", "tags", "paths", "components"}
    assert {"title", "version", "description", "license"} == set(DOCUMENT["info"])
    for operation in OPERATIONS.values():
        assert operation["summary"]
        assert operation["responses"]["200"]["description"]
        assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
        for requirement in operation["security"]:
            assert set(requirement) <= set(DOCUMENT["components"]["securitySchemes"])


def test_operations_have_names_of_their_own() -> None:
    names = Counter(operation["operationId"] for operation in OPERATIONS.values())
    assert set(names.values()) == {1}
    assert set(names) == {route.name for route in ROUTES}


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    references = {part["$ref"] for part in parts(DOCUMENT) if isinstance(part.get("$ref"), str)}
    assert all(isinstance(resolve(reference), dict) for reference in references)
    used = {reference.rpartition("/")[2] for reference in references}
    assert used == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_parameters_are_those_of_the_path_and_of_what_is_asked(method: str, path: str) -> None:
    operation = OPERATIONS[method, path]
    [route] = [one for one in ROUTES if (one.method, one.path) == (method, path)]
    by_place: dict[str, list[str]] = {"path": [], "query": [], "header": []}
    for parameter in operation["parameters"]:
        assert parameter["schema"]["type"]
        by_place[parameter["in"]].append(parameter["name"])

    assert by_place["path"] == re.findall(r"{(\w+)}", path)
    assert all(one["required"] for one in operation["parameters"] if one["in"] == "path")
    assert ("as" in by_place["query"]) == (route.access == "user")
    assert (by_place["header"] == ["Idempotency-Key"]) == (route.does == "command")
    takes_body = route.asks is not None or route.does == "upload"
    assert ("requestBody" in operation) == (method == "POST" and takes_body)
    assert bool(operation["security"]) == (route.access != "anyone")
    if route.asks is not None:
        fields = {field.encode_name for field in msgspec.structs.fields(route.asks)}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        asked = set(resolve(body["schema"]["$ref"])["properties"]) if body else set()
        named = {*by_place["path"], *by_place["query"], *asked} - {"as"}
        assert named - {"user"} <= fields
        assert fields - named <= {"id", "users"}


def test_query_parameters_are_optional_and_bounded_where_the_server_is() -> None:
    [wait] = [one for one in OPERATIONS["GET", "/v1/sync"]["parameters"] if one["name"] == "wait"]
    assert wait["required"] is False
    assert wait["schema"] == {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0}
    for (method, _), operation in OPERATIONS.items():
        if method == "GET":
            assert not any(
                one.get("required") for one in operation["parameters"] if one["in"] == "query"
            )


def test_messages_are_shown_as_what_they_are() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    message = {"$ref": "#/components/schemas/Message"}
    assert schemas["HistoryPage"]["properties"]["messages"]["items"] == message
    assert schemas["Synced"]["properties"]["messages"]["items"] == message
    assert message in schemas["ConversationState"]["properties"]["last"]["anyOf"]
    assert {} not in [one for schema in schemas.values() for one in schema["properties"].values()]
    assert set(schemas["Message"]["properties"]) == {
        field.encode_name for field in msgspec.structs.fields(Message)
    }


def test_every_code_is_listed_with_its_status() -> None:
    listed = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["description"]
    for code, (kind, advice) in CODES.items():
        assert (f"`{code}`" in listed) == (not issubclass(kind, Unusable))
        assert issubclass(kind, Unusable) or advice in listed


def test_examples_are_bodies_that_the_server_takes() -> None:
    bodies = {route.name: route for route in ROUTES if route.method == "POST" and route.asks}
    assert set(EXAMPLES) == set(bodies)
    for name, body in EXAMPLES.items():
        route = bodies[name]
        assert route.asks is not None
        path: dict[str, object] = dict.fromkeys(re.findall(r"{(\w+)}", route.path), "x")
        path |= {"seq": 1} if "seq" in path else {}
        msgspec.convert({**body, **path}, route.asks)
        shown = OPERATIONS["POST", route.path]["requestBody"]["content"]["application/json"]
        assert shown["examples"] == {"body": {"value": body}}


async def test_answers_have_the_shape_that_the_document_names(http: Any) -> None:
    alice = http.user("alice")
    answers = {
        ("POST", "/v1/conversations"): await alice.create("team"),
        ("POST", "/v1/messages"): await alice.send("team", "m"),
        ("GET", "/v1/conversations"): await alice.get("/v1/conversations"),
        ("GET", "/v1/conversations/{conversation}/messages"): await alice.get(
            "/v1/conversations/team/messages"
        ),
        ("GET", "/v1/conversations/{conversation}/members"): await alice.get(
            "/v1/conversations/team/members"
        ),
        ("GET", "/v1/sync"): await alice.get("/v1/sync"),
        ("POST", "/v1/media"): await alice.call("POST", "/v1/media", data=b"data"),
        ("POST", "/v1/tokens"): await http.backend().post("/v1/tokens", {"user": "bob"}),
        ("GET", "/healthz"): await http.get("/healthz"),
        ("GET", "/readyz"): await http.get("/readyz"),
    }
    for place, answer in answers.items():
        assert answer.status == 200
        content = OPERATIONS[place]["responses"]["200"]["content"]["application/json"]
        schema = resolve(content["schema"]["$ref"])
        assert set(schema["required"]) <= set(answer.json) <= set(schema["properties"])


# The page --------------------------------------------------------------------------------------


async def test_the_page_loads_nothing_from_elsewhere(http: Any) -> None:
    page = await http.get("/docs")
    html = page.body.decode()
    policy = page.headers["Content-Security-Policy"]

    assert page.headers["Content-Type"].startswith("text/html")
    assert "//" not in html.replace("<!doctype html>", "")
    assert re.findall(r"<script[^>]*>(.*?)</script>", html, re.S) == [""]
    assert "script-src 'self';" in policy
    assert "connect-src 'self';" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy


async def test_its_script_is_served_and_licensed(http: Any) -> None:
    [source] = re.findall(r'src="([^"]+)"', (await http.get("/docs")).body.decode())
    async with (
        aiohttp.ClientSession(http.server.url, auto_decompress=False) as session,
        session.get(f"/{source}") as response,
    ):
        packed = await response.read()

    assert response.status == 200
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.content_type == "text/javascript"
    assert "max-age" in response.headers["Cache-Control"]
    assert gzip.decompress(packed).startswith(b"/*! RapiDoc 9.3.8")
    licence = (files("timewire") / "assets" / "rapidoc-9.3.8.LICENSE.txt").read_text("utf-8")
    assert licence.startswith("MIT License")


async def test_metrics_are_in_prometheus_words(http: Any) -> None:
    await http.get("/healthz")
    answer = await http.get("/metrics")
    text = answer.body.decode()

    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'timewire_http_requests_total{route="/healthz",status="200"}' in text
    assert "timewire_polls 0.0" in text
    await http.get("/some/unknown/path")
    await http.call("BREW", "/healthz")
    later = (await http.get("/metrics")).body.decode()
    assert 'route="unknown",status="404"' in later
    assert "BREW" not in later
    assert "/some/unknown" not in later


def test_the_guide_names_every_call() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "INTEGRATION.md").read_text("utf-8")
    for route in ROUTES:
        path = route.path.replace("{conversation}", "{c}")
        assert path in guide or route.name == "script", path
        if route.method != "GET":
            assert f"`{route.method} {path}`" in guide
