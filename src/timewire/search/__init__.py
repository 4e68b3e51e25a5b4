"""Search: what of a message can be found, who may find it, and how it is asked for.

Top to bottom: ``indexer`` (follows the log), ``answers`` (a question and its page) > ``documents``,
``scopes``, ``questions``, ``paging``, ``snippets``.
"""

from timewire.search.answers import Searcher
from timewire.search.indexer import Indexer
from timewire.search.scopes import Scopes

__all__ = ["Indexer", "Scopes", "Searcher"]
