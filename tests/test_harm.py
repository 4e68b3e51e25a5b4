"""Each harm hurts a real server, and leaves it whole."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from timewire.testing import harm
from timewire.testing.devices import RawDevice, raw_device
from timewire.testing.harm import HARMS, Machine, faketime, machine, small_disk
from timewire.testing.relay import Relay
from timewire.testing.servers import ServerProcess

MEGABYTES = 256


@pytest.fixture
async def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Machine]:
    for name in ("STOPPED_S", "FULL_S", "JUMPED_S", "NETWORK_S"):
        monkeypatch.setattr(harm, name, (0.4, 0.4))
    async with machine(tmp_path, MEGABYTES, sends_per_second=0) as found:
        yield found


async def send(device: RawDevice, id: str) -> dict[str, object]:
    return await device.ask("send", id=id, to="self:alice", body={"text": "x" * 1000})


async def is_stored(device: RawDevice, id: str) -> bool:
    """Sent as a device does it: again, while it is told that this may help."""
    while (answer := await send(device, id))["type"] != "ack":
        assert answer["retry"], answer
        await asyncio.sleep(0.1)
    return True


async def greet(device: RawDevice, machine: Machine) -> RawDevice:
    await device.hello(machine.server.token("alice"), "phone")
    return device


async def test_every_harm_is_felt_and_leaves_the_server_whole(victim: Machine) -> None:
    """All on one server, one after the other: each start takes a while."""
    felt = {
        "stopped": it_is_stopped,
        "disk full": its_disk_is_full,
        "clock jumps": its_clock_jumps,
        "network": its_network_is_bad,
    }
    for name in HARMS:
        if name not in victim.missing:
            feel = felt.get(name)
            await (feel(victim) if feel else victim.suffer(name))
            async with raw_device(victim.relay.url) as device:
                await greet(device, victim)
                assert await is_stored(device, f"after {name}")


async def its_disk_is_full(victim: Machine) -> None:
    """Who sends is told; who reads is served."""
    assert victim.disk is not None
    async with raw_device(victim.server.url) as device:
        await greet(device, victim)
        full = asyncio.create_task(victim.suffer("disk full"))
        answer: dict[str, object] = {}
        number = 0
        while not full.done() and answer.get("type") != "error":
            number += 1
            answer = await send(device, f"while {number}")
            await asyncio.sleep(0.01)
        page = await device.ask("history", id="h", conversation="self:alice", limit=1, after=0)
        assert page["type"] == "history_page"
        await full
        assert answer["code"] in ("storage_unavailable", "outcome_unknown"), answer
        assert list(victim.disk.glob("ballast")) == []


async def it_is_stopped(victim: Machine) -> None:
    """It says nothing, and then everything."""
    async with raw_device(victim.server.url) as device:
        await greet(device, victim)
        stopped = asyncio.create_task(victim.suffer("stopped"))
        await asyncio.sleep(0)
        assert (await send(device, "while stopped"))["type"] == "ack"
        assert stopped.done()


async def its_clock_jumps(victim: Machine) -> None:
    """Forward and back; the times of messages never go back."""
    assert victim.clock is not None
    async with raw_device(victim.server.url) as device:
        await greet(device, victim)
        before = await send(device, "now")
        victim.clock.jump(7200)
        after = await send(device, "later")
        victim.clock.jump(0)
        again = await send(device, "now again")
    times = [int(str(one["time"])) for one in (before, after, again)]
    assert times[1] - times[0] >= 7_000_000
    assert times[2] >= times[1]
    await victim.suffer("clock jumps")


async def its_network_is_bad(victim: Machine) -> None:
    """In each of its ways."""
    done: set[str] = set()
    choose = victim.chance.choice
    for way in ("slow", "held", "cut"):
        victim.chance.choice = lambda _, way=way: done.add(way) or way  # pyright: ignore
        await victim.suffer("network")
    victim.chance.choice = choose  # pyright: ignore[reportAttributeAccessIssue]
    assert len(done) == 3
    assert victim.relay.delay_s == 0


def test_what_is_missing_is_named() -> None:
    server = ServerProcess(Path("nowhere"))
    bare = Machine(server, Relay(lambda: ""), None, None)
    assert set(bare.missing) == {"disk full", "clock jumps"}
    assert set(bare.missing) < set(HARMS)


def test_a_small_disk_goes_when_it_is_left(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as mounted:
        assert (tmp_path / "disk").is_mount() == mounted
    assert not (tmp_path / "disk").is_mount()
    assert faketime() is None or Path(str(faketime())).exists()
