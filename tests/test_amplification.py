"""Amplification: the same traffic, three ways."""

from pathlib import Path

from timewire import client, library
from timewire.amplification import Amplification, Cost, amplification
from timewire.auth import mint
from timewire.inbox import Traffic
from timewire.testing.devices import raw_device
from timewire.testing.servers import serving


def test_nothing_costs_nothing() -> None:
    nothing = Cost(0, 0)
    assert amplification(Traffic()) == Amplification(0, 0, nothing, nothing, nothing)


def test_a_small_group_is_cheap_to_read_and_a_large_one_cheap_to_write() -> None:
    found = amplification(
        Traffic(
            written=10,
            written_receivers=30,
            read=5,
            read_receivers=50_000,
            pushed=2,
            pushed_receivers=900,
            pulls=100,
            pull_conversations=1000,
            pull_scans=40,
        )
    )
    assert (found.messages, found.pulls) == (17, 100)
    assert found.actual == Cost(17 + 30, 100 + 40)
    assert found.write == Cost(17 + 30 + 50_000, 100)
    assert found.read == Cost(17, 1000)


async def test_a_server_counts_what_it_delivers_and_what_is_pulled(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as server:
        alice, bob = (mint(server.keys.secret, user) for user in ("alice", "bob"))
        async with client.connect(server.url, alice, device="laptop") as device:
            await device.create("team", ["bob", "carol"])
            for number in range(4):
                await device.send("team", {"text": str(number)})
        async with raw_device(server.url) as raw:
            base = (await raw.hello(bob, "phone"))["base"]
        async with raw_device(server.url) as raw:
            await raw.hello(bob, "phone", cursor={"base": base, "pos": "0"})
            await raw.until("live")
        # Pulls are written with the next message.
        async with client.connect(server.url, alice, device="laptop") as device:
            await device.send("team", {"text": "another"})
        found = library.inspect_amplification(tmp_path / "data")
    assert found.messages == 6
    assert found.pulls >= 1
    assert found.actual == found.write == Cost(6 + 18, found.pulls)
    assert found.read.writes == 6
