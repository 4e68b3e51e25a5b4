"""The bus of a single process: a call of each subscriber."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from timewire.bus import Listener, Signal, Subscriber
from timewire.inbox import Delivery
from timewire.model import Seq

_logger = logging.getLogger(__name__)


class LocalBus:
    """A ``Bus`` that loses nothing: ``publish`` has called every subscriber when it returns.

    A subscriber that raises keeps nothing from the others.
    """

    def __init__(self) -> None:
        self._subscribers: dict[object, Subscriber] = {}
        self._listeners: dict[object, Listener] = {}

    def publish(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        """Hand deliveries to every subscriber; every inbox holds all up to ``position``."""
        for ticket, subscriber in list(self._subscribers.items()):
            if ticket not in self._subscribers:
                continue  # a subscriber before it has stopped it
            try:
                subscriber(deliveries, position)
            except Exception:
                _logger.exception("a subscriber failed at position %d", position)

    def signal(self, signal: Signal) -> None:
        """Hand a signal to every listener."""
        for ticket, listener in list(self._listeners.items()):
            if ticket not in self._listeners:
                continue
            try:
                listener(signal)
            except Exception:
                _logger.exception("a listener failed")

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have a function called with every signal from now on; call the result to stop."""
        ticket = object()
        self._listeners[ticket] = listener

        def stop() -> None:
            self._listeners.pop(ticket, None)

        return stop

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have a function called with everything published from now on; call the result to stop."""
        ticket = object()
        self._subscribers[ticket] = subscriber

        def stop() -> None:
            self._subscribers.pop(ticket, None)

        return stop
