"""Images: known by their content, measured, made small; and what only looks like one."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from timewire.images import HEAD_BYTES, MAX_PIXELS, measure, shrink, sniff

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}


def picture(
    path: Path, type: str, size: tuple[int, int] = (640, 480), mode: str = "RGB", **more: object
) -> Path:
    Image.new(mode, size, "red" if mode != "RGBA" else (255, 0, 0, 0)).save(
        path, FORMATS[type], **more
    )
    return path


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("type", FORMATS)
def test_an_image_is_known_measured_and_made_small(tmp_path: Path, type: str) -> None:
    path = picture(tmp_path / "image", type)
    assert sniff(path.read_bytes()[:HEAD_BYTES]) == type
    assert measure(path, type) == (640, 480)
    for size, shown in ((256, (256, 192)), (64, (64, 48)), (1024, (640, 480))):
        assert shrink(path, type, size, tmp_path / "small")
        with Image.open(tmp_path / "small") as small:
            assert (small.format, small.size) == ("WEBP", shown)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x89PNG",
        b"<svg xmlns=",
        b"<html><script>",
        b"GIF88a..........",
        b"RIFF....WAVEfmt ",
        b"%PDF-1.7",
        b"BM" + b"\0" * 14,
    ],
)
def test_all_else_is_no_image(head: bytes) -> None:
    assert sniff(head) is None


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "I;16"])
def test_every_sort_of_png_has_a_thumbnail(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image"
    Image.new(mode, (100, 50)).save(path, "PNG")
    assert shrink(path, "image/png", 64, tmp_path / "small")
    with Image.open(tmp_path / "small") as small:
        assert small.size == (64, 32)


def test_what_is_transparent_stays_so(tmp_path: Path) -> None:
    path = picture(tmp_path / "image", "image/png", mode="RGBA")
    assert shrink(path, "image/png", 64, tmp_path / "small")
    with Image.open(tmp_path / "small") as small:
        assert small.convert("RGBA").getpixel((1, 1))[3] == 0  # pyright: ignore


def test_a_turned_photo_is_shown_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = picture(tmp_path / "image", "image/jpeg", exif=exif)
    assert measure(path, "image/jpeg") == (480, 640)
    assert shrink(path, "image/jpeg", 64, tmp_path / "small")
    with Image.open(tmp_path / "small") as small:
        assert small.size == (48, 64)
        assert not small.getexif()


def test_a_bomb_is_measured_and_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    side = int(MAX_PIXELS**0.5) + 1
    path.write_bytes(png_that_claims(side, side))
    assert measure(path, "image/png") == (side, side)
    assert not shrink(path, "image/png", 64, tmp_path / "small")
    path.write_bytes(png_that_claims(60_000, 60_000))
    assert measure(path, "image/png") == (0, 0)
    assert not shrink(path, "image/png", 64, tmp_path / "small")


@pytest.mark.parametrize("type", FORMATS)
@given(st.data())
def test_what_is_broken_is_no_error(
    tmp_path_factory: pytest.TempPathFactory, type: str, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("broken")
    whole = picture(directory / "image", type, (40, 30)).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    junk = data.draw(st.binary(max_size=30))
    path = directory / "broken"
    path.write_bytes(whole[:cut] + junk + whole[cut + len(junk) :])
    width, height = measure(path, type)
    assert width >= 0 <= height
    assert shrink(path, type, 64, directory / "small") in (True, False)


def test_an_image_of_another_type_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "image"
    Image.new("RGB", (10, 10)).save(path, "BMP")
    assert measure(path, "image/png") == (0, 0)
    assert not shrink(path, "image/png", 64, tmp_path / "small")
