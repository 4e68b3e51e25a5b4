"""A restart of a server that many are connected to: everybody comes back, and misses nothing."""

import resource
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import storm  # noqa: E402
from bench.cases import storm as case  # noqa: E402
from bench.wire import Fault, Link  # noqa: E402


async def test_all_come_back_at_once_while_others_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storm, "MEMBERS", 50)
    found = await storm.storm(0.3, connections=120)

    assert found["connections"] == 120
    assert found["back_per_s"] > 0
    assert 0 < found["back_p50_s"] <= found["back_max_s"]
    assert found["storm_sends_per_s"] > 0
    assert 0 < found["storm_ack_p50_ms"] <= found["storm_ack_max_ms"]
    named = {target.key for target in case(120).targets}
    assert named <= set(found), "the table shows what is found"


def test_no_more_than_one_process_may_have() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert storm.possible(10) == 10
    assert storm.possible(hard * 2) == hard - storm.SPARE_FILES


class Door:
    """Lets nobody in before some have tried."""

    def __init__(self, refused: int) -> None:
        self.refused = refused
        self.door = self

    async def link(self, user: str, *, live: bool) -> Link:
        self.refused -= 1
        raise ConnectionRefusedError if self.refused >= 0 else Fault("the end of this test")


async def test_who_is_refused_tries_again_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storm, "MAX_RETRY_S", 0.001)
    device, door = storm.Device(Link("alice", "d")), Door(3)
    server: Any = door

    with pytest.raises(Fault, match="alice did not get in"):
        await device.return_to(server)
    assert device.retries == storm.TRIES
    assert door.refused == 3 - storm.TRIES
