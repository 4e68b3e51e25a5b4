"""The measurements: what is counted, and that nothing lost goes unnoticed."""

import asyncio
import gc
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import (  # noqa: E402
    cases,
    catchup,
    engine,
    group,
    idle,
    inboxes,
    machine,
    pairs,
    report,
    runs,
)
from bench.load import Pair, Turns, drain  # noqa: E402
from bench.profile import shares  # noqa: E402
from bench.server import ServerProcess, serving  # noqa: E402
from bench.soak import soak  # noqa: E402
from bench.stats import LONGEST_S, SLOTS_A_SECOND, Latencies, Spread  # noqa: E402
from bench.wire import (  # noqa: E402
    AT_HEAD,
    PONG,
    TEXT_BYTES,
    Fault,
    Link,
    acked_number,
    masked,
    pushed_number,
    send_template,
)
from timewire.backends.rocksdb.inbox import unpack  # noqa: E402
from timewire.coding import JSON  # noqa: E402
from timewire.commands import Send  # noqa: E402
from timewire.inbox import Delivery  # noqa: E402
from timewire.model import Ref, Stored, encode_stored, message_head, message_json  # noqa: E402
from timewire.outbox import PING_FRAME, frame  # noqa: E402
from timewire.protocol import Ack, At, Live  # noqa: E402


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.written.append(b"aborted")


def link(user: str = "alice") -> Link:
    made = Link(user, "d")
    made.transport = Wire()
    return made


def written(one: Link) -> list[bytes]:
    assert isinstance(one.transport, Wire)
    return one.transport.written


def ack(number: int, seq: int = 7) -> bytes:
    return JSON.encode(Ack(f"{number:010d}", seq, 1_700_000_000_000))


def push(number: int, seq: int = 7) -> bytes:
    payload = encode_stored("alice", f"{number:010d}", "text", {"text": f"{number:010d}xxx"})
    message = message_json(message_head("direct:alice:bob"), seq, 1_700_000_000_000, payload, 0)
    return JSON.push(str(seq), message)


def unmasked(data: bytes) -> bytes:
    """The payload of the one frame from a client in ``data``, whose key must be 0."""
    size, start = data[1] & 0x7F, 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    assert data[0] == 0x81
    assert data[1] & 0x80
    assert data[start : start + 4] == bytes(4)
    assert len(data) == start + 4 + size
    return data[start + 4 :]


# Frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 300, 65535])
def test_masked_frames_are_whole(size: int) -> None:
    assert unmasked(masked(b"x" * size)) == b"x" * size


@pytest.mark.parametrize("level", ["stored", "synced"])
def test_send_template_makes_the_send_it_says(level: str) -> None:
    found = JSON.decode_client(unmasked(send_template("direct:alice:bob", level) % (42, 42)))

    assert isinstance(found, Send)
    assert (found.id, found.to, found.ack) == ("0000000042", "direct:alice:bob", level)
    assert len(found.body["text"]) == TEXT_BYTES
    assert found.body["text"].startswith("0000000042")


@pytest.mark.parametrize("number", [0, 1, 9_999_999_999])
def test_numbers_are_found_in_what_the_server_sends(number: int) -> None:
    acked, pushed = b"??" + ack(number), b"???" + push(number)

    assert acked_number(acked, 2, len(acked)) == number
    assert pushed_number(pushed, 3, len(pushed)) == number


def test_other_frames_than_expected_are_faults() -> None:
    acked, pushed, other = ack(1), push(1), JSON.encode(Live("5"))

    for data in (pushed, other):
        with pytest.raises(Fault):
            acked_number(data, 0, len(data))
    for data in (acked, other):
        with pytest.raises(Fault):
            pushed_number(data, 0, len(data))


# Frames that only tell how far the log has come are not counted, and have a test of their own.
COUNTED = st.binary(max_size=300).filter(lambda payload: not payload.startswith(AT_HEAD))


