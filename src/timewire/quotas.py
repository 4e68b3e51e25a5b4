"""How much each user, device, conversation and address may ask of the server.

A send beyond a limit is refused, with the time after which it may pass.  Frames and bytes beyond
one are not refused: the connection is not read from for that time, so its device is slowed down by
its network and loses nothing.  Over HTTP requests are refused: there is nothing to slow down.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

import msgspec
from aiohttp import web

from timewire.clock import Ticks
from timewire.config import Config
from timewire.errors import TimewireError, error
from timewire.metrics import LIMITED
from timewire.rates import Rate, Rates, take_all

FORWARDED: Final = "X-Forwarded-For"
MAX_FORWARDED: Final = 16
"""Addresses of one ``X-Forwarded-For`` that are looked at: those that proxies added last."""


class Allowed(msgspec.Struct, frozen=True):
    """What one of a scope may do in a second; 0: any number."""

    frames: int = 0
    bytes: int = 0
    sends: int = 0


class Meter:
    """What counts for one connection, or for one caller over HTTP.  Times are in ticks."""

    __slots__ = ("_bytes", "_conversations", "_frames", "_sends")

    def __init__(self, conversations: Rates | None = None) -> None:
        self._conversations = conversations
        self._frames: tuple[Rate, ...] = ()
        self._bytes: tuple[Rate, ...] = ()
        self._sends: tuple[Rate, ...] = ()

    def add(self, frames: Rates, bytes: Rates, sends: Rates, name: str) -> None:
        """Count for one more name, in the scope of these buckets."""
        if frames.a_second:
            self._frames += (frames.of(name),)
        if bytes.a_second:
            self._bytes += (bytes.of(name),)
        if sends.a_second:
            self._sends += (sends.of(name),)

    @property
    def by_conversation(self) -> bool:
        """Whether sends are counted for their conversation."""
        return self._conversations is not None

    def send(self, conversation: str, now: float) -> TimewireError | None:
        """Count a send; the error (rate_limited) when it may not pass now."""
        rates = self._sends
        if self._conversations is not None and conversation:
            rates = (*rates, self._conversations.of(conversation))
        if not rates or (refused := take_all(rates, now)) is None:
            return None
        return _refusal("sends", *refused)

    def signal(self, now: float) -> bool:
        """Count something that has no answer; whether it may pass."""
        return take_all(self._sends, now) is None

    def frame(self, size: int, now: float) -> int:
        """Count a frame of so many bytes; for how long nothing more is to be read (ms)."""
        if not self._frames and not self._bytes:
            return 0
        pause_ms = 0
        for rates, count, what in ((self._frames, 1, "frames"), (self._bytes, size, "bytes")):
            for rate in rates:
                if (wanted_ms := rate.spend(now, count)) > 0:
                    LIMITED.labels(rate.scope, what).inc()
                    pause_ms = max(pause_ms, wanted_ms)
        return pause_ms

    def request(self, size: int, now: float) -> None:
        """Count an HTTP request with so many bytes.  Raises ``Retryable`` (rate_limited)."""
        if (refused := take_all(self._frames, now)) is not None:
            raise _refusal("frames", *refused)
        for rate in self._bytes:
            # A body may be larger than what is left: then what comes after it waits.
            if pause_ms := rate.pause_ms(now, 0):
                raise _refusal("bytes", pause_ms, rate.scope)
        for rate in self._bytes:
            rate.spend(now, size)


class Quotas:
    """All limits of a server, and what is left of them."""

    def __init__(self, config: Config, ticks: Ticks) -> None:
        self.ticks = ticks
        self._scopes = {
            scope: (
                Rates(allowed.frames, scope),
                Rates(allowed.bytes, scope),
                Rates(allowed.sends, scope),
            )
            for scope, allowed in scopes(config).items()
        }
        most = config.conversation_sends_per_second
        self._conversations = Rates(most, "conversation") if most else None
        self._most_connections = config.address_connections
        self._connections: Counter[str] = Counter()
        self._counts_addresses = bool(self._most_connections) or any(
            rates.a_second for rates in self._scopes["address"]
        )
        self._proxies = tuple(_network(one) for one in config.trusted_proxies)

    def meter(self, *, address: str = "", user: str = "", device: str = "") -> Meter:
        """What is counted for somebody, as far as it is known who it is."""
        made = Meter(self._conversations)
        if address:
            made.add(*self._scopes["address"], address)
        if user:
            made.add(*self._scopes["user"], user)
        if device:
            made.add(*self._scopes["device"], f"{user} {device}")
        return made

    @contextmanager
    def connection(self, address: str) -> Generator[None]:
        """A connection of an address, while it lasts.  Raises ``Retryable``."""
        most = self._most_connections
        if not most or not address:
            yield
            return
        if self._connections[address] >= most:
            LIMITED.labels("address", "connections").inc()
            raise error("too_many_connections", limit=most)
        self._connections[address] += 1
        try:
            yield
        finally:
            self._connections[address] -= 1
            if not self._connections[address]:
                del self._connections[address]

    def caller(self, request: web.Request) -> str:
        """The address that a request counts for; empty when addresses are not counted."""
        if not self._counts_addresses:
            return ""
        return self.address(request.remote or "", ",".join(request.headers.getall(FORWARDED, ())))

    def address(self, peer: str, forwarded: str) -> str:
        """Whose request it is: of the peer, or, when that is a trusted proxy, of whom it names.

        ``forwarded``: the request's ``X-Forwarded-For``.  Each proxy adds whom it has it from, so
        it is read from its end, as far as those who wrote it are trusted.
        """
        for named in reversed(forwarded.split(",")[-MAX_FORWARDED:]):
            if not self._trusts(peer):
                break
            found = _address(named)
            if not found:
                break
            peer = found
        found = _address(peer)
        # A host in IPv6 has a /64 to itself: all of it is one address.
        return str(ipaddress.ip_network((found, 64), strict=False)) if ":" in found else found

    def _trusts(self, peer: str) -> bool:
        found = _address(peer)
        return bool(found) and any(_within(found, network) for network in self._proxies)


def scopes(config: Config) -> dict[str, Allowed]:
    """What a configuration allows to one address, one user and one device."""
    return {
        "address": Allowed(
            config.address_frames_per_second,
            config.address_bytes_per_second,
            config.address_sends_per_second,
        ),
        "user": Allowed(config.frames_per_second, config.bytes_per_second, config.sends_per_second),
        "device": Allowed(
            config.device_frames_per_second,
            config.device_bytes_per_second,
            config.device_sends_per_second,
        ),
    }


def least(config: Config) -> Allowed:
    """What one device can do at most: the least of all that holds for it."""
    of = scopes(config).values()
    return Allowed(
        _least(one.frames for one in of),
        _least(one.bytes for one in of),
        _least(one.sends for one in of),
    )


def _least(limits: Iterable[int]) -> int:
    return min((limit for limit in limits if limit), default=0)


def _refusal(what: str, pause_ms: int, scope: str) -> TimewireError:
    LIMITED.labels(scope, what).inc()
    return error("rate_limited", retry_after=pause_ms, scope=scope)


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as problem:
        message = f"{text!r} in trusted_proxies is no address and no network: {problem}"
        raise error("bad_config", message, key="trusted_proxies") from None


def _within(address: str, network: _Network) -> bool:
    return ipaddress.ip_address(address) in network


def _address(text: str) -> str:
    """An address as it is written everywhere; empty when the text is none."""
    try:
        found = ipaddress.ip_address(text.strip().strip("[]"))
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or found)
    return str(found)
