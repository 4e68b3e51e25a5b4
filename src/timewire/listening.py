"""How a server listens: the one address at which it takes HTTP, in the clear or by TLS."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from timewire import tls
from timewire.config import Config
from timewire.errors import error

BACKLOG_CONNECTIONS: Final = 1024
"""Connections that the kernel has taken and the server has not yet."""

IDLE_TIMEOUT_S: Final = 75.0
"""Within this time a whole request must have come on a connection that waits for one.

It ends those that are idle, and those whose request trickles in.  Longer than proxies keep theirs.
"""


class Listener:
    """Listens for an application, from ``start`` to ``stop``; ``url`` says where."""

    def __init__(self, config: Config, application: web.Application) -> None:
        self.url = ""
        self.application = application
        self._config = config
        self._runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=IDLE_TIMEOUT_S,
            shutdown_timeout=config.drain_s,
        )

    async def start(self) -> None:
        """Listen.  Raises ``Unusable`` (address_unusable, bad_config)."""
        config, runner = self._config, self._runner
        await runner.setup()
        encrypted = tls.context(config)
        site = web.TCPSite(
            runner,
            config.host,
            config.port,
            ssl_context=encrypted,
            backlog=BACKLOG_CONNECTIONS,
        )
        try:
            await site.start()
        except OSError as problem:
            raise error(
                "address_unusable", reason=str(problem), host=config.host, port=config.port
            ) from None
        self.url = tls.url(config, *runner.addresses[0][:2])

    async def stop(self) -> None:
        """Take no new connections; those that are there go on."""
        for site in list(self._runner.sites):
            await site.stop()

    async def aclose(self) -> None:
        """End the connections, when what was asked on them is answered."""
        await self._runner.cleanup()
