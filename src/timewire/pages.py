"""The web client: its pages, what they load, and in development mode accounts to try it with.

The files are made by ``make web`` and are part of the wheel.  All of them are held in memory, so no
path that is asked for ever reaches the disk.
"""

from __future__ import annotations

import gzip
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from timewire.auth import Keys, mint
from timewire.clock import Clock
from timewire.config import Config
from timewire.errors import error
from timewire.hosts import is_loopback

ASSETS: Final = files("timewire") / "web_assets"
"""Where ``make web`` puts what it makes."""

DEMO_USERS: Final = ("alice", "bob", "carol", "dave")
DEMO_TOKEN_LIFE_S: Final = 24 * 3600
MIN_GZIP_BYTES: Final = 500

NOT_BUILT: Final = "The web client is not built here. Run: make web\n"

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Everything comes from here; nothing that stands in a page runs, and no text becomes markup."""

_PAGE_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_HASHED: Final = "public, max-age=31536000, immutable"
"""For files whose names say what they hold."""


class File:
    """A file of the web client."""

    def __init__(self, name: str, body: bytes, *, hashed: bool) -> None:
        self._type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        self._body = body
        self._headers = (
            _PAGE_HEADERS
            if self._type == "text/html"
            else {"Cache-Control": _HASHED if hashed else "no-cache"}
        )

    @cached_property
    def _gzip(self) -> bytes:
        return gzip.compress(self._body, mtime=0)

    def response(self, request: web.Request) -> web.Response:
        """The file, compressed where that is taken."""
        headers = {**self._headers, "Vary": "Accept-Encoding"}
        body = self._body
        if "gzip" in request.headers.get("Accept-Encoding", "") and len(body) > MIN_GZIP_BYTES:
            body = self._gzip
            headers["Content-Encoding"] = "gzip"
        charset = "utf-8" if self._type.startswith("text/") else None
        return web.Response(body=body, content_type=self._type, charset=charset, headers=headers)


class Pages:
    """Serves the web client.  ``install`` puts it into an application."""

    def __init__(
        self, config: Config, keys: Keys, clock: Clock, assets: Traversable = ASSETS
    ) -> None:
        self._keys = keys
        self._audience = config.audience
        self._clock = clock
        self._users = DEMO_USERS if config.mode == "development" else ()
        self._files = _read(assets)

    def install(self, application: web.Application) -> None:
        """Add the routes: pages have an address each, and what they load has its own."""
        router = application.router
        router.add_get("/", self._page)
        router.add_get("/c/{conversation:[^/]+}", self._page)
        for path, file in self._files.items():
            if path != "/index.html":
                router.add_get(path.removesuffix(".html"), _serve(file))
        router.add_get("/demo/users", self._demo_users)
        router.add_post("/demo/tokens/{user:[^/]+}", self._demo_token)

    async def _page(self, request: web.Request) -> web.Response:
        page = self._files.get("/index.html")
        if page is None:
            return web.Response(text=NOT_BUILT, status=503)
        return page.response(request)

    async def _demo_users(self, request: web.Request) -> web.Response:
        users = self._users if _is_local(request) else ()
        return web.json_response({"users": users}, dumps=_json)

    async def _demo_token(self, request: web.Request) -> web.Response:
        user = request.match_info["user"]
        if user not in self._users or not _is_local(request):
            raise error("unknown_path")
        token = mint(
            self._keys.secret,
            user,
            life_s=DEMO_TOKEN_LIFE_S,
            audience=self._audience,
            clock=self._clock,
        )
        return web.json_response({"token": token}, dumps=_json)


def _is_local(request: web.Request) -> bool:
    """Whether the page was asked for by a name of this machine, not by one that leads here."""
    return is_loopback(urlsplit(f"//{request.host}").hostname or "")


def _serve(file: File) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return file.response(request)

    return handle


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _read(assets: Traversable) -> Mapping[str, File]:
    """All files by their paths on the server; none when they are not made."""
    found: dict[str, File] = {}
    if not assets.is_dir():
        return found
    for entry in assets.iterdir():
        if entry.is_file():
            found[f"/{entry.name}"] = File(entry.name, entry.read_bytes(), hashed=False)
    hashed = assets / "assets"
    for entry in hashed.iterdir() if hashed.is_dir() else ():
        found[f"/assets/{entry.name}"] = File(entry.name, entry.read_bytes(), hashed=True)
    return found
