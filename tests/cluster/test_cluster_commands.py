"""The commands of a cluster, and that all other commands work without its extra."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from timewire import cli
from timewire.testing.nats import free_ports, running_nats


@pytest_asyncio.fixture
async def nats(tmp_path: Path) -> AsyncGenerator[str]:
    async with running_nats(tmp_path / "nats") as cluster:
        yield cluster.urls


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def told(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "timewire", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_init_can_be_repeated_and_status_says_the_same(nats: str) -> None:
    first = told("cluster", "init", "--nats", nats, "--replicas", "1", "--json")
    assert first.returncode == 0, first.stderr
    shape = msgspec.json.decode(first.stdout)
    assert (shape["shards"], shape["replicas"], shape["records"]) == (1, 1, 0)

    again = told("cluster", "init", "--nats", nats, "--replicas", "1", "--json")
    assert msgspec.json.decode(again.stdout) == shape
    status = told("cluster", "status", "--nats", nats)
    assert f"epoch      {shape['epoch']}" in status.stdout

    other = told("cluster", "init", "--nats", nats)
    assert (other.returncode, "3" in other.stderr) == (1, True)


async def test_what_is_wrong_is_one_line(nats: str, tmp_path: Path) -> None:
    missing = told("cluster", "status", "--nats", nats)
    assert missing.returncode == 1
    assert "timewire cluster init" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1
    worker = told("work", "--nats", nats, "--data", str(tmp_path / "worker"))
    assert "timewire cluster init" in worker.stderr


def test_nobody_answers() -> None:
    [port] = free_ports(1)
    shown = told("cluster", "status", "--nats", f"nats://127.0.0.1:{port}")
    assert shown.returncode == 1
    assert shown.stderr.startswith("error: no NATS server answers")


def test_a_worker_needs_a_cluster() -> None:
    shown = run("work")
    assert shown.exit_code == 2


@pytest.mark.parametrize("value", ["localhost:4222", "http://localhost"])
def test_a_url_that_is_none(value: str) -> None:
    shown = run("serve", "--nats", value, "--check")
    assert shown.exit_code == 2


def test_without_the_extra_everything_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.modules['nats'] = None; from timewire import cli; cli.main()"
    for arguments, status in ((["serve", "--check"], 0), (["work", "--nats", "nats://x:1"], 2)):
        shown = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert shown.returncode == status, shown.stderr
    assert "timewire[cluster]" in shown.stderr


async def test_export_and_import_know_a_cluster(nats: str, tmp_path: Path) -> None:
    assert told("cluster", "init", "--nats", nats, "--replicas", "1").returncode == 0
    file, copy = str(tmp_path / "all.jsonl"), str(tmp_path / "copy")
    export = told("export", file, "--nats", nats, "--data", copy)
    assert export.stdout == f"{file}: 0 messages up to 0, 0 media\n", export.stderr
    for _ in range(2):
        imported = told("import", file, "--nats", nats, "--data", copy)
        assert imported.stdout.startswith("the cluster: 0 messages"), imported.stderr
