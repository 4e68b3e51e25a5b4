"""The units for systemd: they can be read, they are closed, and they start what there is."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from timewire import cli
from timewire.errors import TimewireError
from timewire.settings import load

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
BIN = Path(sys.executable).parent
PROGRAMS = {
    "/opt/timewire/bin/timewire": str(BIN / "timewire"),
    "/usr/local/bin/nats-server": str(BIN / "nats-server"),
}
CLOSED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "RestrictNamespaces": "yes",
    "SystemCallFilter": "@system-service",
    "Restart": "always",
}


def read(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes="#", strict=True)
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    parser.read_string(unit.read_text(encoding="utf-8"))
    return parser


def test_there_is_one_for_each_role() -> None:
    assert [unit.stem for unit in UNITS] == [
        "nats-server",
        "timewire-gateway",
        "timewire-worker",
        "timewire",
    ]
    told = "".join((ROOT / "docs" / name).read_text() for name in ("OPERATIONS.md", "CLUSTER.md"))
    for path in FOLDER.iterdir():
        assert path.name in told


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_closed_and_comes_back(unit: Path) -> None:
    service = read(unit)["Service"]
    assert {key: service.get(key) for key in CLOSED} == CLOSED
    assert service["User"] not in ("", "root")
    assert service["StateDirectory"]
    assert read(unit)["Unit"]["StartLimitIntervalSec"] == "0"
    assert read(unit)["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_it_starts_is_there(unit: Path) -> None:
    service = read(unit)["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(PROGRAMS[program]).exists()
    if not program.endswith("timewire"):
        return
    commands = typer.main.get_command(cli.app)
    assert isinstance(commands, TyperGroup)
    command = commands.commands[arguments[0]]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {one for one in arguments[1:] if one.startswith("--")} <= known
    data = arguments[arguments.index("--data") + 1]
    assert data == "%S/" + service["StateDirectory"]
    assert float(service["TimeoutStopSec"]) > load({}, {}, None).drain_s


def test_systemd_reads_them(tmp_path: Path) -> None:
    """By its own words where it is installed."""
    units: list[str] = []
    for unit in UNITS:
        text = unit.read_text()
        for there, here in PROGRAMS.items():
            text = text.replace(there, here)
        assert re.search(r"^ExecStart=/", text, re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
        units.append(str(tmp_path / unit.name))
    verify = shutil.which("systemd-analyze")
    if verify is not None:
        done = subprocess.run(
            [verify, "verify", *units], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_nats_takes_its_settings() -> None:
    environment = {**os.environ, "NATS_PASSWORD": "one", "NATS_ADMIN_PASSWORD": "other"}
    command = [str(BIN / "nats-server"), "-c", str(FOLDER / "nats-server.conf"), "-t"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, "is valid" in done.stderr) == (0, True)
    assert "sync_interval: always" in (FOLDER / "nats-server.conf").read_text()


def test_the_environment_is_what_settings_are_made_of() -> None:
    lines = [
        line.partition("=")
        for line in (FOLDER / "timewire.env").read_text().splitlines()
        if not line.startswith("#")
    ]
    given = {name: value for name, _, value in lines}
    with pytest.raises(TimewireError, match="secret"):  # it has to be changed
        load({}, given, None)
    given["TIMEWIRE_SECRET"] = "s" * 40
    assert load({}, given, None).nats.startswith("nats://timewire:")
