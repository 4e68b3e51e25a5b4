"""Who calls: a user with a token, or the product's backend with an admin key; and how often.

Credentials are read from the ``Authorization`` header only, so that no URL and no log holds them.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from timewire.adminkeys import AdminKeys, Scope
from timewire.api.edge import ACT_AS
from timewire.errors import error
from timewire.gateway import Verify
from timewire.names import check_name
from timewire.quotas import Quotas


class Caller(msgspec.Struct, frozen=True):
    """For whom a request is carried out, and with whose rights.  ``address``: see ``quotas``."""

    user: str
    authority: Literal["member", "system"]
    address: str = ""


class Callers:
    """Finds out who calls."""

    def __init__(self, keys: AdminKeys, verify: Verify, quotas: Quotas) -> None:
        self._keys = keys
        self._verify = verify
        self._quotas = quotas

    def find(self, request: web.Request) -> Caller:
        """The caller of a new request, which counts; see ``know``.  Raises ``Retryable`` too."""
        address = self._arrive(request)
        caller = msgspec.structs.replace(self.know(request), address=address)
        if caller.authority == "member":
            self._quotas.meter(user=caller.user).request(_size(request), self._quotas.ticks())
        return caller

    def know(self, request: web.Request) -> Caller:
        """The caller: a token's user, or with the admin key the user that ``as`` names.

        Raises ``Forbidden`` (bad_token, token_expired, bad_admin_key, missing_scope),
        ``Invalid`` (bad_name).
        """
        credentials = _bearer(request)
        user = request.query.get(ACT_AS)
        if user is not None:
            self._keys.check(credentials, "act")
            return Caller(check_name(user), "system")
        if self._keys.scopes(credentials) is not None:
            raise error("bad_token", "the admin key acts for a user: name one with `?as=`")
        return Caller(self._verify(credentials, None).user, "member")

    def count(self, caller: Caller, conversation: str = "") -> None:
        """Count a send or a transfer.  Raises ``Retryable`` (rate_limited)."""
        if caller.authority == "member":
            meter = self._quotas.meter(address=caller.address, user=caller.user)
            refused = meter.send(conversation, self._quotas.ticks())
            if refused is not None:
                raise refused

    def check_admin(self, request: web.Request, scope: Scope | None) -> None:
        """Raises ``Forbidden`` unless the caller has an admin key with this scope."""
        self._arrive(request)
        assert scope is not None, "every route for administrators has a scope"
        self._keys.check(_bearer(request), scope)

    def _arrive(self, request: web.Request) -> str:
        """Count a request for its address, before anybody looks at what it brings."""
        address = self._quotas.caller(request)
        if address:
            self._quotas.meter(address=address).request(_size(request), self._quotas.ticks())
        return address


def _bearer(request: web.Request) -> str:
    """The credentials of a request; empty when there are none of this kind."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _size(request: web.Request) -> int:
    """Bytes that a request brings, as it says; media are counted as transfers instead."""
    is_media = request.content_type != "application/json"
    return 0 if is_media else request.content_length or 0
