"""Timelines as a state machine, with ``MemoryTimelines`` as the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from timewire.backends.memory import MemoryTimelines
from timewire.errors import TimewireError
from timewire.model import MAX_SEQ
from timewire.testing.contracts.machine import Machine
from timewire.testing.contracts.places import TimelinesPlace
from timewire.timeline import Append, TimelineStore

T = TypeVar("T")

AUTO = ["a", "aa", "a:b", "é"]
MANUAL = ["m", "mm"]
NAMES = st.sampled_from(AUTO + MANUAL)
PAYLOADS = st.sampled_from([b"", b"x", b"y", b"\x00" * 100])
KEYS = st.sampled_from([b"k", b"kk", b"\x00"])
STEPS = st.sampled_from([1, 1, 1, 1, 2, 3, 256, 2**40, 0, -1, -2])
LIMITS = st.integers(1, 6)


class TimelineMachine(Machine):
    """A timeline store beside the model: every call has the same outcome on both.

    What the contract leaves open is not asked for: whether the key, or the identical repeat, of an
    entry that was removed or redacted is still known as one.
    """

    place: ClassVar[type[TimelinesPlace]]
    backend: TimelineStore

    def __init__(self) -> None:
        super().__init__()
        self.given: deque[int] = deque()
        self.newest = 0
        self.keyed: dict[tuple[str, bytes], int] = {}
        numbers: Iterator[int] = iter(lambda: self.given.popleft() if self.given else 0, None)
        self.model = MemoryTimelines(self.clock, numbers)

    def outcome(self, action: Coroutine[Any, Any, T]) -> T | str:
        """What an action returns, or the code of its error."""
        try:
            return self.run(action)
        except TimewireError as problem:
            return problem.code

    def same(self, call: Callable[[TimelineStore], Coroutine[Any, Any, object]]) -> None:
        """Make a call on both."""
        assert self.outcome(call(self.backend)) == self.outcome(call(self.model))

    def append(self, appends: list[Append], durable: bool) -> None:
        """Append to both; the model takes the numbers that the backend gives."""
        found = self.outcome(self.backend.append_many(appends, durable=durable))
        if not isinstance(found, str):
            numbers = {seq for seq, new in zip(found, appends, strict=True) if new.seq is None}
            self.given.extend(sorted(seq for seq in numbers if seq > self.newest))
            self.newest = max([self.newest, *numbers])
            for seq, new in zip(found, appends, strict=True):
                if new.key is not None:
                    self.keyed.setdefault((new.timeline, new.key), seq)
        assert found == self.outcome(self.model.append_many(appends, durable=durable))
        assert not self.given

    def seqs(self, name: str) -> list[int]:
        """The SeqIds of a timeline."""
        return [entry.seq for entry in self.run(self.model.scan(name, limit=1000)).entries]

    def is_whole(self, name: str, seq: int) -> bool:
        """Whether an entry is there with its payload."""
        entry = self.run(self.model.get(name, seq))
        return entry is not None and not entry.redacted

    def bound(self, data: st.DataObject, name: str) -> int:
        """A SeqId that is in a timeline, or beside one that is."""
        seq = data.draw(st.sampled_from([1, *self.seqs(name), MAX_SEQ]))
        return min(max(seq + data.draw(st.integers(-1, 1)), 0), MAX_SEQ)

    def an_append(self, data: st.DataObject) -> Append:
        """An append that mostly fits: now and then it collides, regresses or mixes modes."""
        name, payload = data.draw(NAMES), data.draw(PAYLOADS)
        last = max([self.run(self.model.floor(name)) - 1, *self.seqs(name)])
        mixed = last > 0 and data.draw(st.integers(0, 20)) == 0
        if (name in MANUAL) != mixed:
            seq = min(max(last + data.draw(STEPS), 1), MAX_SEQ)
            repeats_redacted = seq in self.seqs(name) and not self.is_whole(name, seq)
            return Append(name, payload, seq + 1 if repeats_redacted else seq)
        key = None if mixed else data.draw(st.none() | KEYS)
        if key is not None and (name, key) in self.keyed:
            known = self.is_whole(name, self.keyed[name, key])
            key = key if known else None
        return Append(name, payload, None, key)

    @rule(data=st.data(), durable=st.booleans())
    def append_one(self, data: st.DataObject, durable: bool) -> None:
        """Append an entry."""
        self.append([self.an_append(data)], durable)

    @rule(data=st.data(), size=st.integers(2, 5), durable=st.booleans())
    def append_several(self, data: st.DataObject, size: int, durable: bool) -> None:
        """Append entries, all or none."""
        self.append([self.an_append(data) for _ in range(size)], durable)

    @rule(data=st.data(), name=NAMES)
    def redact(self, data: st.DataObject, name: str) -> None:
        """Redact an entry, or none."""
        seq = max(self.bound(data, name), 1)
        self.same(lambda store: store.redact(name, seq))

    @rule(data=st.data(), name=NAMES)
    def trim(self, data: st.DataObject, name: str) -> None:
        """Remove the oldest end of a timeline."""
        floor = self.bound(data, name)
        self.same(lambda store: store.trim(name, floor))

    @rule(age=st.integers(0, 5000))
    def expire(self, age: int) -> None:
        """Remove what is old, everywhere."""
        before = self.clock.now - age
        self.same(lambda store: store.expire(before))

    @rule(data=st.data(), name=NAMES, limit=LIMITS, ends=st.booleans())
    def read(self, data: st.DataObject, name: str, limit: int, ends: bool) -> None:
        """Read a range in every way."""
        low = self.bound(data, name)
        high = self.bound(data, name) if ends else None
        self.same(lambda store: store.scan(name, after=low, upto=high, limit=limit))
        self.same(lambda store: store.scan_back(name, before=high, downto=low, limit=limit))
        self.same(lambda store: store.count(name, after=low, upto=high))
        self.same(lambda store: store.get_many(name, [high or 1, max(low, 1)]))

    @rule(after=st.just("") | NAMES, limit=LIMITS)
    def list_timelines(self, after: str, limit: int) -> None:
        """List names."""
        self.same(lambda store: store.timelines(after=after, limit=limit))

    @rule()
    def compare(self) -> None:
        """Everything is the same."""
        self.same(lambda store: store.timelines())
        for name in AUTO + MANUAL:
            self.same(lambda store, name=name: store.scan(name, limit=1000))
            self.same(lambda store, name=name: store.last(name))
            self.same(lambda store, name=name: store.floor(name))

    @rule()
    def reopen(self) -> None:
        """Everything is as before after a restart."""
        super().reopen()
        self.compare()

    def teardown(self) -> None:
        """Compare once more, and close."""
        try:
            self.compare()
        finally:
            super().teardown()


def timeline_machine(place: type[TimelinesPlace]) -> type[TimelineMachine]:
    """The machine for a place: ``TestTimelineMachine = timeline_machine(DiskPlace).TestCase``."""
    return type(f"{place.__name__}TimelineMachine", (TimelineMachine,), {"place": place})
