"""What a browser has to load before the first message can be seen, as it travels."""

import gzip
import re

from timewire.pages import ASSETS, NOT_BUILT

FIRST_LOAD_BYTES_MAX = 150_000
LOADED = re.compile(r'(?:src|href)="/([^"]+)"')


def test_the_first_load_is_small() -> None:
    assert (ASSETS / "index.html").is_file(), NOT_BUILT
    page = (ASSETS / "index.html").read_bytes()
    names = LOADED.findall(page.decode())
    assert [name for name in names if name.endswith(".js")]
    assert [name for name in names if name.endswith(".css")]
    total = sum(
        len(gzip.compress(ASSETS.joinpath(*name.split("/")).read_bytes())) for name in names
    )
    assert total + len(gzip.compress(page)) <= FIRST_LOAD_BYTES_MAX


def test_nothing_in_the_page_is_a_script_or_a_style_of_its_own() -> None:
    page = (ASSETS / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert "<style" not in page
    assert "style=" not in page
    assert re.findall(r"\son[a-z]+=", page) == []
