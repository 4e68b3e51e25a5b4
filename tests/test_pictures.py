"""The pictures of the web client show it as it is: `make screenshots` makes them anew."""

import importlib.util
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def test_the_pictures_show_these_sources() -> None:
    path = ROOT / "scripts" / "screenshots.py"
    spec = importlib.util.spec_from_file_location("screenshots", path)
    assert spec is not None
    assert spec.loader is not None
    screenshots = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(screenshots)
    noted = screenshots.NOTE.read_text(encoding="utf-8").strip()
    assert noted == screenshots.sources(), "the web client has changed: run make screenshots"
    for name, options in screenshots.PICTURES.items():
        with Image.open(ROOT / "docs" / name) as picture:
            view = options["viewport"]
            assert picture.size == (view["width"], view["height"])
