"""Log, message store, directory and inbox as one state machine, with a small model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from msgspec.structs import replace

from timewire.directory import Membership
from timewire.epochs import SYSTEM_MODES, Mode, ModeName, mode_at
from timewire.errors import TimewireError
from timewire.inbox import Delivery
from timewire.model import (
    MAX_SEQ,
    Change,
    Created,
    Draft,
    Edited,
    Members,
    Reacted,
    Read,
    Recalled,
    Receipt,
    Ref,
    StoredBody,
    Window,
    decode_stored,
    encode_body,
    encode_stored,
)
from timewire.testing.contracts.machine import Machine
from timewire.testing.contracts.places import BUCKET_MS, Stores, StoresPlace

USERS = ["alice", "al", "bob", "群"]
GROUPS = ["team", "tea", "te:am"]
A_USER = st.sampled_from(USERS)
A_GROUP = st.sampled_from(GROUPS)
SOME_USERS = st.lists(A_USER, max_size=3, unique=True)
IDS = st.sampled_from(["", "1", "11", "2"])
TEXTS = st.sampled_from(["x", "y"])
LIMITS = st.integers(1, 6)


@dataclass
class Sent:
    """A message of the model."""

    seq: int
    time: int
    conversation: str
    original: bytes
    now: StoredBody | None
    """What is left of it."""
    expires: int = 0

    @property
    def payload(self) -> bytes:
        """What has to be stored."""
        return encode_body(self.now) if self.now else b""


@dataclass
class Model:
    """What has to be there."""

    messages: list[Sent] = field(default_factory=list[Sent])
    ids: dict[tuple[str, str], Sent] = field(default_factory=dict[tuple[str, str], Sent])
    windows: dict[str, dict[str, list[list[int]]]] = field(
        default_factory=dict[str, dict[str, list[list[int]]]]
    )
    """conversation -> user -> [joined, left] ..."""
    modes: dict[str, list[tuple[int, ModeName]]] = field(
        default_factory=dict[str, list[tuple[int, ModeName]]]
    )
    """conversation -> messages past this SeqId have this mode ..."""
    marks: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    delivered: list[Delivery] = field(default_factory=list[Delivery])
    position: int = 0
    floor: int = 1

    def present(self, group: str) -> list[str]:
        """The members of now, in byte order."""
        windows = self.windows.get(group, {})
        return sorted(user for user, found in windows.items() if not found[-1][1])

    def members_at(self, group: str, seq: int) -> list[str]:
        """Whose windows hold a SeqId, in byte order."""
        return sorted(
            user
            for user, windows in self.windows.get(group, {}).items()
            if any(joined <= seq and (not left or seq <= left) for joined, left in windows)
        )

    def mode_at(self, group: str, seq: int) -> ModeName:
        """The mode of a message."""
        for since, mode in reversed(self.modes.get(group, [])):
            if since < seq:
                return mode
        return "write"

    def apply(self, seq: int, group: str, sender: str, change: Change) -> None:
        """What a message changes."""
        match change:
            case Created(members=members):
                self.windows[group] = {user: [[seq, 0]] for user in members}
            case Members(joined=joined, left=left):
                for user in set(joined) - set(self.present(group)):
                    self.windows[group].setdefault(user, []).append([seq, 0])
                for user in set(left) & set(self.present(group)):
                    self.windows[group][user][-1][1] = seq
            case Edited() | Recalled() | Reacted():
                self.revise(seq, group, sender, change)
            case Mode(conversation=conversation, mode=mode):
                self.modes.setdefault(conversation, []).append((seq, mode))
            case Read(conversation=conversation, seq=mark):
                self.marks[sender, conversation] = max(
                    self.marks.get((sender, conversation), 0), mark
                )
            case _:
                raise AssertionError(change)

    def revise(
        self, seq: int, group: str, sender: str, change: Edited | Recalled | Reacted
    ) -> None:
        """What a message does to an earlier one."""
        found = [m for m in self.messages if (m.conversation, m.seq) == (group, change.seq)]
        if not found or not (old := found[0].now):
            return
        target, carrier = found[0], self.messages[-1]
        if isinstance(change, Recalled):
            for gone in self.messages:
                if gone is target or gone.seq in old.edits:
                    gone.now = None
        elif isinstance(change, Reacted):
            users = set(old.reactions.get(change.emoji, ())) - {sender}
            users |= {sender} if change.on else set()
            after = {**old.reactions, change.emoji: sorted(users)}
            after = {emoji: users for emoji, users in after.items() if users}
            target.now = replace(old, reactions=after, version=seq)
        else:
            edits = [*old.edits, seq]
            target.now = replace(
                old, body=change.body, edits=edits, version=seq, edited=carrier.time
            )
            if old.expires and carrier.now:
                carrier.now = replace(carrier.now, expires=old.expires)
                carrier.expires = old.expires

    def sweep(self, now: int) -> int:
        """Redact what has expired; how many messages."""
        gone = [sent for sent in self.messages if 0 < sent.expires <= now]
        for sent in gone:
            sent.now, sent.expires = None, 0
        return len(gone)

    def inbox(self, user: str) -> list[Ref]:
        """What a user's inbox holds."""
        messages = [d.message for d in self.delivered if user in d.users and d.mode == "write"]
        return [Ref(message.seq, message.conversation) for message in messages]

    def reading(self, user: str) -> tuple[list[str], int]:
        """Which conversations a user has to read, and how many there are in all."""
        mine = [group for group, windows in self.windows.items() if user in windows]
        read = [g for g in mine if any(mode == "read" for _, mode in self.modes.get(g, []))]
        return sorted(read), len(mine)

    def expire(self, before: int) -> None:
        """Drop the buckets that end by then."""
        gone = [
            d.message
            for d in self.delivered
            if (d.message.time // BUCKET_MS + 1) * BUCKET_MS <= before
        ]
        self.delivered = self.delivered[len(gone) :]
        self.floor = max([self.floor, *(message.seq + 1 for message in gone)])


class StoresMachine(Machine):
    """A server's stores beside the model."""

    place: ClassVar[type[StoresPlace]]
    backend: Stores

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.epoch = self.backend.log.epoch
        self.groups: set[str] = set()
        self.unnamed = 0

    def append(self, drafts: list[Draft]) -> None:
        """Append drafts, and have the model say what the answer must be."""
        time = max([self.clock.now, *(m.time for m in self.model.messages[-1:])])

        async def append() -> list[Receipt | TimewireError]:
            return await self.backend.log.append(drafts)

        answers = self.run(append())
        assert len(answers) == len(drafts)
        for draft, answer in zip(drafts, answers, strict=True):
            known = self.model.ids.get((draft.sender, draft.id)) if draft.id else None
            if known is None:
                self.admit(draft, answer, time)
            elif (known.conversation, known.original) == (draft.conversation, draft.payload):
                assert answer == Receipt(known.seq, known.time, repeated=True)
            else:
                assert isinstance(answer, TimewireError)
                assert answer.code == "id_reused"
        assert self.backend.log.head == (self.model.messages[-1].seq if self.model.messages else 0)

    def admit(self, draft: Draft, answer: Receipt | TimewireError, time: int) -> None:
        """Take a new message into the model."""
        assert isinstance(answer, Receipt)
        assert (answer.time, answer.repeated) == (time, False)
        assert answer.seq > max([0, *(m.seq for m in self.model.messages[-1:])])
        sent = Sent(
            answer.seq,
            time,
            draft.conversation,
            draft.payload,
            decode_stored(draft.payload),
            draft.expires,
        )
        self.model.messages.append(sent)
        if draft.id:
            self.model.ids[draft.sender, draft.id] = sent
        if draft.change is not None:
            self.model.apply(sent.seq, draft.conversation, draft.sender, draft.change)

    def control(self, conversation: str, sender: str, change: Change) -> Draft:
        """A draft with a change, and an id of its own."""
        self.unnamed += 1
        id = f"control {self.unnamed}"
        return Draft(conversation, sender, id, encode_stored(sender, id, "x", {}), change)

    @rule(group=A_GROUP, sender=A_USER, members=SOME_USERS)
    def create(self, group: str, sender: str, members: list[str]) -> None:
        """Make a group, once."""
        if group not in self.groups:
            self.groups.add(group)
            self.append([self.control(group, sender, Created("group", members, "title"))])

    @rule(data=st.data(), size=st.integers(1, 4))
    def send(self, data: st.DataObject, size: int) -> None:
        """Send new messages, repeats, and ids that were used before."""
        drafts: list[Draft] = []
        for _ in range(size):
            group, sender, id = data.draw(A_GROUP), data.draw(A_USER), data.draw(IDS)
            expires = data.draw(st.sampled_from([0, 0, self.clock.now + 1000]))
            body = StoredBody(sender, id, "text", {"text": data.draw(TEXTS)}, expires=expires)
            drafts.append(Draft(group, sender, id, encode_body(body), expires=expires))
        self.append(drafts)

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), sender=A_USER, joined=SOME_USERS, left=SOME_USERS)
    def change_members(
        self, data: st.DataObject, sender: str, joined: list[str], left: list[str]
    ) -> None:
        """Let members join and others leave, after a message in the same call."""
        group = data.draw(st.sampled_from(sorted(self.groups)))
        left = [user for user in left if user not in joined]
        payload = encode_stored(sender, "", "text", {})
        change = self.control(group, sender, Members(joined, left))
        self.append([Draft(group, sender, "", payload), change])

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), mode=st.sampled_from(["write", "read", "push"]))
    def change_mode(self, data: st.DataObject, mode: ModeName) -> None:
        """Give a group's further messages another mode."""
        group = data.draw(st.sampled_from(sorted(self.groups)))
        self.append([self.control(SYSTEM_MODES, "", Mode(group, mode))])

    @rule(user=A_USER, group=A_GROUP, seq=st.integers(1, 50))
    def mark_read(self, user: str, group: str, seq: int) -> None:
        """Move a read mark, or try to move it back."""
        self.append([self.control(f"self:{user}", user, Read(group, seq))])
        assert (
            self.run(self.backend.directory.read_mark(user, group))
            == (self.model.marks[user, group])
        )

    def deliveries(self, after: int, limit: int) -> list[Delivery]:
        """What is to be delivered of the messages past a SeqId, to their members of then."""
        stored = self.run(self.backend.log.read(after, limit))
        due = [message.seq for message in self.model.messages if message.seq > after][:limit]
        assert [message.seq for message in stored] == due
        found: list[Delivery] = []
        for message in stored:
            group = self.run(self.backend.directory.conversation(message.conversation))
            users = group.members_at(message.seq) if group else []
            assert sorted(users) == self.model.members_at(message.conversation, message.seq)
            mode = mode_at(group.epochs, message.seq) if group else "write"
            assert mode == self.model.mode_at(message.conversation, message.seq)
            found.append(Delivery(message, users, mode))
        return found

    @rule(limit=LIMITS)
    def fan_out(self, limit: int) -> None:
        """Deliver the next messages."""
        due = self.deliveries(self.model.position, limit)
        if due:
            self.model.delivered += [d for d in due if d.users]
            self.model.position = due[-1].message.seq
            self.run(self.backend.inbox.put([d for d in due if d.users], self.model.position))
        assert self.backend.inbox.position == self.model.position

    @rule(data=st.data(), limit=LIMITS)
    def fan_out_again(self, data: st.DataObject, limit: int) -> None:
        """Deliver messages a second time, as after a crash: this changes nothing."""
        done = [m.seq for m in self.model.messages if m.seq <= self.model.position]
        after = data.draw(st.sampled_from([0, *done]))
        due = [d for d in self.deliveries(after, limit) if d.message.seq <= self.model.position]
        self.run(self.backend.inbox.put([d for d in due if d.users], after))
        assert self.backend.inbox.position == self.model.position

    @rule(age=st.integers(-1000, 4000))
    def expire(self, age: int) -> None:
        """Let the oldest buckets go."""
        self.run(self.backend.inbox.expire(self.clock.now - age))
        self.model.expire(self.clock.now - age)
        assert self.backend.inbox.floor == self.model.floor

    @precondition(lambda self: self.model.messages)
    @rule(data=st.data())
    def redact(self, data: st.DataObject) -> None:
        """Take back what a message said."""
        sent = data.draw(st.sampled_from(self.model.messages))
        assert self.run(self.backend.messages.redact(sent.conversation, sent.seq))
        sent.now = None

    @precondition(lambda self: self.model.messages)
    @rule(
        data=st.data(),
        sender=A_USER,
        kind=st.sampled_from(["edit", "edit", "recall", "react", "unreact"]),
    )
    def revise(self, data: st.DataObject, sender: str, kind: str) -> None:
        """Change an earlier message, be it there still or not."""
        sent = data.draw(st.sampled_from(self.model.messages))
        change: Change = Reacted(sent.seq, data.draw(TEXTS), kind == "react")
        if kind == "edit":
            change = Edited(sent.seq, {"text": data.draw(TEXTS)})
        elif kind == "recall":
            change = Recalled(sent.seq)
        self.append([self.control(sent.conversation, sender, change)])
        peeked = self.run(self.backend.log.peek(sent.conversation, sent.seq))
        assert peeked
        assert peeked.payload == sent.payload

    @rule(age=st.integers(-2000, 1000))
    def sweep(self, age: int) -> None:
        """Redact what has expired by some time."""
        now = self.clock.now - age
        assert self.run(self.backend.log.sweep(now)) == self.model.sweep(now)

    @rule(data=st.data(), user=A_USER, limit=LIMITS)
    def sync(self, data: st.DataObject, user: str, limit: int) -> None:
        """Read an inbox from anywhere, and fetch the messages it names."""
        ends = st.sampled_from([0, *(m.seq for m in self.model.messages), MAX_SEQ])
        after, upto = data.draw(ends), data.draw(ends)
        refs, has_more = self.run(self.backend.inbox.scan(user, after, upto, limit))
        expected = [ref for ref in self.model.inbox(user) if after < ref.seq <= upto]
        assert (refs, has_more) == (expected[:limit], len(expected) > limit)
        by_seq = {message.seq: message for message in self.model.messages}
        fetched = self.run(self.backend.log.fetch(refs))
        assert [(m.seq, m.payload) for m in fetched] == [
            (ref.seq, by_seq[ref.seq].payload) for ref in refs
        ]

    @rule()
    def compare(self) -> None:
        """Everything is as the model has it."""
        backend, model = self.backend, self.model
        stored = self.run(backend.log.read(0))
        assert [(m.seq, m.time, m.conversation, m.payload) for m in stored] == [
            (m.seq, m.time, m.conversation, m.payload) for m in model.messages
        ]
        assert backend.log.epoch == self.epoch
        assert (backend.inbox.position, backend.inbox.floor) == (model.position, model.floor)
        for group in GROUPS:
            page = self.run(backend.messages.scan(group, limit=1000))
            assert [(e.seq, e.time, e.payload, e.redacted) for e in page.entries] == [
                (m.seq, m.time, m.payload, not m.payload)
                for m in model.messages
                if m.conversation == group
            ]
            assert self.run(backend.directory.members(group)) == model.present(group)
        for user in USERS:
            refs = self.run(backend.inbox.scan(user, 0, MAX_SEQ, 1000))
            assert refs == (model.inbox(user), False)
            assert self.run(backend.directory.memberships(user)) == self.memberships(user)
            reading = self.run(backend.directory.reading(user))
            assert (sorted(reading.names), reading.conversations) == model.reading(user)

    def memberships(self, user: str) -> list[Membership]:
        """A user's conversations in the model."""
        return [
            Membership(
                group,
                [Window(joined, left) for joined, left in windows[user]],
                self.model.marks.get((user, group), 0),
            )
            for group, windows in sorted(self.model.windows.items())
            if user in windows
        ]

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


def stores_machine(place: type[StoresPlace]) -> type[StoresMachine]:
    """The machine for a place: ``TestStoresMachine = stores_machine(DiskPlace).TestCase``."""
    return type(f"{place.__name__}StoresMachine", (StoresMachine,), {"place": place})
