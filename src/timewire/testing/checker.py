"""The checker: a history of a run in, what went wrong out.  Pure: no clock, no I/O."""

from __future__ import annotations

from itertools import islice
from typing import Final

import msgspec

from timewire.testing.facts import Facts
from timewire.testing.history import History
from timewire.testing.rules import RULES

MAX_VIOLATIONS_A_RULE: Final = 20
"""More of the same kind tell nothing new."""


class Violation(msgspec.Struct, frozen=True):
    """A rule that was broken, by its number, and how."""

    rule: int
    what: str

    def __str__(self) -> str:
        return f"rule {self.rule}: {self.what}"


def check(history: History) -> list[Violation]:
    """All violations, at most ``MAX_VIOLATIONS_A_RULE`` a rule."""
    return check_facts(Facts(history))


def check_facts(facts: Facts) -> list[Violation]:
    """All violations, for a caller that has the facts already."""
    return [
        Violation(number, what)
        for number, rule in RULES.items()
        for what in islice(rule(facts), MAX_VIOLATIONS_A_RULE)
    ]
