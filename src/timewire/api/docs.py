"""The page of the documentation and what it loads, all served by us."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

_FILES: Final = files("timewire") / "assets"

PAGE: Final = (_FILES / "docs.html").read_bytes()
PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
}
"""Scripts come from here only, none stands in the page; the renderer writes styles of its own."""

SCRIPT_GZIP: Final = (_FILES / "rapidoc-9.3.8.js.gz").read_bytes()
SCRIPT_HEADERS: Final = {"Cache-Control": "public, max-age=86400", "Content-Encoding": "gzip"}
