"""``python -m bench.hop``: what would it cost to take connections out of the server's process?

Two processes and a Unix socket between them.  One stands for a gateway: it hands on sends, some at
a time, and sorts what comes back by connection.  The other stands for the rest of a server: it
takes them apart and answers each with an ack for the sender and a push for the receiver.  Neither
does anything else, so what they use is the price of the way.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

CONNECTIONS: Final = 50
MESSAGES: Final = 200_000
BATCHES: Final = (1, 5, 50, 200)
ACK: Final = b"a" * 70
PUSH: Final = b"p" * 400
BODY: Final = b'{"text":"' + b"x" * 200 + b'"}'
LENGTH_BYTES: Final = 4


class Handed(msgspec.Struct, array_like=True, gc=False):
    """A send on its way to the server."""

    connection: int
    user: str
    id: str
    to: str
    kind: str
    body: bytes
    ack: str


class Answer(msgspec.Struct, array_like=True, gc=False):
    """A frame for some connections."""

    connections: list[int]
    frame: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_sends = msgspec.msgpack.Decoder(list[Handed]).decode
_decode_answers = msgspec.msgpack.Decoder(list[Answer]).decode


class _End(asyncio.Protocol):
    """Blocks of bytes with their length before them."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.used_s = time.process_time()
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def put(self, block: bytes) -> None:
        self.transport.write(len(block).to_bytes(LENGTH_BYTES, "big") + block)

    def data_received(self, data: bytes) -> None:
        data, at = self._rest + data, 0
        while len(data) - at >= LENGTH_BYTES:
            start = at + LENGTH_BYTES
            end = start + int.from_bytes(data[at:start], "big")
            if end > len(data):
                break
            self.got(data[start:end])
            at = end
        self._rest = data[at:]

    def got(self, block: bytes) -> None:
        raise RuntimeError("nothing is taken here")

    def us_each(self, messages: int) -> float:
        """Processor time that this process has used since its beginning, for each message."""
        return (time.process_time() - self.used_s) / messages * 1e6


class Engine(_End):
    """The server's side."""

    def got(self, block: bytes) -> None:
        answers: list[Answer] = []
        for one in _decode_sends(block):
            answers.append(Answer([one.connection], ACK))
            answers.append(Answer([one.connection + CONNECTIONS], PUSH))
        self.put(_encode(answers))


class Gateway(_End):
    """The side of the connections.  ``done`` is set when all messages came back."""

    def __init__(self, messages: int, batch: int) -> None:
        super().__init__()
        self.done = asyncio.Event()
        self.frames = 0
        self._left = messages
        self._batch = batch
        self._boxes: list[list[bytes]] = [[] for _ in range(2 * CONNECTIONS)]

    def send(self) -> None:
        """The next sends."""
        sends = [
            Handed(
                n % CONNECTIONS, "alice", "0000000001", "direct:alice:bob", "text", BODY, "stored"
            )
            for n in range(self._batch)
        ]
        self.put(_encode(sends))

    def got(self, block: bytes) -> None:
        for answer in _decode_answers(block):
            for connection in answer.connections:
                self._boxes[connection].append(answer.frame)
        for box in self._boxes:
            self.frames += len(box)
            box.clear()
        self._left -= self._batch
        if self._left > 0:
            self.send()
        else:
            self.done.set()


async def _serve(path: str, messages: int, results: Any) -> None:
    ended = asyncio.Event()

    class Once(Engine):
        def connection_lost(self, exc: Exception | None) -> None:
            results.put(self.us_each(messages))
            ended.set()

    server = await asyncio.get_running_loop().create_unix_server(Once, path)
    results.put(0.0)
    await ended.wait()
    server.close()


def _engine(path: str, messages: int, results: Any) -> None:
    uvloop.run(_serve(path, messages, results))


async def _gateway(path: str, messages: int, batch: int) -> float:
    loop = asyncio.get_running_loop()
    _, gateway = await loop.create_unix_connection(lambda: Gateway(messages, batch), path)
    gateway.send()
    await gateway.done.wait()
    gateway.transport.close()
    return gateway.us_each(messages)


def hop(messages: int, batch: int) -> tuple[float, float]:
    """Microseconds of processor time for a message there and back: gateway, engine."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory(prefix="timewire-hop-") as place:
        path = str(Path(place) / "s")
        other = context.Process(target=_engine, args=(path, messages, results))
        other.start()
        results.get(timeout=60)  # it listens
        ours = uvloop.run(_gateway(path, messages, batch))
        theirs = results.get(timeout=60)
        other.join()
    return ours, theirs


def main() -> int:
    """Print the price by the size of a batch."""
    for batch in BATCHES:
        ours, theirs = hop(MESSAGES // (10 if batch == 1 else 1), batch)
        print(f"{batch:4} at a time: gateway {ours:5.2f} us, engine {theirs:5.2f} us a message")
    return 0


if __name__ == "__main__":
    sys.exit(main())
