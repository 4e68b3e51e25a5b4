"""The handlers of the routes: each a few lines between a struct asked for and a struct answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from timewire.adminkeys import AdminKeys
from timewire.api.callers import Callers
from timewire.api.docs import PAGE, PAGE_HEADERS, SCRIPT_GZIP, SCRIPT_HEADERS
from timewire.api.edge import Headers, answer, errors, read, refusal
from timewire.api.files import Files
from timewire.api.openapi import document
from timewire.api.readiness import Watch
from timewire.api.routes import (
    ROUTES,
    Health,
    Poll,
    Revoked,
    Route,
    Synced,
    Token,
    TokenRequest,
)
from timewire.api.waiters import Waiters
from timewire.attachments import Attachments
from timewire.auth import Keys, mint
from timewire.backups import Snapshots
from timewire.bus import Bus
from timewire.clock import Clock, Ticks
from timewire.commands import Command, place_of
from timewire.config import Config
from timewire.errors import TimewireError, error
from timewire.explorer import Explore, Explorer, Follow
from timewire.gateway import Verify
from timewire.hub import Hub
from timewire.log import MessageLog
from timewire.logins import Logins, Revoke
from timewire.metrics import RESETS
from timewire.model import Seq
from timewire.protocol import Cursor, Query
from timewire.quotas import Quotas
from timewire.search import Indexer
from timewire.send import Intake
from timewire.session import Answer
from timewire.sync import CursorLost, Pulled, Sync, seq_of
from timewire.webhooks import EndpointList, Replay, Webhooks


class Api:
    """HTTP for one server.  ``install`` puts it into an application."""

    def __init__(
        self,
        config: Config,
        keys: Keys,
        verify: Verify,
        clock: Clock,
        ticks: Ticks,
        *,
        log: MessageLog,
        hub: Hub,
        bus: Bus,
        sender: Intake,
        quotas: Quotas,
        sync: Sync,
        answer: Answer,
        indexer: Indexer | None,
        attachments: Attachments,
        logins: Logins,
        webhooks: Webhooks | None,
        snapshots: Snapshots,
        explorer: Explorer,
        stopping: Callable[[], bool],
    ) -> None:
        self._keys = keys
        self._audience = config.audience
        self._clock = clock
        self._ticks = ticks
        self._log = log
        self._hub = hub
        self._sender = sender
        self._sync = sync
        self._answer = answer
        self._logins = logins
        self._indexer = indexer
        self._webhooks = webhooks
        self._snapshots = snapshots
        self._explorer = explorer
        self._callers = Callers(AdminKeys(Path(config.data), keys.admin_key), verify, quotas)
        self._files = Files(attachments, self._callers)
        self._headers = Headers(config.origins)
        self._watch = Watch()
        self._stopping = stopping
        self._waiters = Waiters()
        bus.subscribe(self._waiters.publish)

    def install(self, application: web.Application) -> None:
        """Add the routes, and what holds for every response of the application."""
        application.middlewares.extend((errors, self._headers.preflight))
        application.on_response_prepare.append(self._headers.prepare)
        application.on_shutdown.append(self._shut_down)
        for route in ROUTES:
            handler = partial(self._handlers()[route.does], route)
            path = route.path.replace("}", ":[^/]+}")
            if route.method == "GET":
                application.router.add_get(path, handler)
            else:
                application.router.add_route(route.method, path, handler)

    def _handlers(self) -> dict[str, Callable[[Route, web.Request], Awaitable[web.StreamResponse]]]:
        return {
            "command": self._command,
            "question": self._question,
            "poll": self._poll,
            "upload": self._files.upload,
            "download": self._files.download,
            "token": self._token,
            "revoke": self._revoke,
            "index": self._index,
            "reindex": self._reindex,
            "explore": self._explore,
            "follow": self._follow,
            "webhooks": self._endpoints,
            "replay": self._replay,
            "snapshot": self._snapshot,
            "release": self._release,
            "health": self._health,
            "ready": self._ready,
            "metrics": self._metrics,
            "openapi": self._openapi,
            "docs": self._docs,
            "script": self._script,
        }

    async def _shut_down(self, _: web.Application) -> None:
        self._waiters.close()

    # -- messages and conversations -------------------------------------------------------------

    async def _command(self, route: Route, request: web.Request) -> web.Response:
        caller = self._callers.find(request)
        command = cast(Command, await read(request, _asks(route)))
        self._callers.count(caller, place_of(caller.user, command))
        try:
            return answer(await self._sender.ask(caller.user, command, caller.authority))
        except TimewireError as fault:
            return refusal(fault, command.id)

    async def _question(self, route: Route, request: web.Request) -> web.Response:
        caller = self._callers.find(request)
        query = cast(Query, await read(request, _asks(route)))
        return answer(await self._answer(caller.user, query))

    async def _poll(self, route: Route, request: web.Request) -> web.Response:
        user = self._callers.find(request).user
        poll = await read(request, Poll)
        base, head = self._sync.base(user), self._hub.position
        if not poll.base and not poll.pos:
            return answer(Synced([], Cursor(base, str(head))))
        try:
            cursor = Cursor(poll.base, poll.pos)
            await self._hub.near(seq_of(cursor))
            position = self._sync.locate(user, cursor, max(head, self._hub.position))
            page = await self._news(request, user, position, poll.wait)
        except CursorLost as lost:
            RESETS.labels(lost.reason).inc()
            cursor = Cursor(base, str(self._hub.position))
            return answer(Synced([], cursor, reset=lost.reason))
        self._callers.know(request)  # the token may have ended while we waited
        messages = [msgspec.Raw(message) for message in page.messages]
        return answer(Synced(messages, Cursor(base, str(page.position)), page.has_more))

    async def _news(self, request: web.Request, user: str, position: Seq, wait_s: int) -> Pulled:
        """A page of what is past a position, once there is something or the time is over."""
        if not wait_s:
            return await self._sync.pull(user, position, self._hub.position)
        until = asyncio.get_running_loop().time() + wait_s
        with self._waiters.join(user) as waiter:
            while True:
                # Whatever is published from here on wakes the waiter: nothing is missed.
                waiter.begin()
                page = await self._sync.pull(user, position, self._hub.position)
                if page.messages or not await waiter.news(until, lambda: _is_gone(request)):
                    return page
                position = page.position

    # -- the product's backend ------------------------------------------------------------------

    async def _token(self, route: Route, request: web.Request) -> web.Response:
        self._callers.check_admin(request, route.scope)
        asked = await read(request, TokenRequest)
        now = self._clock()
        token = mint(
            self._keys.secret,
            asked.user,
            asked.device,
            life_s=asked.life_s,
            audience=self._audience,
            clock=lambda: now,
        )
        return answer(Token(token, (now // 1000 + asked.life_s) * 1000))

    async def _revoke(self, route: Route, request: web.Request) -> web.Response:
        self._callers.check_admin(request, route.scope)
        await self._logins.revoke(await read(request, Revoke))
        return answer(Revoked())

    # -- the search index -----------------------------------------------------------------------

    async def _index(self, route: Route, request: web.Request) -> web.Response:
        return answer(self._indexing(route, request).progress())

    async def _reindex(self, route: Route, request: web.Request) -> web.Response:
        indexer = self._indexing(route, request)
        indexer.rebuild()
        return answer(indexer.progress())

    def _indexing(self, route: Route, request: web.Request) -> Indexer:
        self._callers.check_admin(request, route.scope)
        if self._indexer is None:
            raise error("search_off")
        return self._indexer

    # -- the explorer ---------------------------------------------------------------------------

    async def _explore(self, route: Route, request: web.Request) -> web.Response:
        self._callers.check_admin(request, route.scope)
        return answer(await self._explorer.explore(await read(request, Explore)))

    async def _follow(self, route: Route, request: web.Request) -> web.Response:
        self._callers.check_admin(request, route.scope)
        return answer(await self._explorer.follow(await read(request, Follow)))

    # -- webhooks -------------------------------------------------------------------------------

    async def _endpoints(self, route: Route, request: web.Request) -> web.Response:
        self._callers.check_admin(request, route.scope)
        return answer(EndpointList(list(self._webhooks.states() if self._webhooks else ())))

    async def _replay(self, route: Route, request: web.Request) -> web.Response:
        self._callers.check_admin(request, route.scope)
        asked = await read(request, Replay)
        if self._webhooks is None:
            raise error("unknown_endpoint", known=[])
        self._webhooks.replay(asked.endpoint, asked.since)
        return answer(EndpointList(list(self._webhooks.states())))

    # -- backups --------------------------------------------------------------------------------

    async def _snapshot(self, route: Route, request: web.Request) -> web.Response:
        self._callers.check_admin(request, route.scope)
        return answer(await self._snapshots.make(self._log.epoch, self._log.head))

    async def _release(self, route: Route, request: web.Request) -> web.Response:
        self._callers.check_admin(request, route.scope)
        await self._snapshots.remove()
        return answer(Health())

    # -- operation and documentation ------------------------------------------------------------

    async def _health(self, route: Route, request: web.Request) -> web.Response:
        return answer(Health())

    async def _ready(self, route: Route, request: web.Request) -> web.Response:
        state = self._watch.judge(
            writable=self._log.writable,
            head=self._log.head,
            position=self._hub.position,
            now=self._ticks(),
            stopping=self._stopping(),
            trouble=self._sender.trouble,
        )
        return answer(state, 200 if state.ready else 503)

    async def _metrics(self, route: Route, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _openapi(self, route: Route, request: web.Request) -> web.Response:
        return web.Response(body=document(), content_type="application/json")

    async def _docs(self, route: Route, request: web.Request) -> web.Response:
        return web.Response(body=PAGE, content_type="text/html", headers=PAGE_HEADERS)

    async def _script(self, route: Route, request: web.Request) -> web.Response:
        return web.Response(
            body=SCRIPT_GZIP, content_type="text/javascript", headers=SCRIPT_HEADERS
        )


def _asks(route: Route) -> type[msgspec.Struct]:
    assert route.asks is not None
    return route.asks


def _is_gone(request: web.Request) -> bool:
    """Whether nobody waits for the answer any more."""
    return request.transport is None or request.transport.is_closing()
