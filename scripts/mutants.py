"""Plant bugs, one at a time, in a copy of the code, and see that the simulation finds each.

    python scripts/mutants.py [--seeds 60] [--only 3]

Each bug is one line: a file, what stands there, and what is to stand there.  A bug that nobody
finds is a hole in the simulation or the checker.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Mutant(NamedTuple):
    """A bug: where, and what it changes.  ``often``: almost any run finds it."""

    file: str
    right: str
    wrong: str
    often: bool = False


MUTANTS = (
    # fan-out
    Mutant(
        "fanout.py",
        "async for batch in self._log.tail(self._published):",
        "async for batch in self._log.tail(self._log.head):",
    ),
    Mutant(
        "plan.py",
        "return Delivery(message, conversation.members_at(seq))",
        "return Delivery(message, conversation.present())",
        often=True,
    ),
    Mutant(
        "fanout.py",
        "await self._put(piece)\n                piece, refs = [], 0",
        "piece, refs = [], 0",
        often=True,
    ),
    Mutant(
        "fanout.py",
        'delivery.mode == "write" and size > MAX_PUT_REFS',
        "size > MAX_PUT_REFS",
        often=True,
    ),
    # hub
    Mutant(
        "hub.py",
        "if receiver.live and receiver is not origin:",
        "if receiver is not origin:",
        often=True,
    ),
    Mutant(
        "hub.py",
        "receiver is not origin:",
        'receiver.device != getattr(origin, "device", ""):',
        often=True,
    ),
    Mutant(
        "hub.py", "        self.position = position\n        PUSHES", "        PUSHES", often=True
    ),
    # session
    Mutant(
        "session.py",
        'self.state, self.position = "catching", position',
        'self.state = "catching"',
        often=True,
    ),
    Mutant(
        "session.py",
        "return (Behind(str(position)), *self._pull())",
        "return (Behind(str(position)),)",
        often=True,
    ),
    Mutant("session.py", "if page.has_more or page.position < horizon:", "if page.has_more:"),
    # sync
    Mutant(
        "sync.py",
        "scan(user, after, upto, MAX_PULL_ENTRIES)",
        "scan(user, after + 1, upto, MAX_PULL_ENTRIES)",
        often=True,
    ),
    Mutant("sync.py", "found[-1].seq if more else upto, more", "upto, more"),
    Mutant("sync.py", "if position + 1 < self._inbox.floor:", "if False:"),
    # send
    Mutant("send.py", "known = await self._log.find(draft)", "known = None"),
    # client
    Mutant(
        "client/driver.py",
        "        self.session.taken(self.feed.unread)\n        later",
        "        later",
    ),
    Mutant("client/rebuild.py", "not newest or newest[0].seq != last.seq", "False"),
    Mutant("client/session.py", "self._deaf = self._deaf or", "self._deaf ="),
    Mutant(
        "client/session.py",
        "        self._move(frame.pos)\n\n    def _listens",
        "\n    def _listens",
    ),
    Mutant("client/session.py", "self._effects.change.queued.append(command)", "pass"),
    Mutant("client/session.py", "self._effects.change.settled.append(ack.id)", "pass", often=True),
    Mutant(
        "client/outbox.py",
        "        self._flying.clear()\n        self._line_up()",
        "        self._flying.clear()",
    ),
    Mutant(
        "client/outbox.py",
        "self._waiting = deque(id for id in self._commands if id not in self._flying)",
        "self._waiting.extend(set(self._commands) - self._flying - set(self._waiting))",
    ),
    # stores
    Mutant(
        "client/store.py",
        "self._cursor = change.cursor or self._cursor",
        "self._cursor = self._cursor or change.cursor",
        often=True,
    ),
    Mutant(
        "client/store.py",
        'if not add(self._rows, self._owner.user if self._owner else "", message):',
        "if False:",
    ),
    Mutant(
        "backends/memory/log.py",
        "if seq is None:\n            return None\n        record",
        "if True:\n            return None\n        record",
    ),
    Mutant("backends/memory/inbox.py", "if after < seq <= upto]", "if after < seq]"),
    Mutant(
        "backends/memory/log.py",
        "max(self._clock(), self._records[-1].time if self._records else 0)",
        "self._clock()",
    ),
)

# What the simulation does not find yet: holes in it.  ``--holes`` tries them.
HOLES = (
    Mutant(
        "session.py",
        "        if self.stalled is not None and not self._in_turn",
        "        if False and not self._in_turn",
    ),
    Mutant("sync.py", "if epoch != self._log.epoch:", "if False:"),
    Mutant(
        "send.py",
        "        self._failed, self._behind = True, len(self._queue)",
        "        self._failed = False",
    ),
    Mutant("client/revisions.py", "if _is_newer(message, known):", "if True:"),
)


def hunt(mutant: Mutant, seeds: int) -> str:
    """Plant a bug and run seeds; what was found first, empty when nothing was."""
    with tempfile.TemporaryDirectory(prefix="timewire-mutant-") as directory:
        shutil.copytree(ROOT / "src", Path(directory) / "src")
        path = Path(directory) / "src" / "timewire" / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.right) != 1:
            raise SystemExit(f"{mutant.file} has {text.count(mutant.right)} times: {mutant.right}")
        path.write_text(text.replace(mutant.right, mutant.wrong), encoding="utf-8")
        command = [sys.executable, "-m", "timewire.testing.simulation", "--until-one"]
        environment = os.environ | {"PYTHONPATH": str(Path(directory) / "src")}
        found = subprocess.run(
            [*command, "--seeds", str(seeds)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=directory,
        )
    if found.returncode == 0:
        return ""
    lines = found.stdout.splitlines() or found.stderr.splitlines()[-1:]
    return " ".join(lines[:2])


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when a bug was not found."""
    parser = argparse.ArgumentParser(prog="python scripts/mutants.py")
    parser.add_argument("--seeds", type=int, default=200, help="tried for each, at most")
    parser.add_argument("--first", type=int, default=0, help="the first bug")
    parser.add_argument("--count", type=int, default=len(MUTANTS), help="how many")
    parser.add_argument("--holes", action="store_true", help="those that are missed as yet")
    given = parser.parse_args(arguments)
    missed = 0
    mutants = HOLES if given.holes else MUTANTS
    for number in range(given.first, min(given.first + given.count, len(mutants))):
        mutant = mutants[number]
        found = hunt(mutant, given.seeds)
        missed += not found
        sys.stdout.write(
            f"{number} {mutant.file}: {mutant.wrong.strip()}\n   {found or 'MISSED'}\n"
        )
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
