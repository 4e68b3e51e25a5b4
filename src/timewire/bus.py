"""Port: the bus, which carries what fan-out has delivered to the gateways that hold connections.

What every backend promises: batches reach each subscriber in order, at most once.  A batch may be
lost (a subscriber then learns it from the next position and pulls), so nothing depends on it but
speed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from timewire.inbox import Delivery
from timewire.model import Seq

Subscriber = Callable[[Sequence[Delivery], Seq], None]
"""Called with deliveries in log order and the position they reach: ``(deliveries, position)``."""


class Bus(Protocol):
    """See the module for what holds."""

    def publish(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        """Hand deliveries to every subscriber; every inbox holds all up to ``position``."""
        ...

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have a function called with everything published from now on; call the result to stop."""
        ...
