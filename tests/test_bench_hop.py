"""The price of a way between two processes."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import hop  # noqa: E402


def test_both_sides_have_a_price() -> None:
    gateway, engine = hop.hop(2000, 20)
    assert gateway > 0
    assert engine > 0


class Engine(hop.Engine):
    """Keeps what it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[bytes] = []

    def put(self, block: bytes) -> None:
        self.blocks.append(block)


class Gateway(hop.Gateway):
    """Keeps what it sends."""

    def __init__(self, messages: int, batch: int) -> None:
        super().__init__(messages, batch)
        self.blocks: list[bytes] = []

    def put(self, block: bytes) -> None:
        self.blocks.append(block)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_every_message_is_answered_twice_however_the_bytes_arrive(size: int) -> None:
    engine, gateway = Engine(), Gateway(6, 3)
    gateway.send()
    data = len(gateway.blocks[0]).to_bytes(hop.LENGTH_BYTES, "big") + gateway.blocks[0]
    for at in range(0, len(data), size):
        engine.data_received(data[at : at + size])

    gateway.got(engine.blocks[0])
    assert gateway.frames == 6
    assert not gateway.done.is_set()
    gateway.got(engine.blocks[0])
    assert gateway.done.is_set()
