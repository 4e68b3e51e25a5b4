"""Tantivy, and the memory that it is compared with, keep the contract of the search index."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from timewire.backends.memory import MemoryIndex
from timewire.backends.tantivy import TantivyIndex, reading
from timewire.clock import Clock
from timewire.index import SearchIndex
from timewire.testing.contracts import (
    CrashingIndexPlace,
    IndexContract,
    IndexCrashContract,
    IndexReopenContract,
    index_machine,
)

# A commit, of which a run has several, takes some hundredths of a second on disk.
MACHINE = settings(max_examples=15, stateful_step_count=30)


class MemoryPlace(CrashingIndexPlace):
    index: MemoryIndex | None = None

    async def open(self) -> SearchIndex:
        self.index = self.index.reopened() if self.index else MemoryIndex()
        return self.index

    async def close(self) -> None:
        if self.index:
            await self.index.aclose()

    async def crash(self) -> None:
        await self.close()


class TantivyPlace(CrashingIndexPlace):
    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self.lives = 0
        self.indexes: list[TantivyIndex] = []

    @property
    def data(self) -> Path:
        return self.path / f"life-{self.lives}"

    async def open(self) -> SearchIndex:
        self.indexes.append(await TantivyIndex.open(self.data))
        return self.indexes[-1]

    async def close(self) -> None:
        while self.indexes:
            await self.indexes.pop().aclose()

    async def crash(self) -> None:
        # What is in the files now is what another process would find.
        left = self.data
        self.lives += 1
        shutil.copytree(left, self.data, ignore=shutil.ignore_patterns(".tmp*"))


class ProbingPlace(TantivyPlace):
    """Every scope counts as wide, and very few documents are looked at before it is asked for."""

    async def open(self) -> SearchIndex:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(reading, "WIDE_SCOPE", 0)
        self.patch.setattr(reading, "PROBED", 3)
        return await super().open()

    async def close(self) -> None:
        await super().close()
        self.patch.undo()


class TestMemory(IndexContract):
    place = MemoryPlace


class TestMemoryReopened(IndexReopenContract):
    place = MemoryPlace


class TestMemoryCrashed(IndexCrashContract):
    place = MemoryPlace


class TestTantivy(IndexContract):
    place = TantivyPlace


class TestTantivyReopened(IndexReopenContract):
    place = TantivyPlace


class TestTantivyCrashed(IndexCrashContract):
    place = TantivyPlace


class TestTantivyProbing(IndexContract):
    place = ProbingPlace


TestTantivyMachine = index_machine(TantivyPlace).TestCase
TestTantivyMachine.settings = MACHINE
TestProbingMachine = index_machine(ProbingPlace).TestCase
TestProbingMachine.settings = MACHINE
