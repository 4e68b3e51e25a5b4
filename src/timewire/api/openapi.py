"""The OpenAPI 3.1 document, made from the routes and the structs they name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec

from timewire.api.edge import IDEMPOTENCY, status_of
from timewire.api.routes import ROUTES, Route
from timewire.errors import CODES, Unusable
from timewire.model import Message
from timewire.protocol import Problem

DIALECT: Final = "3.1.0"
_SCHEMAS: Final = "#/components/schemas/"
_MESSAGES: Final = {"HistoryPage": "messages", "Synced": "messages"}
"""Structs whose field holds encoded messages, which the document shows as what they are."""

INTRODUCTION: Final = """
Messages, conversations and sync over plain HTTP: the same commands as over the WebSocket, with
the same JSON.

**Who calls.** `Authorization: Bearer <token>`, with a user's token. Or with an admin key
(scope `act`) and `?as=USER`: the request is carried out for that user with the rights of the
system, which need not be a member.

**Repeating.** Every command carries an `id` of your choice, in the body or as `Idempotency-Key`.
Repeat it with the same id until it is answered: it takes effect once, and every answer has the
same `seq`.

**Errors.** Always the same JSON, see `Problem`. `retry` (and `Retry-After`) say that the same
request may succeed later. `code` is stable; compare it, not the sentence.

A SeqId (`seq`) grows from message to message, with holes. Times are ms since 1970-01-01 UTC.
"""

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "send": {"id": "7f3c1b", "to": "ticket-42", "body": {"text": "Hello"}},
    "create": {"id": "a90d22", "conversation": "ticket-42", "members": ["alice", "desk"]},
    "add": {"id": "58e0c4", "users": ["bob"]},
    "read": {"id": "c41f9a", "seq": 17},
    "edit": {"id": "03bd41", "body": {"text": "Hello!"}},
    "react": {"id": "5ac170", "emoji": "👍"},
    "pin": {"id": "e8f5d9"},
    "hide": {"id": "b2d663"},
    "update": {"id": "99c1aa", "title": "Ticket 42"},
    "role": {"id": "11f0be", "user": "bob", "role": "admin"},
    "ban": {"id": "6d40a7", "users": ["eve"]},
    "link": {
        "id": "3e9b08",
        "link": "b4d935b90e029c6e9ceb3c6354237560dbae76fc1b15070c095ec1b3a1653030",
        "uses": 10,
    },
    "join": {"id": "d1c7f2", "token": "u8N1xQ2hTg4Yd0aVw7rKzA"},
    "mute": {"id": "f07a35", "user": "bob", "until": 1900000000000},
    "block": {"id": "27ce81", "user": "eve"},
    "settings": {"id": "d90b11", "presence": "nobody"},
    "revoke": {"user": "alice", "device": "lost-phone"},
    "token": {"user": "alice", "life_s": 3600},
    "replay": {"endpoint": "app.example.com/timewire", "since": 4711},
}
"""A body for every route that takes one."""

_SECURITY: Final[dict[str, list[dict[str, list[str]]]]] = {
    "user": [{"userToken": []}, {"adminKey": []}],
    "admin": [{"adminKey": []}],
    "anyone": [],
}
_SCHEMES: Final = {
    "userToken": {"type": "http", "scheme": "bearer", "description": "A user's token."},
    "adminKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An admin key, for the product's backend: see `timewire keys`.",
    },
}
_AS: Final = {
    "name": "as",
    "in": "query",
    "description": "With the admin key: the user for whom this is done.",
    "schema": {"type": "string"},
}
_KEY: Final = {
    "name": IDEMPOTENCY,
    "in": "header",
    "description": "The command's id, when it is not given as `id`.",
    "schema": {"type": "string"},
}


_PATH_TYPES: Final = {"seq": "integer"}


@cache
def document() -> bytes:
    """The document as JSON; the same for every server of this version."""
    asked = _schemas([route.asks for route in ROUTES if route.asks is not None])
    answers = [route.answers for route in ROUTES if not isinstance(route.answers, str)]
    schemas = _schemas([*answers, Message, Problem])
    _name_messages(schemas)
    _list_codes(schemas)
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, asked, schemas)
    whole = {
        "openapi": DIALECT,
        "info": {
            "title": "Timewire",
            "version": version("timewire"),
            "description": INTRODUCTION.strip(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": group} for group in dict.fromkeys(route.group for route in ROUTES)],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SCHEMES},
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1)


def _schemas(structs: Iterable[type[msgspec.Struct]]) -> dict[str, dict[str, Any]]:
    """The schemas of structs and of all that they hold, by name."""
    _, found = msgspec.json.schema_components(structs, ref_template=_SCHEMAS + "{name}")
    for schema in found.values():
        schema["description"] = inspect.cleandoc(schema["description"])
        for field in schema["properties"].values():
            if "enum" in field:
                field["type"] = "string"
    return found


def _operation(route: Route, asked: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.group],
        "security": _SECURITY[route.access],
        "parameters": _path_parameters(route),
        "responses": _responses(route),
    }
    if route.asks is not None:
        schema = _fields(route, asked[route.asks.__name__])
        operation["description"] = schema["description"]
        if route.method == "POST":
            schemas[schema["title"]] = schema
            reference = {"$ref": _SCHEMAS + schema["title"]}
            examples = {"body": {"value": EXAMPLES[route.name]}}
            content = {"application/json": {"schema": reference, "examples": examples}}
            operation["requestBody"] = {"required": True, "content": content}
        else:
            operation["parameters"] += _query_parameters(schema)
    if route.does == "upload":
        content = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.access == "user":
        operation["parameters"] += [_AS, _KEY] if route.does == "command" else [_AS]
    return operation


def _path_names(route: Route) -> list[str]:
    return re.findall(r"{(\w+)}", route.path)


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": _PATH_TYPES.get(name, "string")},
        }
        for name in _path_names(route)
    ]


def _query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameters are given or not; there is no null among them."""
    parameters: list[dict[str, Any]] = []
    for name, field in schema["properties"].items():
        given = next((one for one in field.get("anyOf", ()) if one["type"] != "null"), field)
        required = name in schema["required"]
        parameters.append({"name": name, "in": "query", "required": required, "schema": given})
    return parameters


