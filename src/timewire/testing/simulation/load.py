"""What the users of a simulation do."""

from __future__ import annotations

from random import Random
from typing import Final

from timewire.commands import (
    Add,
    Ban,
    Command,
    Create,
    Edit,
    Hide,
    MarkRead,
    Pin,
    React,
    Recall,
    Remove,
    Send,
    Unban,
)
from timewire.model import Message
from timewire.names import direct
from timewire.testing.simulation.device import Device

USERS: Final = ("alice", "bob", "carol")
GROUPS: Final = ("team", "club")
ACTS: Final = {
    "group": 40,
    "direct": 15,
    "self": 3,
    "member": 7,
    "ban": 1,
    "mark": 6,
    "change": 16,
    "again": 4,
    "reuse": 1,
    "read": 8,
    "hide": 2,
    "pin": 1,
}


def found(number: int) -> Command:
    """What makes a group."""
    members = USERS[:2] if number else USERS
    return Create(f"found {number}", GROUPS[number], list(members))


class Load:
    """What one device does, one thing after the other."""

    def __init__(self, device: Device, chance: Random) -> None:
        self.device = device
        self._chance = chance
        self._number = 0
        self._said: list[Command] = []

    async def act(self) -> None:
        """Do something."""
        chance, device = self._chance, self.device
        self._number += 1
        id = f"{device.who}#{self._number}"
        act = chance.choices(list(ACTS), list(ACTS.values()))[0]
        if act == "read":
            await self._read()
        elif act == "again" and self._said:
            device.do(chance.choice(self._said[-20:]))
        elif command := self._command(act, id):
            self._said.append(command)
            device.do(command)

    def _command(self, act: str, id: str) -> Command | None:
        chance, user = self._chance, self.device.who.user
        group, other = chance.choice(GROUPS), chance.choice(USERS)
        body = {"text": f"{id} " + "x" * chance.choice([0, 10, 400])}
        match act:
            case "group":
                return Send(id, group, body, ack=chance.choice(["stored", "stored", "synced"]))
            case "direct":
                return Send(id, direct(user, other), body)
            case "self":
                return Send(id, direct(user, user), body)
            case "member":
                kind = chance.choice([Add, Add, Remove])
                return kind(id, group, [other])
            case "ban":
                return chance.choice([Ban, Unban])(id, group, [other])
            case "reuse" if self._said:
                return Send(chance.choice(self._said).id, group, body)
            case _:
                return self._to_a_message(act, id)

    def _to_a_message(self, act: str, id: str) -> Command | None:
        """Something done to a message that the device has."""
        shown = self.device.shown
        if not shown:
            return None
        message = self._chance.choice(shown[-30:]).message
        place = message.conversation, message.seq
        match act:
            case "mark":
                return MarkRead(id, *place)
            case "hide":
                return Hide(id, *place)
            case "pin":
                return Pin(id, *place)
            case "change":
                return self._change(id, message)
            case _:
                return None

    def _change(self, id: str, message: Message) -> Command:
        chance, place = self._chance, (message.conversation, message.seq)
        if message.sender != self.device.who.user or chance.random() < 0.3:
            return React(id, *place, chance.choice("👍🎉"), chance.random() < 0.7)
        if chance.random() < 0.6:
            return Edit(id, *place, {"text": f"{id} edits {message.seq}"})
        return Recall(id, *place)

    async def _read(self) -> None:
        chance, device = self._chance, self.device
        seq = chance.randrange(device.shown[-1].message.seq + 2) if device.shown else 1
        where = chance.choice([{}, {"after": seq}, {"before": seq + 1}])
        await device.read(chance.choice(GROUPS), chance.choice([1, 5, 100]), **where)
