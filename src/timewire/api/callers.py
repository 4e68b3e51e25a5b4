"""Who calls: a user with a token, or the product's backend with the admin key; and how often.

Credentials are read from the ``Authorization`` header only, so that no URL and no log holds them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal

import msgspec
from aiohttp import web

from timewire.api.edge import ACT_AS
from timewire.auth import Keys
from timewire.errors import TimewireError, error
from timewire.gateway import Verify
from timewire.names import check_name
from timewire.session import Rate

MAX_RATES_KEPT: Final = 10_000
"""Users whose rate is remembered: those who sent last."""


class Caller(msgspec.Struct, frozen=True):
    """For whom a request is carried out, and with whose rights."""

    user: str
    authority: Literal["member", "system"]


class Callers:
    """Finds out who calls."""

    def __init__(self, keys: Keys, verify: Verify) -> None:
        self._keys = keys
        self._verify = verify

    def find(self, request: web.Request) -> Caller:
        """The caller: a token's user, or with the admin key the user that ``as`` names.

        Raises ``Forbidden`` (bad_token, token_expired, bad_admin_key), ``Invalid`` (bad_name).
        """
        credentials = _bearer(request)
        user = request.query.get(ACT_AS)
        if user is not None:
            self._keys.check_admin(credentials)
            return Caller(check_name(user), "system")
        if self._is_admin_key(credentials):
            raise error("bad_token", "the admin key acts for a user: name one with `?as=`")
        return Caller(self._verify(credentials, None).user, "member")

    def check_admin(self, request: web.Request) -> None:
        """Raises ``Forbidden`` (bad_admin_key) unless the caller has the admin key."""
        self._keys.check_admin(_bearer(request))

    def _is_admin_key(self, credentials: str) -> bool:
        try:
            self._keys.check_admin(credentials)
        except TimewireError:
            return False
        return True


class Rates:
    """How often each user may send, as ``Rate`` has it for a connection."""

    def __init__(self, a_second: int) -> None:
        self._a_second = a_second
        self._rates: OrderedDict[str, Rate] = OrderedDict()

    def check(self, user: str, now: int) -> None:
        """Count one request, at a time in ms.  Raises ``Retryable`` (rate_limited)."""
        rate = self._rates.pop(user, None) or Rate(self._a_second)
        self._rates[user] = rate
        if len(self._rates) > MAX_RATES_KEPT:
            self._rates.popitem(last=False)
        if not rate.take(now):
            raise error("rate_limited")


def _bearer(request: web.Request) -> str:
    """The credentials of a request; empty when there are none of this kind."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""
