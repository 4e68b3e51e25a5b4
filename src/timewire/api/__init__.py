"""The HTTP side of the same commands.  ``routes`` lists them, docs/INTEGRATION.md says what for."""

from timewire.api.handlers import Api

__all__ = ["Api"]
