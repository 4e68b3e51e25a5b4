"""Modes of a cluster: what gateways observe comes together, and the leader changes modes by it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from nats.aio.msg import Msg

from timewire import policy as policies
from timewire.backends.jetstream import Names
from timewire.cluster import init
from timewire.cluster import loads as module
from timewire.cluster.loads import PATIENCE_S, CommonLoads, Observed, Report
from timewire.conversation import Conversation
from timewire.epochs import newest_mode
from timewire.model import Created
from timewire.testing.devices import eventually, raw_device

from .test_together import config, gateway, live, working


class Told:
    """Reports as they come from gateways, at times that a test chooses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loads = CommonLoads(lambda: self.now)

    async def report(self, gateway: str, *observed: Observed) -> None:
        data = msgspec.msgpack.encode(Report(gateway, list(observed)))
        await self.loads.hear(Msg(_client=None, data=data))  # pyright: ignore[reportArgumentType]


TEAM = Conversation.make("team", 1, Created("group", ["alice", "bob"]), "alice")


async def test_messages_are_the_same_everywhere_and_syncs_are_not() -> None:
    told = Told()
    await told.report("g1", Observed("team", 10, 2.0, 1.0), Observed("other", 1, 0.5, 0))
    await told.report("g2", Observed("team", 20, 1.9, 3.0))
    loads = told.loads
    assert set(loads.watched()) == {"team", "other"}
    assert (loads.watched_s("team"), loads.messages_per_s("team")) == (20, 2.0)
    assert loads.syncs_per_s(TEAM) == 4.0
    assert loads.messages_per_s("nowhere") == loads.watched_s("nowhere") == 0


async def test_what_is_reported_no_more_is_forgotten() -> None:
    told = Told()
    await told.report("g1", Observed("team", 10, 2.0, 1.0))
    told.now = PATIENCE_S * 1000
    await told.report("g2", Observed("team", 10, 1.0, 3.0))
    assert told.loads.syncs_per_s(TEAM) == 4.0
    told.now += 1
    assert told.loads.syncs_per_s(TEAM) == 3.0
    told.loads.drop("team")
    assert told.loads.watched() == []
    await told.report("g2", Observed("team", 10, 1.0, 3.0))
    assert told.loads.watched() == ["team"]
    told.now += PATIENCE_S * 1000 + 1
    assert told.loads.watched() == []


async def test_the_leader_changes_a_mode_for_all(
    tmp_path: Path, nats_url: str, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "PAUSE_S", 0.1)
    monkeypatch.setattr(module, "REPORT_PAUSE_S", 0.1)
    await init(nats_url, 1, names)
    w1, g1, g2 = (config(tmp_path, x, nats_url, fanout_policy="read") for x in ("w1", "g1", "g2"))
    async with (
        working(w1, names),
        gateway(g1, names) as one,
        gateway(g2, names) as two,
        raw_device(one.url) as alice,
    ):
        await live(alice, "alice")
        await alice.ask("create", id="c", conversation="team", members=["alice", "bob"])
        await alice.ask("send", id="1", to="team", body={"text": "written"})
        for view in (one, two):
            directory = view.server._store.directory  # pyright: ignore[reportPrivateUsage]
            team = await directory.conversation("team")
            assert team is not None
            await eventually(lambda team=team: newest_mode(team.epochs) == "read")
        await alice.ask("send", id="2", to="team", body={"text": "read"})
        async with raw_device(two.url) as bob:
            await live(bob, "bob")
            page = await bob.ask("history", id="h", conversation="team")
            said = [one["body"].get("text") for one in page["messages"]]
            assert said == ["read", "written", None]
            await alice.ask("send", id="3", to="team", body={"text": "pushed"})
            assert (await bob.expect("push"))["message"]["body"] == {"text": "pushed"}
