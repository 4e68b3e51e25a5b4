"""All endpoints of a server, and what they remember."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog

from timewire.auth import load_key
from timewire.clock import Clock
from timewire.config import Config
from timewire.directory import Directory
from timewire.errors import TimewireError, error
from timewire.log import MessageLog
from timewire.model import Seq
from timewire.signing import Signer, secret_of
from timewire.webhooks.endpoint import Endpoint, EndpointState
from timewire.webhooks.events import Events
from timewire.webhooks.ledger import FILE, FileLedger, Ledger
from timewire.webhooks.posting import Poster, Terms

KEY_FILE: Final = "webhook-key"

logger = structlog.get_logger("timewire.webhooks")


class Webhooks:
    """Tells every configured endpoint, while ``run`` is running."""

    def __init__(
        self,
        config: Config,
        log: MessageLog,
        directory: Directory,
        online: Callable[[str], bool],
        clock: Clock,
        *,
        ledger: Ledger,
        signer: Signer,
    ) -> None:
        self._ledger = ledger
        self._written = b""
        terms = Terms(config.webhook_attempts, config.webhook_timeout_s, config.webhooks_per_second)
        events = Events(directory, online, log.epoch, config.webhook_events)
        self._endpoints: dict[str, Endpoint] = {}
        for url in config.webhooks:
            name = endpoint_name(url)
            if name in self._endpoints:
                raise error("bad_config", f"webhooks names {name} twice", key="webhooks")
            poster = Poster(url, terms, signer, clock)
            progress = self._ledger.progress(name, log.epoch, log.head)
            self._endpoints[name] = Endpoint(
                name,
                log,
                events=events,
                poster=poster,
                progress=progress,
                clock=clock,
                attempts=terms.attempts,
            )

    async def run(self) -> None:
        """Tell what comes, until the log is closed; remember how far it went."""
        tasks = [asyncio.ensure_future(one.run()) for one in self._endpoints.values()]
        tasks.append(asyncio.ensure_future(self._keep_saving()))
        try:
            await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._save()

    def states(self) -> Sequence[EndpointState]:
        """How far each endpoint has come."""
        return [one.state() for one in self._endpoints.values()]

    def replay(self, name: str, since: Seq | None) -> None:
        """Tell an endpoint again: what is parked, or everything from a SeqId on.

        An empty name means every endpoint.  Raises ``NotFound`` (unknown_endpoint).
        """
        if name and name not in self._endpoints:
            raise error("unknown_endpoint", known=list(self._endpoints))
        for one in [self._endpoints[name]] if name else list(self._endpoints.values()):
            if since is None:
                one.replay_parked()
            else:
                one.rewind(since)

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(self._ledger.save_pause_s)
            await self._save()

    async def _save(self) -> None:
        data = self._ledger.encode()
        if data != self._written:
            try:
                await self._ledger.keep(data)
                self._written = data
            except (OSError, TimewireError) as problem:
                logger.warning("what webhooks remember cannot be saved", reason=str(problem))


def webhooks(
    config: Config,
    log: MessageLog,
    directory: Directory,
    online: Callable[[str], bool],
    clock: Clock,
) -> Webhooks | None:
    """What a configuration asks for: None when nobody is to be told.

    Raises ``Unusable`` (directory_unusable).
    """
    if not config.webhooks:
        return None
    ledger, signer = FileLedger(Path(config.data) / FILE), Signer(find_secrets(config))
    made = Webhooks(config, log, directory, online, clock, ledger=ledger, signer=signer)
    try:
        ledger.write(ledger.encode())
    except OSError as problem:
        reason = f"cannot write what webhooks remember: {problem}"
        raise error("directory_unusable", reason) from None
    return made


def find_secrets(config: Config) -> str:
    """What signs: the configured secrets, or else one of the data directory, made when missing."""
    return config.webhook_secret or secret_of(load_key(Path(config.data) / KEY_FILE))


def endpoint_name(url: str) -> str:
    """An endpoint as it is shown and remembered: without what may be secret, password and query."""
    parts = urlsplit(url)
    return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"
