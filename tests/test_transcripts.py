"""The transcripts that all SDKs play, played by the Python one on both of its stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from timewire import protocol as wire
from timewire.client.events import (
    Acked,
    Connected,
    Disconnected,
    Event,
    Live,
    Presence,
    Received,
    Refused,
    Reset,
    Typing,
)
from timewire.client.session import Answer, Effects, Session
from timewire.client.sqlite_store import SqliteStore
from timewire.client.store import Change, MemoryStore, Store
from timewire.errors import TimewireError
from timewire.model import Message

TRANSCRIPTS = sorted((Path(__file__).parent.parent / "sdk" / "transcripts").glob("*.json"))

ACTIONS = (
    *("open", "in", "close", "put", "ask", "watch", "typing", "tick", "taken"),
    *("fetched", "rebuilt", "restart", "renew"),
)
ANSWERS = ("out", "events", "answers", "wants")


class Device:
    """A device that is played: its store, its session, and what its app has not dealt with."""

    def __init__(self, transcript: dict[str, Any], store: Store) -> None:
        self.frames: dict[str, Any] = transcript.get("frames", {})
        self.store = store
        self.restart("laptop")
        self.shown.clear()

    def restart(self, device: str) -> None:
        saved = self.store.load()
        self.session = Session(saved, device)
        self.numbers = [number for number, _ in saved.unread]
        self.shown = [told(arrival) for _, arrival in saved.unread]

    def play(self, step: dict[str, Any]) -> dict[str, Any]:
        """What the device does in this step."""
        [action] = [name for name in step if name in ACTIONS]
        try:
            more = getattr(self, f"do_{action}")(step[action]) or {}
        except TimewireError as fault:
            more = {"throws": fault.code}
        effects = self.session.effects()
        events = [*self.shown, *(told(event) for event in self.save(effects))]
        self.shown = []
        wants = [name for name in ("pause", "rebuild", "reconnect") if getattr(effects, name)]
        if effects.pause_ms:
            wants.append(f"at least {effects.pause_ms}")
        if effects.renew_ms is not None:
            wants.append(f"renew in {effects.renew_ms}")
        answers = [answered(id, answer) for id, answer in effects.answers]
        out = [said(msgspec.json.encode(frame)) for frame in effects.frames]
        return {"out": out, "events": events, "answers": answers, "wants": wants, **more}

    def save(self, effects: Effects) -> Iterator[Event]:
        """Save the change; events without messages that were there already."""
        numbers = iter(self.store.apply(effects.change))
        shown: list[Event] = []
        for event in effects.events:
            if not isinstance(event, Received | Acked):
                shown.append(event)
            elif (number := next(numbers)) is not None:
                self.numbers.append(number)
                shown.append(event)
        self.session.unread = len(self.numbers)
        return iter(shown)

    def heard(self, frame: Any) -> wire.ServerFrame:
        known = self.frames[frame] if isinstance(frame, str) else frame
        return msgspec.json.decode(json.dumps(known), type=wire.ServerFrame)

    # What happens ------------------------------------------------------------------------------

    def do_open(self, token: str) -> None:
        self.session.opened(token)

    def do_in(self, frames: list[Any]) -> None:
        for frame in frames:
            self.session.receive(self.heard(frame))

    def do_close(self, ending: list[Any]) -> dict[str, Any]:
        advice, fault = self.session.closed(*ending)
        return {"advice": f"{advice} {fault.code}"}

    def do_put(self, command: Any) -> None:
        self.session.put(msgspec.convert(command, wire.Command))

    def do_ask(self, query: Any) -> None:
        self.session.ask(msgspec.convert(query, wire.Query))

    def do_watch(self, watch: Any) -> None:
        self.session.watch(msgspec.convert(watch, wire.Watch))

    def do_typing(self, conversation: str) -> None:
        self.session.typing(conversation)

    def do_tick(self, now: Any) -> None:
        if now == "pause":
            self.session.resume()
        else:
            self.store.sweep(now)

    def do_taken(self, count: int) -> None:
        self.store.apply(Change(taken=self.numbers[count - 1]))
        del self.numbers[:count]
        self.session.taken(len(self.numbers))

    def do_fetched(self, some: dict[str, Any]) -> None:
        messages = msgspec.convert(some["messages"], list[Message])
        self.session.fetched(messages, some["marks"], some["begins"])

    def do_rebuilt(self, _: bool) -> None:
        self.session.rebuilt()

    def do_renew(self, token: str) -> None:
        self.session.renew(token)

    def do_restart(self, device: str) -> None:
        self.restart(device)

    # What is kept ------------------------------------------------------------------------------

    def kept(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """What the store holds of what is asked for."""
        saved = self.store.load()
        unread = [told(arrival) for _, arrival in saved.unread]
        outbox = [command.id for command in saved.outbox]
        plain = {"owner": saved.owner, "cursor": saved.cursor, "reset": saved.reset}
        found: dict[str, Any] = {
            **msgspec.to_builtins(plain),
            "outbox": outbox,
            "unread": unread,
            "messages": {name: self.store.messages(name) for name in wanted.get("messages", ())},
            "marks": {name: self.store.mark(name) for name in wanted.get("marks", ())},
        }
        return {name: found[name] for name in wanted}


def told(event: Event) -> str:
    match event:
        case Received(message) | Acked(message):
            name = "acked" if isinstance(event, Acked) else "received"
            return f"{name} {message.conversation} {message.seq}"
        case Refused(id, conversation, error):
            return f"refused {id} {conversation} {error.code} {kind(error)}"
        case Reset(reason):
            return f"reset {reason}"
        case Connected():
            return "connected"
        case Live():
            return "live"
        case Disconnected(reason):
            return f"disconnected {reason}"
        case Typing(conversation, user):
            return f"typing {conversation} {user}"
        case Presence(user, online, seen):
            return f"presence {user} online" if online else f"presence {user} offline {seen}"


def answered(id: str, answer: Answer) -> str:
    if isinstance(answer, TimewireError):
        return f"{id} refused {answer.code} {kind(answer)}"
    if isinstance(answer, wire.Ack):
        return f"{id} ack {answer.seq}"
    return f"{id} {answer.__struct_config__.tag}"


def kind(fault: TimewireError) -> str:
    name = type(fault).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]


def said(frame: bytes) -> wire.ClientFrame:
    """A frame, with its defaults filled in."""
    return msgspec.json.decode(frame, type=wire.ClientFrame)


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 15


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, kind: str, tmp_path: Path) -> None:
    transcript = json.loads(path.read_text(encoding="utf-8"))
    store: Store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "a.db")
    device = Device(transcript, store)
    for number, step in enumerate(transcript["steps"], 1):
        done = device.play(step)
        wanted: dict[str, Any] = {name: step.get(name, []) for name in ANSWERS}
        wanted["out"] = [said(json.dumps(frame).encode()) for frame in wanted["out"]]
        if "state" in step:
            done["state"] = device.session.state.value
        if "store" in step:
            done["store"] = device.kept(step["store"])
            messages = step["store"].get("messages", {})
            whole = msgspec.convert(messages, dict[str, list[Message]])
            step["store"] |= {"messages": whole} if messages else {}
        wanted |= {
            name: step[name] for name in ("advice", "throws", "state", "store") if name in step
        }
        assert done == wanted, f"step {number}"
    store.close()
