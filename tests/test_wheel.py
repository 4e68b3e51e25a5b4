"""The wheel holds the web client, and needs nothing but Python to serve it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from timewire.pages import ASSETS, NOT_BUILT

ROOT = Path(__file__).resolve().parent.parent

SERVE = """
import asyncio, shutil, sys, urllib.request
from pathlib import Path
import timewire
from timewire.config import Config
from timewire.server import Server

async def main():
    assert sys.argv[1] in timewire.__file__, timewire.__file__
    assert shutil.which("node") is None
    server = await Server.start(Config(data=sys.argv[2], port=0))
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(server.url).read().decode())
    await server.aclose()
    print(page)

asyncio.run(main())
"""


def build(into: Path) -> Path:
    """The wheel, made by the build backend alone."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = into.glob("*.whl")
    return wheel


def test_a_wheel_serves_the_web_client_without_node(tmp_path: Path) -> None:
    assert (ASSETS / "index.html").is_file(), NOT_BUILT
    site = tmp_path / "site"
    with zipfile.ZipFile(build(tmp_path)) as wheel:
        held = {name for name in wheel.namelist() if name.startswith("timewire/web_assets/")}
        wheel.extractall(site)
    made = {
        f"timewire/web_assets/{path.relative_to(str(ASSETS)).as_posix()}"
        for path in Path(str(ASSETS)).rglob("*")
        if path.is_file()
    }
    assert held == made

    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(site)}
    served = subprocess.run(
        [sys.executable, "-c", SERVE, str(site), str(tmp_path / "data")],
        env=environment,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (ASSETS / "index.html").read_text(encoding="utf-8") in served.stdout
