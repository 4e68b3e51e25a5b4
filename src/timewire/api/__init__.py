"""The HTTP side of the same commands.  ``routes`` lists them, docs/HTTP.md says how to use them."""

from timewire.api.handlers import Api

__all__ = ["Api"]
