"""Who is logged in where: the list of a user's devices, how many there may be, and logging out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, Protocol

import msgspec

from timewire.asking import ListDevices, LogOut
from timewire.clock import Clock
from timewire.config import Config
from timewire.directory import Directory
from timewire.errors import error
from timewire.metrics import LOGINS_ENDED
from timewire.names import check_name
from timewire.protocol import CloseCode, DevicePage, DeviceState, ServerFrame
from timewire.revocations import Revocation, Revocations

MAX_DEVICES_LISTED: Final = 1000


class Login(Protocol):
    """A connection that has been welcomed.  ``kind``: what the device calls itself, or empty.

    ``token_id``, ``issued_ms``: of its token.
    """

    user: str
    device: str
    kind: str
    opened: float
    token_id: str
    issued_ms: int

    def end(self, code: CloseCode) -> None:
        """Close it."""
        ...


class Rules(msgspec.Struct, frozen=True):
    """How many devices of a user may be connected: in all (0: any number), and one of a kind.

    ``conflict``: whether the older one has to go, or the newer one may not come.
    """

    devices: int = 0
    single: tuple[str, ...] = ()
    conflict: Literal["replace", "refuse"] = "replace"


def device_rules(config: Config) -> Rules:
    """The rules of a configuration."""
    return Rules(config.devices, config.devices_single, config.devices_conflict)


class Revoke(msgspec.Struct, frozen=True):
    """What is to be void: one ``token`` (its ``jti``), or all of ``user``, or of one ``device``."""

    token: str = ""
    user: str = ""
    device: str = ""


class Logins:
    """The connections that have been welcomed, by user."""

    def __init__(
        self, rules: Rules, revocations: Revocations, directory: Directory, clock: Clock
    ) -> None:
        self._rules = rules
        self._revocations = revocations
        self._directory = directory
        self._clock = clock
        self._there: dict[str, list[Login]] = {}
        revocations.on_kept = self._revoked

    def join(self, login: Login) -> None:
        """A device wants to come in; what is in its way has to go, or it may not.

        Raises ``Forbidden`` (too_many_devices).
        """
        others = [one for one in self._there.get(login.user, ()) if one.device != login.device]
        excess = self._excess(login, others)
        if excess and self._rules.conflict == "refuse":
            raise error("too_many_devices", devices=sorted(one.device for one in excess))
        self._there[login.user] = [*others, login]
        self._end(excess, CloseCode.DISPLACED)

    def _excess(self, login: Login, others: Sequence[Login]) -> list[Login]:
        """Those of the others that cannot stay beside this one, oldest first."""
        rules = self._rules
        alike = [one for one in others if one.kind == login.kind and one.kind in rules.single]
        left = sorted((one for one in others if one not in alike), key=lambda one: one.opened)
        over = len(left) + 1 - rules.devices if rules.devices else 0
        return alike + left[: max(0, over)]

    def leave(self, login: Login) -> None:
        """A connection has ended."""
        there = self._there.get(login.user, [])
        if login in there:
            there.remove(login)
            if not there:
                del self._there[login.user]

    async def revoke(self, what: Revoke) -> None:
        """Make tokens void, durably, and end the connections that they opened.

        Raises ``Invalid`` (bad_frame, bad_name, list_full), ``Retryable`` (storage_unavailable).
        """
        if bool(what.token) == bool(what.user) or (what.device and not what.user):
            raise error("bad_frame", "name a token, or a user, or a user and a device")
        for name in (what.user, what.device):
            if name:
                check_name(name)
        if len(what.token) > 128:
            raise error("bad_id")
        await self._revocations.add(
            now=self._clock(), token=what.token, user=what.user, device=what.device
        )

    def _revoked(self, one: Revocation) -> None:
        """End the connections that a revocation is about, wherever it was asked for."""
        if one.token:
            everybody = [login for logins in self._there.values() for login in logins]
            gone = [login for login in everybody if login.token_id == one.token]
            self._end(gone, CloseCode.TOKEN_REVOKED)
        else:
            logins = self._there.get(one.user, ())
            gone = [login for login in logins if one.device in ("", login.device)]
            gone = [login for login in gone if login.issued_ms <= one.time]
            self._end(gone, CloseCode.LOGGED_OUT)

    async def answer(self, user: str, query: ListDevices | LogOut) -> ServerFrame:
        """The devices of a user, after one was logged out if that is asked for.

        Raises ``Invalid`` (bad_name), ``NotFound`` (unknown_device), ``Retryable``.
        """
        devices = await self._devices(user)
        if isinstance(query, LogOut):
            if query.device not in [one.device for one in devices]:
                raise error("unknown_device", device=query.device[:128])
            await self.revoke(Revoke(user=user, device=query.device))
            devices = [one for one in devices if one.device != query.device]
        return DevicePage(query.id, devices)

    async def _devices(self, user: str) -> list[DeviceState]:
        online = {one.device: one for one in self._there.get(user, ())}
        seen = {
            one.name: one.seen for one in await self._directory.devices(user, MAX_DEVICES_LISTED)
        }
        return [
            DeviceState(
                name,
                online[name].kind if name in online else "",
                online=name in online,
                seen=seen.get(name, 0) if name not in online else self._clock(),
            )
            for name in sorted({*online, *seen})
            if name in online or seen[name] > self._revocations.before(user, name)
        ]

    def _end(self, logins: Iterable[Login], code: CloseCode) -> None:
        for login in logins:
            self.leave(login)
            LOGINS_ENDED.labels(code.name.lower()).inc()
            login.end(code)
