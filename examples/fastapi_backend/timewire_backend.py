"""All that a product's backend needs of Timewire: four calls over HTTP, repeated until answered."""

import asyncio
import random
from typing import Any
from urllib.parse import quote

import httpx

PAUSES_S = (0.1, 0.3, 1.0, 3.0)
"""Before each repeat.  Commands carry ids, so a repeat never does a thing twice."""


class Refused(Exception):
    """Timewire said no.  ``code`` is stable, ``retry``: the same call may succeed later."""

    def __init__(self, code: str, message: str, retry: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.retry = retry


class Timewire:
    """Timewire with the admin key.  Keep the key in the backend: it may do everything."""

    def __init__(self, url: str, admin_key: str) -> None:
        headers = {"Authorization": f"Bearer {admin_key}"}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=10)

    async def token(self, user: str, life_s: int) -> dict[str, Any]:
        """A token for a user whom you know: ``{"token": ..., "expires": ms}``."""
        return await self._post("/v1/tokens", {"user": user, "life_s": life_s})

    async def create(
        self, conversation: str, members: list[str], title: str, *, by: str, id: str
    ) -> dict[str, Any]:
        """Make a conversation; ``by`` is not one of its members unless named."""
        body = {"id": id, "conversation": conversation, "members": members, "title": title}
        return await self._post("/v1/conversations", body, by)

    async def add(self, conversation: str, users: list[str], *, by: str, id: str) -> dict[str, Any]:
        """Add members."""
        path = f"/v1/conversations/{quote(conversation, safe='')}/members"
        return await self._post(path, {"id": id, "users": users}, by)

    async def send(self, to: str, body: dict[str, Any], *, by: str, id: str) -> dict[str, Any]:
        """Send a message as somebody who need not be a member."""
        return await self._post("/v1/messages", {"id": id, "to": to, "body": body}, by)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _post(self, path: str, body: dict[str, Any], by: str | None = None) -> dict[str, Any]:
        params = {} if by is None else {"as": by}
        for pause_s in (*PAUSES_S, None):
            try:
                response = await self._http.post(path, params=params, json=body)
                if response.is_success:
                    return response.json()
                fault = _refused(response)
            except httpx.TransportError as problem:
                fault = Refused("not_connected", str(problem), retry=True)
            if pause_s is None or not fault.retry:
                raise fault
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
        raise AssertionError("the last try returns or raises")


def _refused(response: httpx.Response) -> Refused:
    try:
        told = response.json()
        return Refused(told["code"], told["message"], told.get("retry", False))
    except (ValueError, KeyError):  # not Timewire but something on the way, such as a proxy
        return Refused("not_connected", f"HTTP {response.status_code}", response.is_server_error)
