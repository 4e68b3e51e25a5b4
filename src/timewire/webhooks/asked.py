"""What can be asked of webhooks over HTTP, and the answer."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from timewire.model import Seq
from timewire.webhooks.endpoint import EndpointState


class EndpointList(msgspec.Struct, frozen=True):
    """The webhook endpoints, and how far each has come."""

    endpoints: list[EndpointState]


class Replay(msgspec.Struct, frozen=True):
    """Tell an endpoint again (empty: all): what is parked, or everything from the SeqId on."""

    endpoint: str = ""
    since: Annotated[Seq, Meta(ge=1)] | None = None
