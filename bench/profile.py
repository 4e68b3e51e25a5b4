"""Where the server's time goes: samples of its stacks by ``py-spy``, summed by function.

Only who holds the interpreter's lock is sampled: waiting for the disk or the network is not time
that the event loop spends.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

SAMPLES_A_SECOND: Final = 250
PY_SPY: Final = "py-spy"


class Share(msgspec.Struct, frozen=True):
    """A function's share of all samples: with it on top, and with it anywhere in the stack."""

    function: str
    own: float
    total: float


def find_py_spy() -> str | None:
    """The ``py-spy`` beside this Python, or on the path."""
    beside = Path(sys.executable).with_name(PY_SPY)
    return str(beside) if beside.exists() else shutil.which(PY_SPY)


def shares(collapsed: str) -> list[Share]:
    """The functions of collapsed stacks (``a;b;c count`` a line), the costliest first."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    samples = 0
    for line in collapsed.splitlines():
        stack, _, number = line.rpartition(" ")
        if not number.isdecimal():
            continue
        count = int(number)
        samples += count
        frames = [_function(frame) for frame in stack.split(";")]
        own[frames[-1]] += count
        for frame in set(frames):
            total[frame] += count
    found = [Share(name, own[name] / samples, total[name] / samples) for name in total]
    return sorted(found, key=lambda share: (-share.own, -share.total))


def _function(frame: str) -> str:
    """A frame without its line number: ``name (file.py:12)`` is ``name (file.py)``."""
    name, _, line = frame.rpartition(":")
    return f"{name})" if name and line.rstrip(")").isdecimal() else frame


@asynccontextmanager
async def profiling(pid: int, native: bool = False) -> AsyncIterator[list[str]]:
    """Sample a process inside the block; the list gets the collapsed stacks when it ends."""
    found: list[str] = []
    tool = find_py_spy()
    if tool is None:
        raise RuntimeError(f"{PY_SPY} is not installed: pip install {PY_SPY}")
    with tempfile.TemporaryDirectory(prefix="timewire-profile-") as place:
        output = Path(place) / "stacks"
        command = [tool, "record", "--pid", str(pid), "--rate", str(SAMPLES_A_SECOND)]
        command += ["--format", "raw", "--nonblocking", "--gil", "--output", str(output)]
        command += ["--native"] if native else []
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield found
        finally:
            if process.returncode is None:
                process.send_signal(2)
            await process.wait()
        if output.exists():
            found += output.read_text(errors="replace").splitlines()
