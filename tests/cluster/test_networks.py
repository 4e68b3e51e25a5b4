"""A network that can be cut, where this machine allows one; else it says why it does not."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from timewire.testing.networks import Network, NoNetwork, running_network, why_no_network

_LISTEN = """
import socket, sys
server = socket.create_server((sys.argv[1], 5000))
print("ready", flush=True)
while True:
    server.accept()[0].sendall(b"hello")
"""
_ASK = """
import socket, sys
try:
    there = socket.create_connection((sys.argv[1], 5000), 0.5)
    print(there.recv(5).decode())
except OSError:
    print("nobody")
"""


async def ask(network: Network, source: int, target: int) -> str:
    """What one host hears from another."""
    command = [*network.command(source), sys.executable, "-c", _ASK, network.addresses[target]]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    told, _ = await process.communicate()
    return told.decode().strip()


async def test_it_is_cut_and_healed_where_it_can_be() -> None:
    why_not = await why_no_network()
    if why_not:
        with pytest.raises(NoNetwork):
            async with running_network(2):
                pass
        return
    async with running_network(3) as network:
        listening = [
            await asyncio.create_subprocess_exec(
                *network.command(host), sys.executable, "-c", _LISTEN, address, stdout=-1
            )
            for host, address in enumerate(network.addresses)
        ]
        for process in listening:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        await network.cut(0, 1)
        await network.cut(0, 1)
        assert await ask(network, 0, 1) == await ask(network, 1, 0) == "nobody"
        assert await ask(network, 0, 2) == await ask(network, 2, 1) == "hello"
        _, writer = await asyncio.open_connection(network.addresses[1], 5000)
        writer.close()
        await network.heal()
        assert await ask(network, 0, 1) == "hello"
        for process in listening:
            process.kill()
            await process.wait()
    gone = [*network.command(0), "true"]
    ended = await asyncio.create_subprocess_exec(*gone, stderr=subprocess.DEVNULL)
    assert await ended.wait() != 0


@pytest.mark.parametrize("hosts", [0, 251])
def test_so_many_hosts_are_no_network(hosts: int) -> None:
    with pytest.raises(ValueError, match="hosts"):
        Network(hosts)
