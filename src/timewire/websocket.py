"""A WebSocket whose frames are taken as they are read.

aiohttp puts each message into a queue and wakes a task that waits for it: 4 us a message when they
come one by one, more than all that Timewire itself does with one before it is queued for the log.
Here the queue hands a message on at once, from within the read of the socket, and keeps only what
nobody takes.  All else is aiohttp's: handshake, frames, fragments, limits, pings and the close.

``_reader`` is where aiohttp keeps the queue, which is not for others to know.  Should a newer one
keep it elsewhere, all messages come by ``receive`` again: slower, not wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import WSMessage, WSMsgType, web
from aiohttp._websocket.models import WSMessageTextBytes
from aiohttp._websocket.reader import WebSocketDataQueue

Feed = Callable[[str | bytes], bool]
"""Takes the data of a message at once; False: it is to be queued."""

QUEUE_BYTES: Final = 32 * 1024
"""In the queue of a connection; with twice as much, its socket is not read."""

_DATA: Final = (WSMsgType.TEXT, WSMsgType.BINARY)


class WebSocket(web.WebSocketResponse):
    """aiohttp's WebSocket, with a queue that messages can pass by."""

    _queue: Queue | None = None

    def listen(self, feed: Feed) -> None:
        """Hand messages to ``feed`` as they come, from when all that waits has been received."""
        if self._queue is not None:
            self._queue.feed = feed

    @property
    def _reader(self) -> WebSocketDataQueue | None:
        return self._queue

    @_reader.setter
    def _reader(self, queue: WebSocketDataQueue) -> None:  # pyright: ignore
        """aiohttp has made its queue, and will give its parser the one that is here."""
        loop = asyncio.get_running_loop()
        protocol = queue._protocol  # pyright: ignore[reportPrivateUsage]
        self._queue = Queue(protocol, QUEUE_BYTES, loop=loop)


class Queue(WebSocketDataQueue):
    """What has been read and was not taken at once."""

    feed: Feed | None = None

    def feed_data(self, data: WSMessage | WSMessageTextBytes, size: int) -> None:
        """A message has been read.  None passes one that waits."""
        taken = (
            self.feed is not None
            and not self._buffer
            and data.type in _DATA
            and self.feed(data.data)
        )
        if not taken:
            super().feed_data(data, size)
