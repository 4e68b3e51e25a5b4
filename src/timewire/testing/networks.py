"""A network of their own for NATS servers, that can be cut between them: Linux namespaces.

Each server has a namespace with one address; a bridge joins them, and the machine itself.  It takes
root and `ip` (iproute2).

    async with running_network(3) as network:
        await network.cut(0, 1)     # the first one's packets no longer reach the second
        await network.heal()
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

MAX_HOSTS: Final = 250
NET_BITS: Final = 24


class NoNetwork(Exception):
    """This machine does not allow it; the text says why."""


class Network:
    """See the module.  ``addresses``: of the hosts, by number."""

    def __init__(self, hosts: int) -> None:
        if not 1 <= hosts <= MAX_HOSTS:
            raise ValueError(f"{hosts} hosts")
        net = f"10.{random.randrange(128, 255)}.{random.randrange(256)}"
        self.addresses: Final = [f"{net}.{number + 1}" for number in range(hosts)]
        self._gateway = f"{net}.254/{NET_BITS}"
        self._bridge = f"tw{secrets.token_hex(4)}"
        self._names = [f"{self._bridge}-{number}" for number in range(hosts)]
        self._cuts: set[tuple[int, int]] = set()

    def command(self, host: int) -> list[str]:
        """What a program's command line begins with that is to run on a host."""
        return ["ip", "netns", "exec", self._names[host]]

    async def cut(self, source: int, target: int) -> None:
        """Let no packet of one host reach another; the other way they still go."""
        if (source, target) not in self._cuts:
            self._cuts.add((source, target))
            await self._route("add", source, target)

    async def heal(self) -> None:
        """Let everything through again."""
        while self._cuts:
            await self._route("del", *self._cuts.pop())

    async def _route(self, what: str, source: int, target: int) -> None:
        there = f"{self.addresses[target]}/32"
        await _ip("-n", self._names[source], "route", what, "blackhole", there)

    async def open(self) -> None:
        """Make it.  Raises ``NoNetwork``."""
        await _ip("link", "add", self._bridge, "type", "bridge")
        await _ip("addr", "add", self._gateway, "dev", self._bridge)
        await _ip("link", "set", self._bridge, "up")
        for number, (name, address) in enumerate(zip(self._names, self.addresses, strict=True)):
            near = f"{self._bridge}.{number}"
            await _ip("netns", "add", name)
            await _ip("link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", name)
            await _ip("link", "set", near, "master", self._bridge, "up")
            await _ip("-n", name, "addr", "add", f"{address}/{NET_BITS}", "dev", "eth0")
            await _ip("-n", name, "link", "set", "lo", "up")
            await _ip("-n", name, "link", "set", "eth0", "up")

    async def aclose(self) -> None:
        """Take it away, as far as it was made."""
        for name in self._names:
            with suppress(NoNetwork):
                await _ip("netns", "del", name)
        with suppress(NoNetwork):
            await _ip("link", "del", self._bridge)


@asynccontextmanager
async def running_network(hosts: int) -> AsyncGenerator[Network]:
    """A network, taken away at the end.  Raises ``NoNetwork``."""
    network = Network(hosts)
    try:
        await network.open()
        yield network
    finally:
        await network.aclose()


async def why_no_network() -> str:
    """Why this machine allows none; empty when it does."""
    try:
        async with running_network(2) as network:
            await network.cut(0, 1)
    except NoNetwork as reason:
        return str(reason)
    return ""


async def _ip(*arguments: str) -> None:
    if os.geteuid():
        raise NoNetwork("it takes root")
    if shutil.which("ip") is None:
        raise NoNetwork("there is no `ip`: install iproute2")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("ip", *arguments, stdout=pipe, stderr=pipe)
    _, told = await process.communicate()
    if process.returncode:
        raise NoNetwork(f"ip {' '.join(arguments)}: {told.decode(errors='replace').strip()}")