def _fields(route: Route, schema: dict[str, Any]) -> dict[str, Any]:
    """What is left of a struct's schema for query or body: no tag, and not the path's fields.

    An ``id`` may come as a header, and is of no use to questions.
    """
    gone = {"type", *_path_names(route)}
    if "user" in gone:
        gone.add("users")
    if route.does == "question":
        gone.add("id")
    kept = {name: one for name, one in schema["properties"].items() if name not in gone}
    required = [name for name in schema["required"] if name in kept and name != "id"]
    return {**schema, "properties": kept, "required": required}


def _responses(route: Route) -> dict[str, Any]:
    if isinstance(route.answers, str):
        content: dict[str, Any] = {route.answers: {"schema": {"type": "string"}}}
    else:
        reference = {"$ref": _SCHEMAS + route.answers.__name__}
        content = {"application/json": {"schema": reference}}
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    if route.does == "ready":
        responses["503"] = {"description": "Not ready.", "content": content}
    if route.does == "download":
        responses["206"] = {"description": "The part asked for by `Range`.", "content": content}
        responses["304"] = {"description": "It is what `If-None-Match` names."}
    if route.access != "anyone":
        problem = {"application/json": {"schema": {"$ref": _SCHEMAS + Problem.__name__}}}
        responses["default"] = {"description": "Refused: see `code`.", "content": problem}
    return responses


def _name_messages(schemas: dict[str, Any]) -> None:
    """Where a struct holds a message's JSON as it is, say that it is a message."""
    message = {"$ref": _SCHEMAS + Message.__name__}
    for struct, field in _MESSAGES.items():
        schemas[struct]["properties"][field]["items"] = message
    schemas["SearchHit"]["properties"]["message"] = message
    last = schemas["ConversationState"]["properties"]["last"]
    last["anyOf"] = [message if one == {} else one for one in last["anyOf"]]


def _list_codes(schemas: dict[str, Any]) -> None:
    """Every code of an error that can come over HTTP, with its status and what to do."""
    lines = [
        f"- `{code}` ({status_of(code)}): {advice}"
        for code, (kind, advice) in CODES.items()
        if not issubclass(kind, Unusable)
    ]
    schemas[Problem.__name__]["properties"]["code"]["description"] = "\n".join(lines)
