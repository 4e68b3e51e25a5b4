"""Images: what a file is by its content, how large it is, and a small one of it.

What is read here comes from strangers: only four formats are ever opened, sizes are looked at
before anything is decoded, and whatever Pillow cannot take is no image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

MAX_PIXELS: Final = 50_000_000
"""Of an image that a thumbnail is made of: 200 MB in memory while that lasts."""

THUMBNAIL_SIZES: Final = (64, 128, 256, 512, 1024)
"""Pixels of the longer side.  Few, so that few files are made of one image."""

THUMBNAIL_TYPE: Final = "image/webp"
HEAD_BYTES: Final = 16
"""Of a file, by which its type is known."""

_QUALITY: Final = 80
_ORIENTATION: Final = 0x0112
_TURNED: Final = (5, 6, 7, 8)
"""Orientations in which width and height are shown the other way round."""

_FORMATS: Final = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
}
IMAGE_TYPES: Final = frozenset(_FORMATS)
"""Images that are known by their content, and that browsers show without harm."""


def sniff(head: bytes) -> str | None:
    """The type of an image by its first bytes; None for all else."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def measure(path: Path, type: str) -> tuple[int, int]:
    """Width and height of an image as it is shown, in pixels; (0, 0) when it cannot be opened."""
    try:
        with _open(path, type) as image:
            width, height = image.size
            # Only here the orientation is read without decoding anything.
            turned = type == "image/jpeg" and image.getexif().get(_ORIENTATION) in _TURNED
    except Exception:  # whatever a decoder makes of what is none
        return 0, 0
    return (height, width) if turned else (width, height)


def shrink(source: Path, type: str, size: int, target: Path) -> bool:
    """Write an image whose longer side has ``size`` pixels at most; False when none can be made."""
    try:
        with _open(source, type) as image:
            if image.width * image.height > MAX_PIXELS:
                return False
            image.draft("RGB", (size, size))
            small = ImageOps.exif_transpose(image)
            small.thumbnail((size, size))
            shown = "RGBA" if small.has_transparency_data else "RGB"
            small.convert(shown).save(target, "WEBP", quality=_QUALITY)
    except Exception:  # whatever a decoder makes of what is none
        return False
    return True


def _open(path: Path, type: str) -> Image.Image:
    return Image.open(path, formats=[_FORMATS[type]])
