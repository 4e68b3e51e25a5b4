"""Port: the search index, which finds messages by their words and their fields.

An index is made from the log and can be made again at any time; it is never the truth.  One
consumer of the log fills it and names the position that it has reached; whoever asks reads the
messages found from the message store.

What every backend promises (``timewire.testing.contracts`` checks it):

- *Staged, then shown.*  What is staged is found by nobody before the next ``commit``.  A commit
  shows all of it at once, together with its position, and makes both durable together.  A crash
  takes back what was not committed, never a part of it; a position that was committed with nothing
  staged may be taken back too.
- *One document a SeqId.*  Staging a document replaces the one with its SeqId; staging the same
  again changes nothing.  Of several in one call the last one stays.
- *Exact.*  A search finds every document that ``matches``, in the order asked for, and no other.
- *Paging.*  ``after`` is something that was found: what follows is past it in the order asked for,
  whatever has been committed since.  ``best`` looks at the ``MAX_RANKED`` best documents and no
  further.
- *Renewal.*  ``renew`` makes an empty index beside this one, and ``replace`` has it take this one's
  place at once, also after a restart.  One that never took its place leaves nothing behind.

Methods raise ``Unusable`` (closed) after ``aclose`` and ``Retryable`` (storage_unavailable) when
nothing can be written; then what was staged since the last commit is lost, and ``position`` says
from where to stage again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from timewire.finding import Document, Found, Inquiry, Phrase
from timewire.model import Seq

MAX_STAGE_DOCUMENTS: Final = 1000
MAX_FOUND: Final = 1000
"""Documents in one answer of a search."""

MAX_RANKED: Final = 1000
"""How many of the best documents can be paged through."""


class SearchIndex(Protocol):
    """A search index.  See the module for what holds."""

    @property
    def position(self) -> Seq:
        """Every message of the log up to this one is found as it was then; 0 for an empty index."""
        ...

    @property
    def epoch(self) -> str:
        """The epoch of the log that was indexed; empty for an empty index."""
        ...

    async def stage(self, documents: Sequence[Document], removed: Sequence[Seq] = ()) -> None:
        """Prepare to show documents, after taking out those of other SeqIds.

        At most ``MAX_STAGE_DOCUMENTS`` of both.
        """
        ...

    async def expire(self, now: int) -> None:
        """Prepare to take out documents whose life is over by a time (ms)."""
        ...

    async def commit(self, position: Seq, epoch: str) -> None:
        """Show what was staged: everything of the log ``epoch`` up to the position is there."""
        ...

    async def search(
        self, inquiry: Inquiry, *, limit: int, after: Found | None = None
    ) -> list[Found]:
        """Documents that match, at most ``limit``, past ``after`` in their order.

        Raises ``Invalid`` (too_broad) for a beginning of a word, at the end of a phrase, that too
        many words have.
        """
        ...

    async def shares(self, phrases: Sequence[Phrase]) -> list[float]:
        """How large a part of all documents has a phrase's rarest word, roughly: 0 to 1 each."""
        ...

    async def renew(self) -> SearchIndex:
        """A new, empty index beside this one: for ``replace``, or to be closed."""
        ...

    async def replace(self, fresh: SearchIndex) -> None:
        """Be what a renewed index is, which is closed; what was here before is forgotten."""
        ...

    async def aclose(self) -> None:
        """Release everything; what is only staged is lost.  Closing twice is closing once."""
        ...
