"""The plan of a message: who gets it, and how.  A pure function of the conversation's log.

Windows say who is a member at its SeqId, epochs which mode holds there.  So the same plan comes
out whenever it is made, also after a crash.
"""

from __future__ import annotations

from timewire.conversation import Conversation
from timewire.epochs import mode_at
from timewire.inbox import Delivery
from timewire.model import Stored


def plan(conversation: Conversation | None, message: Stored) -> Delivery:
    """Who gets a message, and how.  A conversation that nobody has made has no members."""
    if conversation is None:
        return Delivery(message, ())
    seq = message.seq
    if not conversation.epochs or (mode := mode_at(conversation.epochs, seq)) == "write":
        return Delivery(message, conversation.members_at(seq))
    return Delivery(message, conversation.audience(seq), mode)
