"""sdk/typescript/src/protocol.ts is made from the server's definitions, and is current."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from timewire import commands, errors, protocol

ROOT = Path(__file__).resolve().parent.parent
MADE = (ROOT / "sdk" / "typescript" / "src" / "protocol.ts").read_text(encoding="utf-8")


def test_is_current() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/typescript_types.py", "--print"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert made == MADE, "run: python scripts/typescript_types.py"


def test_names_every_frame_and_what_can_go_wrong() -> None:
    for frame in (*get_args(protocol.ClientFrame), *get_args(protocol.ServerFrame)):
        assert f"export interface {frame.__name__} {{\n" in MADE
        assert f'  readonly type: "{frame.__struct_config__.tag}";\n' in MADE
    # What is not told is invalid; what is wrong with a server's files no device hears of.
    untold = (errors.Invalid, errors.Damaged, errors.Unusable)
    told = {code for code, (kind, _) in errors.CODES.items() if kind not in untold}
    assert told | {"closed", "damaged", "wrong_store"} <= set(re.findall(r"[a-z_]+", MADE))


def test_what_a_device_says_may_leave_out_defaults_and_what_it_hears_may_not() -> None:
    assert "  readonly id: string;\n  readonly to: string;\n" in MADE
    assert "  readonly sent?: number;\n" in MADE
    assert commands.Send("a", "team", {}).sent == 0
    assert "  readonly reactions: Readonly<Record<string, readonly string[]>>;\n" in MADE
    assert "ack: [{ synced: false }],\n" in MADE
