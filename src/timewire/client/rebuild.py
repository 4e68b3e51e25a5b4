"""After a reset: what a device fetches so that it agrees with all others again.

The device keeps the messages that it has, if they still mean something (see ``Change.reset``).  Of
each conversation with news it fetches the newest page of history and the read mark.  Between that
page and what it had there may be a gap: what changes earlier messages may stand in it, so these are
not shown any more.  The app can read all with ``history``; that is what the ``Reset`` event says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from timewire.client.queries import Ask, Conversation, conversations, history
from timewire.client.store import Store
from timewire.errors import Forbidden, NotFound
from timewire.model import Message, Seq

Fetched = Callable[[Sequence[Message], dict[str, Seq], dict[str, Seq]], Awaitable[None]]
"""Takes messages, oldest first, read marks, and where conversations begin now, of what is kept;
waits while the app is busy with earlier ones."""


async def rebuild(ask: Ask, store: Store, user: str, fetched: Fetched) -> None:
    """Fetch what is needed.  It may be broken off and begun again at any time."""
    async for conversation in conversations(ask):
        messages: list[Message] = []
        begins: dict[str, Seq] = {}
        if _has_news(conversation, store, user):
            try:
                page = await history(ask, conversation.name)
            except (Forbidden, NotFound):
                # It was lost to the user between the list and the question.
                continue
            messages = page.messages
            if page.has_more and messages:
                # What stands before may have been changed by what was not fetched.
                begins = {conversation.name: messages[-1].seq}
        await fetched(messages[::-1], {conversation.name: conversation.read}, begins)


def _has_news(conversation: Conversation, store: Store, user: str) -> bool:
    last = conversation.last
    if last is None:
        return False
    # When somebody else's message is here it came in its turn, so all before it are here.  One's
    # own may be here by its ack, even one sent just now, which says nothing of those before it.
    newest = store.messages(conversation.name, before=last.seq + 1, limit=1)
    return last.sender == user or not newest or newest[0].seq != last.seq
