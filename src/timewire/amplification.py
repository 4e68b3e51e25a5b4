"""Amplification: into how many writes and reads of the store each message turns.

The same traffic is counted for three ways to deliver it:

- pure ``write``: a message is written to its conversation and to each member's inbox; a page of a
  sync reads one inbox;
- pure ``read``: a message is written once; a page reads every conversation of its user;
- as it was: by the mode that each conversation had; a page reads one inbox, and those
  conversations in mode ``read`` that have news.  Looks into memory are not counted.

Messages that are only pushed are written once in all three.
"""

from __future__ import annotations

import msgspec

from timewire.inbox import Traffic


class Cost(msgspec.Struct, frozen=True):
    """Writes to timelines and inboxes, and reads of them, in all."""

    writes: int
    reads: int


class Amplification(msgspec.Struct, frozen=True):
    """What ``messages`` and ``pulls`` (pages that devices asked for) cost, one way and another."""

    messages: int
    pulls: int
    actual: Cost
    write: Cost
    read: Cost


def amplification(traffic: Traffic) -> Amplification:
    """What some traffic has cost, and would have cost."""
    messages = traffic.written + traffic.read + traffic.pushed
    written = messages + traffic.written_receivers
    return Amplification(
        messages,
        traffic.pulls,
        actual=Cost(written, traffic.pulls + traffic.pull_scans),
        write=Cost(written + traffic.read_receivers, traffic.pulls),
        read=Cost(messages, traffic.pull_conversations),
    )
