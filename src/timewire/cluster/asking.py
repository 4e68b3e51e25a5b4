"""What a gateway asks the leader to do, and the answers: MessagePack over NATS.

A question holds many requests in order, of one gateway.  It may be asked again when no answer
comes, and be done twice then, by two leaders: every request has an id, and a repeat is told what
the first one was told.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from timewire.backends.jetstream.records import Carried
from timewire.commands import Command
from timewire.errors import CODES, TimewireError, error
from timewire.model import Receipt, Seq
from timewire.permits import Outcome
from timewire.protocol import Ack


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """One request: a user's command, or a message that is checked already (``draft``)."""

    user: str
    command: Command | None
    authority: Literal["member", "system"] = "member"
    draft: Carried | None = None


class Question(msgspec.Struct, frozen=True, array_like=True):
    """What a gateway asks at once.  ``number`` names it in the answer, and grows.

    ``gateway``: the name of one life of it.
    """

    number: int
    requests: list[Asked]
    gateway: str


class Told(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of one request: a SeqId and a time, or the code of an error and its facts."""

    seq: Seq = 0
    time: int = 0
    repeated: bool = False
    code: str = ""
    message: str = ""
    fields: dict[str, Any] = {}

    @classmethod
    def of(cls, outcome: Outcome | Receipt) -> Told:
        """What is told of an outcome."""
        if isinstance(outcome, TimewireError):
            return cls(code=outcome.code, message=outcome.message, fields=outcome.fields)
        repeated = isinstance(outcome, Receipt) and outcome.repeated
        return cls(outcome.seq, outcome.time, repeated)

    def ack(self, id: str) -> Outcome:
        """The outcome of a command with this id."""
        return self._fault() or Ack(id, self.seq, self.time)

    def receipt(self) -> Receipt | TimewireError:
        """The outcome of a draft."""
        return self._fault() or Receipt(self.seq, self.time, self.repeated)

    def _fault(self) -> TimewireError | None:
        if not self.code:
            return None
        code = self.code if self.code in CODES else "server_fault"
        return error(code, self.message, **self.fields)


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """All outcomes, in order.  ``leader`` says who tells them: an old one's are not heard."""

    number: int
    leader: str
    outcomes: list[Told]


encode = msgspec.msgpack.Encoder(enc_hook=str).encode
decode_question = msgspec.msgpack.Decoder(Question).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
