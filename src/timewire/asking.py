"""What a device asks for, and changes nothing in the log by it: the questions of the protocol."""

from __future__ import annotations

from timewire.commands import Frame, Id
from timewire.finding import Match, Order
from timewire.model import Seq


class GetHistory(Frame, tag="history"):
    """Messages of a conversation, oldest first past ``after`` or newest first below ``before``.

    With neither: the newest.  Answer: ``history_page``.
    """

    id: Id
    conversation: str
    after: Seq | None = None
    before: Seq | None = None
    limit: int = 100


class ListConversations(Frame, tag="conversations"):
    """The user's conversations, by name, past ``after``.  Answer: ``conversation_page``."""

    id: Id
    after: str = ""
    limit: int = 100


class ListMembers(Frame, tag="members"):
    """The present members of a conversation, by name, past ``after``.  Answer: ``member_page``."""

    id: Id
    conversation: str
    after: str = ""
    limit: int = 100


class ListBans(Frame, tag="bans"):
    """Who may not be a member of a group, by name, past ``after``.  For owners and admins.

    Of one's own conversation: whom one blocks.  Answer: ``ban_page``.
    """

    id: Id
    conversation: str
    after: str = ""
    limit: int = 100


class ListLinks(Frame, tag="links"):
    """The invite links of a group, by name, past ``after``.  For owners and admins.

    Answer: ``link_page``.
    """

    id: Id
    conversation: str
    after: str = ""
    limit: int = 100


class ReadBy(Frame, tag="read_by"):
    """Which members, by name, past ``after``, have read a message, beside its author.

    For direct conversations and for groups of at most 500.  Answer: ``reader_page``.
    """

    id: Id
    conversation: str
    seq: Seq
    after: str = ""
    limit: int = 100


class Search(Frame, tag="search", rename={"sender": "from"}, forbid_unknown_fields=True):
    """Messages that one may read, by words and fields.  Answer: `search_page`.

    ``text``: words, "phrases in quotation marks", beginn*, -not; empty with a field to go by.
    ``match``: all of them, or any.  ``conversation``, ``from``, ``kind``: only there, only by,
    only these.  ``since`` (included), ``until`` (not included): the message's time.  ``media``:
    only what carries a file.  ``mentioned``: only what speaks to oneself.

    ``page``: the ``next`` of the page before, with everything else but ``limit`` the same.
    ``wait_for``: first wait until this SeqId can be found.  Unknown keys are refused: a filter
    that is not known cannot be ignored.
    """

    id: Id
    text: str = ""
    match: Match = "all"
    conversation: str = ""
    sender: str = ""
    kind: str = ""
    since: int | None = None
    until: int | None = None
    media: bool = False
    mentioned: bool = False
    order: Order = "newest"
    limit: int = 20
    page: str = ""
    wait_for: Seq = 0


class ListDevices(Frame, tag="devices"):
    """The user's own devices, by name.  Answer: ``device_page``."""

    id: Id


class LogOut(Frame, tag="log_out"):
    """Log out one of the user's own devices: its connection ends (4202), its tokens are void.

    It can come back with a token issued later.  Answer: ``device_page``, without it.
    """

    id: Id
    device: str


Reading = GetHistory | ListConversations | ListMembers | ListBans | ListLinks | ReadBy
"""What is answered from the stores."""

Query = Reading | Search | ListDevices | LogOut
"""What asks for something that is stored, or for an end of one's own devices."""
