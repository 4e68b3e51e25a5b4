"""What an import refuses, with the line that is wrong; and how lines become batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from timewire.backends.media_stores.local import LocalMediaStore
from timewire.errors import TimewireError
from timewire.importing import MAX_BATCH_MESSAGES, Batch, Export, take_in
from timewire.model import Created, encode_change, encode_stored

NAME = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"
NO_CHANGE = {"from": "a", "id": "", "kind": "created", "body": {}}
Lines = list[dict[str, Any]]


class Log:
    """A target in memory."""

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.batches: list[Batch] = []

    async def append(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            assert batch.first == self.position + 1
            self.position += len(batch.drafts)
            self.batches.append(batch)


def said(seq: int, time: int = 5, **more: Any) -> dict[str, Any]:
    message = msgspec.Raw(encode_stored("alice", f"i{seq}", "text", {"text": "hi"}))
    line = {"type": "message", "seq": seq, "time": time, "conversation": "team"}
    return line | {"message": message} | more


def made(seq: int, time: int = 5) -> dict[str, Any]:
    change = Created("group", ["alice"])
    return said(seq, time, message=msgspec.Raw(encode_change("alice", "c", change)))


def piece(at: int, data: bytes, name: str = NAME) -> dict[str, Any]:
    return {"type": "media", "media": name, "at": at, "size": 5, "data": data}


def lines(*body: dict[str, Any]) -> Lines:
    messages = [line for line in body if line["type"] == "message"]
    newest = messages[-1] if messages else {"seq": 0, "time": 0}
    end = {"type": "end", "messages": len(messages), "head": newest["seq"], "time": newest["time"]}
    header = {"type": "export", "format": 1, "id": "x", "epoch": "e", "made": "now"}
    return [header, *body, end | {"media": 0}]


async def read(tmp_path: Path, told: Lines, log: Log | None = None) -> Log:
    path, log = tmp_path / "all.jsonl", log or Log()
    path.write_bytes(b"\n".join(map(msgspec.json.encode, told)) + b"\n")
    media = LocalMediaStore(tmp_path / "media")
    with path.open("rb") as file:
        export = Export(path, file)
        await take_in(export, log, media, tmp_path / "incoming", lambda done, total: None)
    return log


async def test_changes_stand_alone_and_times_do_not_mix(tmp_path: Path) -> None:
    log = await read(tmp_path, lines(said(1), said(2), made(3), said(4), said(5, 6), said(6, 6)))
    found = [(batch.first, batch.time, len(batch.drafts)) for batch in log.batches]
    assert found == [(1, 5, 2), (3, 5, 1), (4, 5, 1), (5, 6, 2)]
    assert isinstance(log.batches[1].drafts[0].change, Created)
    assert log.batches[0].drafts[0].id == "i1"


async def test_batches_are_bounded(tmp_path: Path) -> None:
    many = MAX_BATCH_MESSAGES + 5
    log = await read(tmp_path, lines(*(said(seq + 1) for seq in range(many))))
    assert [len(batch.drafts) for batch in log.batches] == [MAX_BATCH_MESSAGES, 5]


async def test_what_is_there_is_passed_over(tmp_path: Path) -> None:
    log = await read(tmp_path, lines(said(1), said(2), said(4), said(9)), Log(5))
    drafts = [draft for batch in log.batches for draft in batch.drafts]
    assert [draft.conversation for draft in drafts] == ["system:holes"] * 3 + ["team"]


async def test_old_ids_are_forgotten(tmp_path: Path) -> None:
    day = 24 * 60 * 60 * 1000
    log = await read(tmp_path, lines(said(1), said(2, 40 * day), said(3, 41 * day)))
    assert [draft.id for batch in log.batches for draft in batch.drafts] == ["", "i2", "i3"]


async def test_a_medium_in_pieces(tmp_path: Path) -> None:
    await read(tmp_path, lines(said(1), piece(0, b"hel"), piece(3, b"lo")))
    assert (tmp_path / "media" / NAME[:2] / NAME).read_bytes() == b"hello"
    assert list((tmp_path / "incoming").iterdir()) == []


Wrong = Callable[[Lines], object]


@pytest.mark.parametrize(
    ("wrong", "code", "reason"),
    [
        (lambda told: told.pop(), "export_incomplete", None),
        (lambda told: told.pop(0), "bad_export", "line 1: it does not begin"),
        (lambda told: told[0].update(format=2), "export_newer", None),
        (lambda told: told.insert(2, {"type": "what"}), "bad_export", "line 3: "),
        (lambda told: told.insert(2, dict(told[0])), "bad_export", "line 3: an export begins"),
        (lambda told: told[1].update(seq=3), "bad_export", "line 3: messages are in the order"),
        (lambda told: told[2].update(time=1), "bad_export", "line 3: messages are in the order"),
        (lambda told: told[2].update(seq=2**40), "bad_export", "line 3: too many SeqIds"),
        (lambda told: told[2].update(message=7), "bad_export", "line 3: "),
        (lambda told: told[2].update(conversation="\n"), "bad_export", "line 3: a timeline's name"),
        (lambda told: told[2].update(first="zz"), "bad_export", "line 3: "),
        (lambda told: told[2].update(first="00"), "bad_export", "line 3: `first`"),
        (lambda told: told[2].update(message=NO_CHANGE), "bad_export", "line 3: "),
        (lambda told: told[-1].update(messages=3), "bad_export", "2 messages came"),
        (lambda told: told.insert(-1, piece(0, b"jello")), "bad_export", "not what its name says"),
        (lambda told: told.insert(-1, piece(2, b"llo")), "bad_export", "follow one another"),
        (lambda told: told.insert(-1, piece(0, b"hello", "../x")), "bad_export", "such a name"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told_with_its_line(
    wrong: Wrong, code: str, reason: str | None, tmp_path: Path
) -> None:
    told = lines(said(1), said(2))
    wrong(told)
    with pytest.raises(TimewireError) as refused:
        await read(tmp_path, told)
    assert refused.value.code == code
    if reason is not None:
        assert reason in refused.value.fields["reason"]


def test_rubbish_is_no_export(tmp_path: Path) -> None:
    path = tmp_path / "rubbish"
    for content in (b"", b"\n", b"\xff" * 10_000, b'{"type":"end"'):
        path.write_bytes(content)
        with path.open("rb") as file, pytest.raises(TimewireError, match="export_incomplete"):
            Export(path, file)
