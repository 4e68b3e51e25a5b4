"""The edge of HTTP: how requests become structs, and how answers, errors and headers leave.

An error leaves as the ``error`` frame's JSON, with the status of its class.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, TypeVar

import msgspec
import structlog
from aiohttp import web
from structlog.contextvars import bind_contextvars, get_contextvars

from timewire.coding import JSON
from timewire.errors import CODES, Invalid, TimewireError, error
from timewire.metrics import HTTP_REQUESTS
from timewire.names import check_id
from timewire.protocol import problem

BODY_TIMEOUT_S: Final = 10.0
"""A request's body must have come within this time."""

RETRY_AFTER_S: Final = 1
PREFLIGHT_AGE_S: Final = 600
HTTPS_ONLY_S: Final = 365 * 24 * 3600
"""How long a browser that came over TLS does not try without it."""

STATUSES: Final = {
    "bad_token": 401,
    "token_expired": 401,
    "token_revoked": 401,
    "bad_admin_key": 401,
    "wrong_method": 405,
    "conversation_exists": 409,
    "id_reused": 409,
    "frame_too_large": 413,
    "body_too_large": 413,
    "media_too_large": 413,
    "bad_media_type": 415,
    "bad_media_range": 416,
    "rate_limited": 429,
    "too_many_connections": 429,
    "server_fault": 500,
}
"""Codes for which HTTP has a more exact status than that of their class."""

REQUEST_ID: Final = "X-Request-Id"
"""Names a request in the log and in its answer: that of a proxy in front, or one made here."""

IDEMPOTENCY: Final = "Idempotency-Key"
ACT_AS: Final = "as"
"""The parameter that names whom the product's backend acts for; no part of what is asked."""

_NAME: Final = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_SEQ: Final = re.compile(r"[0-9]{1,19}")

_HEADERS: Final = {
    "Server": "timewire",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_API_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_CORS_HEADERS: Final = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": f"Authorization, Content-Type, Range, {IDEMPOTENCY}",
    "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
}

log = structlog.get_logger("timewire.api")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Asked = TypeVar("Asked", bound=msgspec.Struct)
_encoder = msgspec.json.Encoder()


# Requests --------------------------------------------------------------------------------------


async def read(request: web.Request, asks: type[Asked]) -> Asked:
    """What a request asks for, put together from its path, query or body.

    An ``id`` may also come as ``Idempotency-Key``.  Raises ``Invalid`` (bad_frame, bad_id,
    frame_too_large).
    """
    posted = request.method == "POST"
    fields: dict[str, Any] = await _body(request) if posted else dict(request.query)
    if "id" not in fields:
        key = request.headers.get(IDEMPOTENCY)
        fields["id"] = check_id(key) if key else ""
    if not posted:
        fields.pop(ACT_AS, None)
    fields.update(request.match_info)
    if "user" in request.match_info:
        fields["users"] = [fields.pop("user")]
    if _SEQ.fullmatch(request.match_info.get("seq", "")):
        fields["seq"] = int(fields["seq"])
    try:
        return msgspec.convert(fields, asks, strict=posted)
    except msgspec.ValidationError as reason:
        raise error("bad_frame", f"the request is not as /docs says: {reason}") from None


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            data = await request.read()
    except TimeoutError:
        raise error("bad_frame", f"the body did not come within {BODY_TIMEOUT_S:.0f} s") from None
    except (web.RequestPayloadError, ValueError) as reason:
        raise error("bad_frame", f"the body cannot be read: {reason}") from None
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as reason:
        raise error("bad_frame", f"the body is not a JSON object: {reason}") from None


# Answers ---------------------------------------------------------------------------------------


def answer(struct: msgspec.Struct, status: int = 200) -> web.Response:
    """A struct as JSON."""
    return web.Response(
        body=_encoder.encode(struct), status=status, content_type="application/json"
    )


def status_of(code: str) -> int:
    """The HTTP status of an error's code."""
    return STATUSES.get(code, CODES[code][0].status)


def refusal(fault: TimewireError, id: str = "") -> web.Response:
    """An error as a response; ``id``: of the command that was refused."""
    try:
        body = JSON.encode(problem(fault, id))
    except UnicodeEncodeError:  # what a header held was no UTF-8, and is not repeated
        body = JSON.encode(problem(error(fault.code)))
    response = web.Response(
        body=body, status=status_of(fault.code), content_type="application/json"
    )
    if response.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="timewire"'
    if fault.retry:
        told_ms = fault.fields.get("retry_after", RETRY_AFTER_S * 1000)
        response.headers["Retry-After"] = str(max(1, math.ceil(told_ms / 1000)))
    return response


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every error into its response, names the request in the log, and counts it."""
    name = request.headers.get(REQUEST_ID, "")
    bind_contextvars(request_id=name if _NAME.fullmatch(name) else secrets.token_hex(8))
    try:
        response = await handler(request)
    except Exception as fault:
        response = _response(request, fault)
        if request.writer.output_size:  # a WebSocket: its answer has begun, another cannot follow
            raise
    if request.content.exception() is not None:
        response.force_close()  # what comes after a broken body is no request
    HTTP_REQUESTS.labels(_route(request), response.status).inc()
    return response


def _response(request: web.Request, fault: Exception) -> web.Response:
    if isinstance(fault, TimewireError):
        return refusal(fault)
    if isinstance(fault, web.HTTPException):
        return _from_aiohttp(request, fault)
    log.error("a request failed", route=_route(request), exc_info=fault)
    return refusal(error("server_fault"))


def _from_aiohttp(request: web.Request, outcome: web.HTTPException) -> web.Response:
    """What the HTTP library says of a request, in our words."""
    if isinstance(outcome, web.HTTPMethodNotAllowed):
        response = refusal(error("wrong_method", allowed=sorted(outcome.allowed_methods)))
        response.headers["Allow"] = outcome.headers["Allow"]
        return response
    if isinstance(outcome, web.HTTPRequestEntityTooLarge):
        return refusal(error("frame_too_large", limit=request.client_max_size))
    if isinstance(outcome, web.HTTPNotFound):
        return refusal(error("unknown_path"))
    return refusal(Invalid("bad_frame", f"the request cannot be taken: {outcome.reason}"))


def _route(request: web.Request) -> str:
    """The pattern of a request's path; every unknown path is one."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


# Headers ---------------------------------------------------------------------------------------


class Headers:
    """What every response carries, and what lets pages of the configured origins call us."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = origins

    async def prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers; a signal of the application."""
        headers = response.headers
        headers.update(_HEADERS)
        if "request_id" in (bound := get_contextvars()):
            headers[REQUEST_ID] = bound["request_id"]
        for name, value in _API_HEADERS.items():
            headers.setdefault(name, value)
        if request.secure:
            headers["Strict-Transport-Security"] = f"max-age={HTTPS_ONLY_S}"
        if not request.path.startswith("/v1/") or not self._origins:
            return
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        headers.add("Vary", "Origin")
        if (origin := self._allowed(request)) is not None:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After, Content-Range, ETag"

    @web.middleware
    async def preflight(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers browsers that ask whether a page of another origin may call."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return await handler(request)
        if self._allowed(request) is None:
            raise error("bad_origin")
        return web.Response(status=204, headers=_CORS_HEADERS)

    def _allowed(self, request: web.Request) -> str | None:
        """The origin to name in the answer, when the request is of one that may call."""
        origin = request.headers.get("Origin")
        if "*" in self._origins:
            return "*"
        return origin if origin in self._origins else None
