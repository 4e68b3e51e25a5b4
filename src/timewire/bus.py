"""Port: the bus, which carries what fan-out has delivered to the gateways that hold connections.

What every backend promises: batches reach each subscriber in order, at most once.  A batch may be
lost (a subscriber then learns it from the next position and pulls), so nothing depends on it but
speed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from timewire.inbox import Delivery
from timewire.model import Seq
from timewire.protocol import Presence, SomeoneTyping

Subscriber = Callable[[Sequence[Delivery], Seq], None]
"""Called with deliveries in log order and the position they reach: ``(deliveries, position)``."""


class Signal(msgspec.Struct, eq=False):
    """News that is only good while it is new.  ``origin`` is as that of a ``Stored``."""

    frame: SomeoneTyping | Presence
    origin: object = None


Listener = Callable[[Signal], None]
"""Called with a signal."""


class Bus(Protocol):
    """See the module for what holds."""

    def publish(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        """Hand deliveries to every subscriber; every inbox holds all up to ``position``."""
        ...

    def signal(self, signal: Signal) -> None:
        """Hand a signal to every listener.  It may be lost, or overtake what was published."""
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have a function called with every signal from now on; call the result to stop."""
        ...

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have a function called with everything published from now on; call the result to stop."""
        ...
