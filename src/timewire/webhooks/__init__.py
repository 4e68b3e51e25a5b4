"""Webhooks: what has happened, told to the product's own servers, at least once and in order."""

from timewire.webhooks.asked import EndpointList, Replay
from timewire.webhooks.endpoint import EndpointState
from timewire.webhooks.ledger import Ledger, Progress
from timewire.webhooks.service import Webhooks, find_secrets, webhooks

__all__ = [
    "EndpointList",
    "EndpointState",
    "Ledger",
    "Progress",
    "Replay",
    "Webhooks",
    "find_secrets",
    "webhooks",
]
