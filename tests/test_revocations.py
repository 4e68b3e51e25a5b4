"""What was taken back stays so, over restarts and torn files; nothing else is."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.auth import Claims
from timewire.errors import Forbidden, Invalid, Retryable, Unusable
from timewire.revocations import DAY_MS, FILE, KEPT_DAYS, Revocation, Revocations

NOW = 1_800_000_000_000


def claims(user: str = "alice", issued: int = NOW, id: str = "t1", device: str = "") -> Claims:
    return Claims(user, device or None, NOW // 1000 + 3600, issued, id)


def holds(revocations: Revocations, token: Claims, device: str | None = None) -> bool:
    try:
        revocations.check(token, device)
    except Forbidden:
        return False
    return True


async def test_a_token_by_its_name(tmp_path: Path) -> None:
    revocations = Revocations.load(tmp_path, NOW)
    assert holds(revocations, claims())
    await revocations.add(now=NOW, token="t1")
    with pytest.raises(Forbidden) as caught:
        revocations.check(claims(), None)
    assert caught.value.code == "token_revoked"
    assert not holds(revocations, claims(issued=NOW + DAY_MS))
    assert holds(revocations, claims(id="t2"))
    assert holds(revocations, claims(id=""))


async def test_a_user_and_all_older_tokens(tmp_path: Path) -> None:
    revocations = Revocations.load(tmp_path, NOW)
    await revocations.add(now=NOW, user="alice")
    assert not holds(revocations, claims(issued=NOW))
    assert not holds(revocations, claims(issued=0))  # it does not say when it was made
    assert holds(revocations, claims(issued=NOW + 1))
    assert holds(revocations, claims("bob"))


async def test_a_device_and_its_older_tokens(tmp_path: Path) -> None:
    revocations = Revocations.load(tmp_path, NOW)
    await revocations.add(now=NOW, user="alice", device="phone")
    assert not holds(revocations, claims(), "phone")
    assert not holds(revocations, claims(device="phone"))
    assert holds(revocations, claims(), "laptop")
    assert holds(revocations, claims(issued=NOW + 1), "phone")
    assert holds(revocations, claims("bob"), "phone")
    assert (revocations.before("alice", "phone"), revocations.before("alice", "tv")) == (NOW, 0)


async def test_it_is_still_so_after_a_restart_until_it_can_be_forgotten(tmp_path: Path) -> None:
    first = Revocations.load(tmp_path, NOW)
    await first.add(now=NOW, token="t1")
    await first.add(now=NOW - 1, user="alice")
    await first.add(now=NOW, user="alice")
    again = Revocations.load(tmp_path, NOW)
    assert not holds(again, claims("bob"))
    assert not holds(again, claims(id="t2"))
    assert len((tmp_path / FILE).read_bytes().splitlines()) == 2
    late = Revocations.load(tmp_path, NOW + KEPT_DAYS * DAY_MS)
    assert holds(late, claims())
    assert (tmp_path / FILE).read_bytes() == b""


@given(torn=st.integers(1, 60))
def test_a_torn_last_line_was_never_answered(
    torn: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("torn")
    line = b'{"time":%d,"until":%d,"token":"t1"}\n' % (NOW, NOW + 1)
    (path / FILE).write_bytes(line + line.replace(b"t1", b"t2")[:-torn])
    revocations = Revocations.load(path, NOW)
    assert not holds(revocations, claims())
    assert holds(revocations, claims(id="t2"))
    assert (path / FILE).read_bytes() == line


@pytest.mark.parametrize("content", [b"x\n", b"[]\n", b'{"time":1}\n', b"\xff\n"])
def test_a_damaged_file_stops_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(Unusable) as caught:
        Revocations.load(tmp_path, NOW)
    assert caught.value.code == "directory_unusable"
    assert (tmp_path / FILE).read_bytes() == content


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[None]:
    """No file may grow beyond 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("full_disk")
async def test_what_cannot_be_stored_is_not_done(tmp_path: Path) -> None:
    revocations = Revocations.load(tmp_path, NOW)
    await revocations.add(now=NOW, token="t1")
    with pytest.raises(Retryable) as caught:
        await revocations.add(now=NOW, token="t2")
    assert caught.value.code == "storage_unavailable"
    assert holds(revocations, claims(id="t2"))
    again = Revocations.load(tmp_path, NOW)
    assert not holds(again, claims())
    assert holds(again, claims(id="t2"))


async def test_there_is_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timewire.revocations.MAX_REVOCATIONS", 1)
    revocations = Revocations.load(tmp_path, NOW)
    await revocations.add(now=NOW, token="t1")
    with pytest.raises(Invalid) as caught:
        await revocations.add(now=NOW, token="t2")
    assert caught.value.code == "list_full"


async def test_who_is_told_and_when(tmp_path: Path) -> None:
    told: list[str] = []
    revocations = Revocations.load(tmp_path, NOW)
    revocations.on_kept = lambda one: told.append(one.user or one.token)
    await revocations.add(now=NOW, user="alice")
    await revocations.add(now=NOW, token="t1")
    assert told == ["alice", "t1"]


def test_an_older_one_that_comes_later_takes_nothing_back(tmp_path: Path) -> None:
    revocations = Revocations.load(tmp_path, NOW)
    for time in (NOW, NOW - 5):
        revocations.keep(Revocation(time, NOW + DAY_MS, user="alice", device="phone"))
    assert revocations.before("alice", "phone") == NOW
