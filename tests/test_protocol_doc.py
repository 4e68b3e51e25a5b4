"""docs/PROTOCOL.md is made from the frames and the errors, and is current."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

from timewire.protocol import ClientFrame, CloseCode, ServerFrame

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")


def test_is_current() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/protocol_doc.py", "--print"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert made == DOCUMENT, "run: python scripts/protocol_doc.py"


def test_names_every_frame_and_close_code() -> None:
    for frame in (*get_args(ClientFrame), *get_args(ServerFrame)):
        assert f"### `{frame.__struct_config__.tag}`\n" in DOCUMENT
    for code in CloseCode:
        assert f"| {code.value} | `{code.name.lower()}` |" in DOCUMENT
