"""The nineteen rules: each is one function that yields its violations, in words.

The rules lean on one another as little as they can, so one fault of a server is often reported by
several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from timewire.testing.facts import Facts
from timewire.testing.rules.devices import (
    devices_converge,
    expiry_takes_a_prefix,
    lost_cursors_are_told,
    members_get_it_once,
    pushes_are_committed,
    recovery_is_whole,
)
from timewire.testing.rules.operations import backlog_drains, crossing_is_exact, new_life_new_epoch
from timewire.testing.rules.reads import (
    inbox_points_to_stored,
    one_order,
    pages_make_one_scan,
    reads_are_complete,
)
from timewire.testing.rules.sends import (
    acked_is_stored_once,
    nothing_is_made_up,
    one_id_one_seq,
    order_is_real_time,
    unacked_is_stored_at_most_once,
)
from timewire.testing.rules.versions import newest_version_wins

Rule = Callable[[Facts], Iterator[str]]

RULES: Final[dict[int, Rule]] = {
    1: acked_is_stored_once,
    2: unacked_is_stored_at_most_once,
    3: nothing_is_made_up,
    4: one_id_one_seq,
    5: one_order,
    6: order_is_real_time,
    7: reads_are_complete,
    8: members_get_it_once,
    9: inbox_points_to_stored,
    10: pages_make_one_scan,
    11: lost_cursors_are_told,
    12: expiry_takes_a_prefix,
    13: pushes_are_committed,
    14: devices_converge,
    15: recovery_is_whole,
    16: newest_version_wins,
    17: crossing_is_exact,
    18: backlog_drains,
    19: new_life_new_epoch,
}
"""The rules by their numbers."""