@given(
    st.lists(COUNTED | st.just(b"y" * 70_000), max_size=8),
    st.lists(st.integers(1, 400), min_size=1, max_size=5),
)
def test_frames_are_counted_however_the_bytes_arrive(
    payloads: list[bytes], sizes: list[int]
) -> None:
    one, found = link(), list[bytes]()
    one.on_frame = lambda data, start, end, now: found.append(data[start:end])
    stream = b"".join(frame(payload, text=True) for payload in payloads)
    steps = sizes if len(stream) < 10_000 else [size * 50 for size in sizes]

    at = turn = 0
    while at < len(stream):
        size = steps[turn % len(steps)]
        one.data_received(stream[at : at + size])
        at, turn = at + size, turn + 1

    assert found == [payload for payload in payloads if not payload.startswith(AT_HEAD)]
    assert one.fault is None


def test_pings_are_answered_and_positions_passed_over() -> None:
    one, found = link(), list[bytes]()
    one.on_frame = lambda data, start, end, now: found.append(data[start:end])

    one.data_received(PING_FRAME + frame(JSON.encode(At("9223372036854775807")), text=True))

    assert written(one) == [PONG]
    assert found == []
    assert one.fault is None


@pytest.mark.parametrize("data", [b"\x88\x02\x0f\xa1", b"\x82\x01x"])
def test_a_close_or_a_binary_frame_is_a_fault(data: bytes) -> None:
    one = link()
    one.data_received(data)
    assert isinstance(one.fault, Fault)


async def test_a_lost_connection_ends_the_waiting() -> None:
    one = link()
    waiting = asyncio.create_task(one.ask({"type": "ping", "id": "p"}, "p"))
    await asyncio.sleep(0)
    one.connection_lost(None)

    with pytest.raises(Fault):
        await waiting


# Counting --------------------------------------------------------------------------------------


async def pair(window: int = 2, limit: int | None = None) -> Pair:
    """A pair without a server, that has sent its first messages."""
    made = Pair(Turns(), link("alice"), link("bob"), window)
    made.limit = limit or made.limit
    made.listen()
    made.pump()
    return made


async def test_a_pair_fills_its_window_and_waits() -> None:
    one = await pair(window=2)
    one.pump()
    assert (one.sent, len(written(one.sender))) == (2, 1)

    one.sender.data_received(frame(ack(0), text=True))
    one.pump()
    assert one.sent == 2  # it is acked, but not delivered

    one.receiver.data_received(frame(push(0), text=True))
    await asyncio.sleep(0.01)
    assert one.sent == 3
    assert (len(one.acks), len(one.deliveries)) == (1, 1)


async def test_a_pair_ends_at_its_limit() -> None:
    one = await pair(window=2, limit=3)
    for number in range(3):
        one.sender.data_received(frame(ack(number), text=True))
        one.receiver.data_received(frame(push(number), text=True))
        await asyncio.sleep(0.01)

    assert one.sent == one.acked == one.delivered == 3
    assert one.done()


@pytest.mark.parametrize("number", [1, 2])
async def test_a_missing_ack_or_push_voids_the_measurement(number: int) -> None:
    one = await pair(window=3)
    one.sender.data_received(frame(ack(number), text=True))
    one.receiver.data_received(frame(push(number), text=True))

    assert isinstance(one.sender.fault, Fault)
    assert isinstance(one.receiver.fault, Fault)
    with pytest.raises(Fault):
        await drain(one.done, [one.sender, one.receiver])


async def test_what_never_comes_is_a_fault() -> None:
    one = await pair()
    with pytest.raises(Fault, match="missing"):
        await drain(one.done, [one.sender, one.receiver], timeout_s=0.05)


async def team() -> tuple[group.Group, list[Link]]:
    """A group of a writer and two readers, in which message 0 is under way."""
    links = [link(name) for name in ("alice", "bob", "carol")]
    made = group.Group(Turns(), links, 1, 1)
    made.writers[0].pump()
    return made, links


async def test_a_group_counts_every_delivery() -> None:
    made, links = await team()
    for one in links[1:]:
        assert not made.done()
        one.data_received(frame(push(0), text=True))
    links[0].data_received(frame(ack(0), text=True))

    assert made.delivered() == 2
    assert made.done()
    await asyncio.sleep(0.01)
    assert len(made.sent_at) == 2  # there is room for the next


