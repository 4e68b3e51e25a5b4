"""Changes of mode: decided by load, written to the log, bounded."""

import asyncio

import pytest

from timewire import modes as module
from timewire.backends.memory import MemoryStore
from timewire.conversation import Conversation
from timewire.epochs import SYSTEM_MODES, Epoch, ModeName, newest_mode
from timewire.errors import Retryable
from timewire.load import Loads
from timewire.model import Change, ConversationKind, Created, Draft, encode_change
from timewire.modes import Modes
from timewire.policy import AdaptivePolicy, Load
from timewire.testing.contracts import ManualClock
from timewire.testing.devices import eventually


class Asked:
    """A policy that says what it is told to, and keeps what it was asked."""

    watch_members = 2
    pause_s = 0.001

    def __init__(self) -> None:
        self.wanted: dict[str, ModeName] = {}
        self.asked: list[Load] = []
        self.broken = False

    def choose(self, load: Load) -> ModeName:
        self.asked.append(load)
        if self.broken:
            raise ZeroDivisionError
        return self.wanted.get(load.conversation, load.mode)


class Town:
    def __init__(self) -> None:
        self.clock = ManualClock(0)
        self.store = MemoryStore(self.clock)
        self.policy = Asked()
        self.loads = Loads(self.clock, self.policy.watch_members)
        self.modes = self.made(self.policy)

    def made(self, policy: Asked | AdaptivePolicy) -> Modes:
        return Modes(
            self.store.log,
            self.store.directory,
            self.store.inbox,
            loads=self.loads,
            policy=policy,
            ticks=self.clock,
        )

    async def create(
        self, name: str, members: int, kind: ConversationKind = "group"
    ) -> Conversation:
        change: Change = Created(kind, [f"u{n}" for n in range(members)])
        await self.store.log.append(
            [Draft(name, "u0", "", encode_change("u0", "", change), change)]
        )
        found = await self.store.directory.conversation(name)
        assert found is not None
        return found


def mode_of(conversation: Conversation) -> ModeName:
    return newest_mode(conversation.epochs)


@pytest.fixture
def town() -> Town:
    return Town()


async def test_only_conversations_with_messages_are_asked_about(town: Town) -> None:
    await town.create("team", 3)
    await town.create("quiet", 3)
    town.loads.sent("team")
    town.loads.sent("unknown")
    await town.modes.decide()
    assert [load.conversation for load in town.policy.asked] == ["team"]
    assert town.store.log.head == 2


async def test_a_decision_is_a_message_that_nobody_gets(town: Town) -> None:
    team = await town.create("team", 3)
    town.policy.wanted["team"] = "read"
    town.loads.sent("team")
    await town.modes.decide()
    assert team.epochs == [Epoch(2, "read")]
    [message] = await town.store.log.read(1)
    assert (message.conversation, message.seq) == (SYSTEM_MODES, 2)
    assert await town.store.directory.conversation(SYSTEM_MODES) is None
    await town.modes.decide()
    assert town.store.log.head == 2


async def test_it_decides_again_and_again_also_after_a_failure(town: Town) -> None:
    team = await town.create("team", 3)
    town.loads.sent("team")
    town.policy.wanted["team"] = "read"
    town.store.log.writable = False
    running = asyncio.create_task(town.modes.run())
    await eventually(lambda: len(town.policy.asked) >= 3)
    assert mode_of(team) == "write"
    town.store.log.writable = True
    await eventually(lambda: mode_of(team) == "read")
    running.cancel()


async def test_the_policy_is_told_the_load(town: Town) -> None:
    await town.create("team", 3)
    town.loads.sent("team")
    town.loads.pulled("u1")
    town.clock.now += 30_000
    town.policy.wanted["team"] = "read"
    await town.modes.decide()
    town.clock.now += 10_000
    await town.modes.decide()
    first, second = town.policy.asked
    assert (first.kind, first.mode, first.members) == ("group", "write", 3)
    assert (first.watched_s, first.settled_s) == (30.0, float("inf"))
    assert first.messages_per_s == first.syncs_per_s > second.messages_per_s > 0
    assert (second.mode, second.watched_s, second.settled_s) == ("read", 40.0, 10.0)


async def test_what_has_gone_quiet_is_watched_no_longer(town: Town) -> None:
    await town.create("team", 3)
    town.loads.sent("team")
    town.clock.now += 3_600_000
    await town.modes.decide()
    assert town.loads.watched() == []


async def test_whether_it_is_a_room_is_not_up_to_a_policy(town: Town) -> None:
    team, party = await town.create("team", 3), await town.create("party", 3, "room")
    town.policy.wanted = {"team": "push", "party": "write"}
    for name in town.policy.wanted:
        town.loads.sent(name)
    await town.modes.decide()
    assert (mode_of(team), mode_of(party)) == ("write", "push")


async def test_a_policy_that_fails_changes_nothing(town: Town) -> None:
    team = await town.create("team", 3)
    town.loads.sent("team")
    town.policy.broken = True
    await town.modes.decide()
    assert (mode_of(team), len(town.policy.asked)) == ("write", 1)


async def test_a_log_that_cannot_be_written_leaves_the_mode(town: Town) -> None:
    team = await town.create("team", 3)
    town.loads.sent("team")
    town.policy.wanted["team"] = "read"
    town.store.log.writable = False
    with pytest.raises(Retryable):
        await town.modes.decide()
    assert mode_of(team) == "write"
    town.store.log.writable = True
    await town.modes.decide()
    assert mode_of(team) == "read"


async def test_epochs_are_bounded(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EPOCHS", 3)
    team = await town.create("team", 3)
    town.loads.sent("team")
    for turn in range(6):
        town.policy.wanted["team"] = "write" if turn % 2 else "read"
        await town.modes.decide()
    assert [epoch.mode for epoch in team.epochs] == ["read", "write", "read"]


async def test_a_group_becomes_large_and_small_again(town: Town) -> None:
    policy = AdaptivePolicy(write_members_max=10, read_members_min=4, hysteresis=2, dwell_s=60)
    modes = town.made(policy)
    crowd, team = await town.create("crowd", 11), await town.create("team", 8)
    for _ in range(120):
        town.clock.now += 1000
        town.loads.sent("crowd")
        town.loads.sent("team")
        for name in ("u0", "u1"):
            town.loads.pulled(name)
        await modes.decide()
    # Eight members, one message a second, two syncs a second that find it: writing is cheaper.
    assert (mode_of(crowd), mode_of(team)) == ("read", "write")
    assert len(crowd.epochs) == 1
    for _ in range(120):
        town.clock.now += 1000
        for _ in range(100):
            town.loads.sent("team")
        await modes.decide()
    assert mode_of(team) == "read"
    assert len(team.epochs) == 1
