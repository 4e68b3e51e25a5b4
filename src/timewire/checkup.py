"""What a checkup of a data directory finds: the words that backends and the command share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

MAX_SHOWN_FINDINGS: Final = 100
"""Findings of one check that are told one by one; of the others only how many there are."""

Told = Callable[[int, int], None]
"""Called with how many keys were looked at, and about how many there are."""

Weight = Literal["error", "warning"]
"""``error``: something is wrong that users can notice.  ``warning``: worth a look."""


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it should be.

    ``check``: which one found it.  ``repair``: what putting it right means; empty when that is not
    safe to do.  ``repaired``: it was done.
    """

    check: str
    weight: Weight
    what: str
    repair: str = ""
    repaired: bool = False


class Checkup(msgspec.Struct, frozen=True):
    """What was looked at and what was found.  ``checked``: check -> how many things."""

    path: str
    format: int
    epoch: str
    head: int
    checked: dict[str, int]
    findings: list[Finding]
    more: dict[str, int]
    """check -> findings beyond ``MAX_SHOWN_FINDINGS``, which are not listed."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong that was not repaired."""
        return not self.more and all(one.repaired for one in self.findings if one.weight == "error")


class Notes:
    """Collects findings, within bounds."""

    def __init__(self) -> None:
        self.checked: dict[str, int] = {}
        self.findings: list[Finding] = []
        self.more: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def count(self, check: str, number: int = 1) -> None:
        """So many things were looked at."""
        self.checked[check] = self.checked.get(check, 0) + number

    def add(self, finding: Finding) -> None:
        """Something was found."""
        self._counts[finding.check] = self._counts.get(finding.check, 0) + 1
        if self._counts[finding.check] <= MAX_SHOWN_FINDINGS:
            self.findings.append(finding)
        elif not finding.repaired:
            self.more[finding.check] = self.more.get(finding.check, 0) + 1