async def test_a_group_notices_doubles_and_disorder() -> None:
    made, links = await team()
    made.window = 3
    made.writers[0].pump()
    for number in (0, 1):
        links[1].data_received(frame(push(number), text=True))

    links[2].data_received(frame(push(1), text=True))
    links[1].data_received(frame(push(0), text=True) * 3)

    assert isinstance(links[2].fault, Fault)  # others had 0 first
    assert isinstance(links[1].fault, Fault)


# Numbers ---------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, LONGEST_S - 0.001), min_size=1, max_size=200), st.floats(1, 100))
def test_percentiles_are_those_of_the_sorted_list(values: list[float], percent: float) -> None:
    found = Latencies()
    for value in values:
        found.add(value)
    rank = next(n for n in range(1, len(values) + 1) if n >= len(values) * percent / 100)
    exact_ms = sorted(values)[rank - 1] * 1000

    assert abs(found.percentile_ms(percent) - exact_ms) <= 1000 / SLOTS_A_SECOND + 1e-9
    assert found.longest == max(values)
    assert len(found) == len(values)


def test_latencies_beyond_the_longest_count_and_are_told() -> None:
    found = Latencies()
    found.add(0.001)
    found.add(LONGEST_S * 2)

    assert found.summary("x")["x_max_ms"] == LONGEST_S * 2000
    assert found.percentile_ms(50) == pytest.approx(1, abs=0.02)
    found.clear()
    assert (len(found), found.longest, found.percentile_ms(99)) == (0, 0, 0)


def test_spread_is_median_and_range() -> None:
    assert Spread.of([3, 1, 2]) == Spread(2, 1, 3, 3)


@pytest.mark.parametrize(
    ("value", "higher_is_better", "verdict"),
    [(9, True, "aim"), (6, True, "floor"), (5, True, "below"), (4, False, "aim"),
     (7, False, "floor"), (9, False, "below")],
)  # fmt: skip
def test_verdicts(value: float, higher_is_better: bool, verdict: str) -> None:
    floor, aim = (6, 8) if higher_is_better else (7, 5)
    assert cases.Target("x", "x", "", floor, aim, higher_is_better).verdict(value) == verdict
    assert cases.Target("x", "x").verdict(value) == ""


def test_shares_sum_stacks_by_function() -> None:
    found = {
        share.function: share
        for share in shares("main (a.py:1);work (b.py:7) 6\nmain (a.py:1);work (b.py:9) 2\nidle 2")
    }

    assert found["work (b.py)"].own == found["work (b.py)"].total == 0.8
    assert (found["main (a.py)"].own, found["main (a.py)"].total) == (0, 0.8)
    assert found["idle"].own == 0.2


def test_report_has_every_number_with_its_spread_and_verdict() -> None:
    case = next(case for case in cases.cases(quick=True) if case.name == "pairs-20")
    runs = [{"per_s": value, "other_cores": 0.9} for value in (40_000.0, 60_000.0, 50_000.0)]
    outcome = report.gather(case, runs)
    console = Console(record=True, width=130, file=io.StringIO())

    report.show(console, [outcome])
    found = msgspec.json.decode(report.to_json([outcome], {"machine": machine.describe()}))

    assert "50,000 /s" in console.export_text(clear=False)
    assert "Other programs" in console.export_text()
    assert found["machine"]["cores"] >= 1
    (result,) = found["results"]
    assert result["found"]["per_s"] == {"median": 50000, "low": 40000, "high": 60000, "runs": 3}
    assert [target["verdict"] for target in result["targets"]] == ["floor"]


def test_results_take_their_place_in_a_document() -> None:
    case = next(case for case in cases.cases(quick=True) if case.name == "idle")
    outcome = report.gather(case, [{"kib_each": 17.0}])
    about = {"machine": {"cores": 2}, "settings": {"runs": 1}, "when": "today"}
    document = "head\n<!-- results -->\nold\n<!-- end of results -->\ntail\n"

    once = report.replace_results(document, report.to_markdown([outcome], about))

    assert "| server memory each | 17 KiB |  | 24 | 14 |" in once
    assert once.startswith("head\n<!-- results -->\ncores 2.\nruns 1; today.\n")
    assert once.endswith("\n<!-- end of results -->\ntail\n")
    assert "old" not in once
    assert report.replace_results(once, "old") == document
    with pytest.raises(ValueError):
        report.replace_results("no marks", "results")


