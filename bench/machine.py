"""The machine under a measurement, as its operating system describes it."""

from __future__ import annotations

import os
import platform
import resource
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_OURS: Final = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
_PARTS: Final = ("aiohttp", "msgspec", "rocksdict", "uvloop")


def busy_s() -> float:
    """Processor time that everything on this machine has used since it started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[1:8])
    return (user + nice + system + irq + softirq) / _TICKS_A_SECOND


def own_s() -> float:
    """Processor time of this process and of all its children that have ended."""
    return sum(sum(resource.getrusage(whose)[:2]) for whose in _OURS)


def private_bytes(pid: int) -> int:
    """Resident memory of a process that is its own: no pages of files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def describe() -> dict[str, str | int]:
    """Processor, cores, memory, kernel, Python and the libraries that decide the speed.

    ``python_optimized``: built with profile-guided optimization, which usually gives 10 to 20 %.
    """
    about = Path("/proc/cpuinfo").read_text()
    models = [line.split(":", 1)[1].strip() for line in about.splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": models[0] if models else platform.processor() or "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "python_optimized": "--enable-optimizations" in _configured(),
        **{name: version(name) for name in _PARTS},
    }


def _configured() -> str:
    return str(sysconfig.get_config_var("CONFIG_ARGS") or "")
