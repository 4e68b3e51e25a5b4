"""The HTTP side of the same commands."""

from __future__ import annotations

from aiohttp import web

from timewire.auth import Keys
from timewire.bus import Bus
from timewire.config import Config
from timewire.gateway import Verify
from timewire.hub import Hub
from timewire.queries import Queries
from timewire.send import Sender
from timewire.sync import Sync


class Api:
    """HTTP handlers.  ``install`` puts their routes into an application."""

    def __init__(
        self,
        config: Config,
        keys: Keys,
        verify: Verify,
        *,
        hub: Hub,
        bus: Bus,
        sender: Sender,
        sync: Sync,
        queries: Queries,
    ) -> None:
        self._hub = hub

    def install(self, application: web.Application) -> None:
        """Add the routes."""
        application.router.add_get("/healthz", self._healthz)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": True})
