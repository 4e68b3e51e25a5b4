"""The demo runs whole, and says the truth about what it saw."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

from timewire.testing.history import Shown

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "examples" / "demo"
SHIPPED = ROOT / "examples" / "data" / "ubuntu-irc-2004-12-25.txt"
ROW = re.compile(r"\s*(\S.*?)" + r"\s+([\d,]+)" * 6 + r"\s*")

LOG = """\
[09:58] <ann> is anybody there?
=== bob [~bob@example.org]  has joined #ubuntu
[09:59] <bob> I am
=== ann waves
[09:59]  * cid [away] reads the log
=== mode/#ubuntu [+o ann]  by ChanServ
=== bob is now known as bob_
[10:00] <bob_> that's better
[10:00] <bob> he is not me
=== cid [~cid@example.org]  has left #ubuntu ["Leaving"]
=== dan [~dan@example.org]  has joined #ubuntu
=== dan [~dan@example.org]  has joined #ubuntu
=== bob was kicked off #ubuntu by ann (impostor)
[10:01] <ann> bye
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the demo."""
    monkeypatch.syspath_prepend(str(DEMO))
    return import_module


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "2004-12-25.txt"
    path.write_text(LOG, encoding="utf-8")
    return path


# The log -----------------------------------------------------------------------------------------


def test_a_log_becomes_a_day(module: Any, log: Path) -> None:
    day = module("irc").read_day(log)
    told = [(event.kind, event.nick, event.text) for event in day.events]
    assert told == [
        ("text", "ann", "is anybody there?"),
        ("join", "bob", ""),
        ("text", "bob", "I am"),
        ("action", "ann", "waves"),
        ("action", "cid", "[away] reads the log"),
        ("leave", "bob", ""),
        ("join", "bob_", ""),
        ("text", "bob_", "that's better"),
        ("join", "bob", ""),
        ("text", "bob", "he is not me"),
        ("leave", "cid", ""),
        ("join", "dan", ""),
        ("leave", "bob", ""),
        ("text", "ann", "bye"),
    ]
    assert day.present == ["ann", "cid"]
    assert day.title == "25 December 2004"
    assert day.speakers() == {"ann", "bob", "bob_", "cid"}
    assert day.busiest(1) == ["ann"]


def test_events_keep_their_pace(module: Any, log: Path) -> None:
    day = module("irc").read_day(log)
    at = [event.at for event in day.events]
    assert at == sorted(at)
    assert (at[0], at[-1]) == (0.0, 3.0)
    assert 1 <= at[2] < at[3] < 2
    assert [day.clock(minutes) for minutes in (0, 2.5, 3)] == ["09:58", "10:00", "10:01"]


@pytest.mark.parametrize(
    ("clocks", "minutes"),
    [(["11:50", "12:10", "01:00"], 70), (["23:50", "00:10"], 20), (["11:55", "00:05"], 10)],
)
def test_midnight_and_noon_pass(
    module: Any, tmp_path: Path, clocks: list[str], minutes: float
) -> None:
    path = tmp_path / "day.txt"
    path.write_text("".join(f"[{clock}] <ann> hm\n" for clock in clocks), encoding="utf-8")
    assert module("irc").read_day(path).minutes == minutes


@pytest.mark.parametrize(
    ("nick", "name"),
    [("|QuaD-", "|QuaD-"), ("`anthony", "`anthony"), ("a:b/c d", "a_b_c_d"), ("é" * 80, "é" * 64)],
)
def test_nicks_become_valid_names(module: Any, nick: str, name: str) -> None:
    assert module("irc").name_of(nick) == name


def test_a_file_without_talk_is_refused(module: Any, tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("=== nothing\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="nobody says anything"):
        module("irc").read_day(path)


def test_the_shipped_day_is_cited(module: Any) -> None:
    day = module("irc").read_day(SHIPPED)
    texts = [event for event in day.events if event.kind == "text"]
    cited = (SHIPPED.parent / "README.md").read_text(encoding="utf-8")
    assert len(texts) == 1165
    assert {"join", "leave", "text", "action"} == {event.kind for event in day.events}
    assert all(word in cited for word in ("Kummerfeld", "ACL 2019", "CC-BY-4.0", SHIPPED.name))


# The proof ---------------------------------------------------------------------------------------


async def test_the_proof_sees_what_a_device_lost(module: Any, log: Path, tmp_path: Path) -> None:
    day = module("irc").read_day(log)
    (tmp_path / "devices").mkdir()
    async with module("stage").one_server(tmp_path, 0) as stage:
        world = module("world").World(day, stage, tmp_path / "devices")
        await world.play(1.0)
    prove = module("proof").prove
    assert prove(world).good
    assert len(world.history.restarts) == 1

    whole = list(world.history.holdings)
    index = next(i for i, holding in enumerate(whole) if holding.who.device == "phone")
    shown: tuple[Shown, ...] = whole[index].shown

    def with_shown(changed: tuple[Shown, ...]) -> Any:
        world.history.holdings[index] = msgspec.structs.replace(whole[index], shown=changed)
        proof = prove(world)
        row = next(row for row in proof.rows if row.device == str(whole[index].who))
        return proof.good, row.duplicates, row.missing, row.disorder > 0

    assert with_shown(shown) == (True, 0, 0, False)
    assert with_shown(shown[:-1]) == (False, 0, 1, False)
    assert with_shown((*shown, shown[-1])) == (False, 1, 0, False)
    assert with_shown(tuple(reversed(shown))) == (False, 0, 0, True)


async def test_the_proof_sees_a_line_that_was_never_sent(
    module: Any, log: Path, tmp_path: Path
) -> None:
    day = module("irc").read_day(log)
    (tmp_path / "devices").mkdir()
    async with module("stage").one_server(tmp_path, 0) as stage:
        world = module("world").World(day, stage, tmp_path / "devices")
        await world.play(0.5)
    world.day.events.append(msgspec.structs.replace(day.events[-1], text="and another thing"))
    proof = module("proof").prove(world)
    assert (proof.unsaid, proof.violations, proof.good) == (1, [], False)


# The whole ---------------------------------------------------------------------------------------


def play(*arguments: str) -> tuple[str, dict[str, list[int]]]:
    """What a run of the demo prints, and the rows of its closing table."""
    done = subprocess.run(
        [sys.executable, str(DEMO / "run.py"), "--log", str(SHIPPED), *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, "CI": "true"},
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows: dict[str, list[int]] = {}
    for line in done.stdout.splitlines():
        if found := ROW.fullmatch(line):
            device, *numbers = found.groups()
            rows[device] = [int(number.replace(",", "")) for number in numbers]
    assert len(rows) == 23
    assert all(numbers[3:] == [0, 0, 0] for numbers in rows.values())
    return done.stdout, rows


@pytest.mark.serial  # a day in six seconds: who has to wait for a core misses it
@pytest.mark.timeout(300)
def test_the_demo_runs_whole() -> None:
    shown, rows = play("--seconds", "6")
    [tablet] = [numbers for device, numbers in rows.items() if "tablet" in device]
    assert tablet[1] > 1400
    phones = [numbers for device, numbers in rows.items() if device.endswith("/phone")]
    assert len(phones) == 10
    assert sum(pulled > 0 for _, pulled, *_ in phones) >= 8
    assert re.search(r"crossed between write and read [2-9] times", shown)
    for told in (
        "kill -9",
        "goes offline",
        "away for too long (expired)",
        "2 messages were taken back, 1 edited",
        "the net splits",
        "all 1,177 lines",
        "rules 1-17 hold",
        "CC-BY-4.0",
    ):
        assert told in shown


@pytest.mark.serial  # nine processes and a hundred devices
@pytest.mark.timeout(300)
def test_the_same_day_runs_whole_on_a_cluster() -> None:
    shown, _ = play("--cluster", "--seconds", "5")
    for part in ("a NATS server", "a gateway", "the leading worker"):
        assert f"kill -9: {part} is dead" in shown
        assert f"{part} is back on the same data" in shown
    assert shown.count("gateway http://") == 2
    assert shown.count("nats://") == 3
    assert "all 1,177 lines" in shown
    assert "rules 1-17 hold over the whole day and 3 times kill -9" in shown