@pytest.mark.parametrize(
    ("value", "shown"), [(0.934, "0.93"), (12.34, "12.3"), (4321.6, "4,322"), (50, "50")]
)
def test_numbers_have_about_three_digits(value: float, shown: str) -> None:
    assert report.number(value) == shown


def test_cases_have_names_of_their_own() -> None:
    for quick in (True, False):
        names = [case.name for case in cases.cases(quick)]
        assert len(set(names)) == len(names)
        assert all((case.alone is None) != (case.against is None) for case in cases.cases(quick))


# Against a real server -------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    async with serving() as running:
        yield running


async def test_one_to_one(server: ServerProcess) -> None:
    found = await pairs.one_to_one(server, 0.3, pairs=3, window=4)

    assert found["per_s"] > 0
    assert 0 < found["delivery_p50_ms"] <= found["delivery_p99_ms"] <= found["delivery_max_ms"]
    assert 0 < found["ack_p50_ms"] <= found["ack_p999_ms"] <= found["ack_max_ms"]


async def test_group(server: ServerProcess) -> None:
    found = await group.group(server, 0.3, members=5, writers=2, window=3)

    assert found["per_s"] > 0
    assert found["messages_per_s"] == pytest.approx(found["per_s"] / 4)


async def test_many_inboxes(server: ServerProcess) -> None:
    found = await inboxes.many_inboxes(server, 0.3, members=1200)

    assert 0 < found["synced_p50_ms"] <= found["synced_max_ms"]
    assert 0 <= found["beside_delivery_p50_ms"] <= found["beside_delivery_max_ms"]
    assert found["count"] >= 3


async def test_catch_up(server: ServerProcess) -> None:
    found = await catchup.catch_up(server, entries=1100)
    assert 0 < found["first_page_ms"] < found["catch_up_ms"]


async def test_idle_connections(server: ServerProcess) -> None:
    found = await idle.idle(server, connections=30)
    assert found["base_mib"] > 0
    assert found["accepts_per_s"] > 0


async def test_soak(server: ServerProcess) -> None:
    run = soak(500).against
    assert run is not None
    assert (await run(server, 0.2))["ratio"] > 0


@pytest.mark.parametrize("measure", [engine.log, engine.inbox])
async def test_engine(measure: engine.Measure) -> None:
    collecting = gc.isenabled()
    found = await measure(0.05)

    assert found["ratio"] == pytest.approx(found["per_s"] / found["bare_per_s"])
    assert (found.get("sqlite_per_s", 0) > 0) == (measure is engine.log)
    assert gc.isenabled() == collecting


async def test_both_ways_to_write_inboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RUN_REFS", 2500)
    found = await runs.both_ways(0.02)
    assert set(found) == {
        f"{shape}_{way}_{key}"
        for shape in ("pairs", "groups")
        for way in ("plain", "runs")
        for key in ("per_s", "stall_ms")
    }
    assert all(value > 0 for value in found.values())


async def test_a_run_holds_what_was_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RUN_REFS", 4)
    way = runs.Runs(tmp_path)
    messages = [Stored(seq, 1000, f"c{seq % 2}", b"") for seq in (1, 2, 3)]
    await way.put([Delivery(one, ("alice", "bob")) for one in messages], 3)
    rows = dict(way._rows.items())
    position = (3).to_bytes(8, "big")
    assert set(rows) == {b"alice\0" + position, b"bob\0" + position, b"\xff"}
    refs = unpack(rows[b"alice\0" + position], 0, 10, 10)
    assert refs == [Ref(one.seq, one.conversation) for one in messages]
    way.close()


def test_the_command_writes_what_it_found(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    command = [sys.executable, "-m", "bench", "catch", "--quick", "--json", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "hello to live" in done.stdout
    found = json.loads(output.read_text())
    assert found["settings"]["durability"] == "always"
    assert [result["case"] for result in found["results"]] == ["catchup"]


def test_the_command_names_the_cases_for_a_wrong_one() -> None:
    command = [sys.executable, "-m", "bench", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "pairs-20" in done.stderr
