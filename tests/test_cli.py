"""The commands, run: the pure ones in this process, the others against a server of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from timewire import auth, cli
from timewire.config import KEYS, SECRETS, Config, load

COMMANDS = ["serve", "token", "inspect", "version", "send", "tail", "history", "create", "chat"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in an empty directory, without any settings from outside."""
    for name in os.environ:
        if name.startswith("TIMEWIRE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(cli.app, arguments, env=env)

    return invoke


# Help --------------------------------------------------------------------------------------------


def test_alone_it_lists_the_commands(run: Callable[..., Result]) -> None:
    shown = run().output
    assert [name for name in COMMANDS if name not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_how_to_use_it(
    command: str, run: Callable[..., Result]
) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f" timewire {command}" in result.output.split("Options", 1)[0].split("Usage", 1)[1]
    assert result.output.count(f"timewire {command}") >= 2


def test_every_setting_but_the_secrets_is_a_flag_of_serve(run: Callable[..., Result]) -> None:
    shown = run("serve", "--help").output
    for key in KEYS:
        assert (f"--{key.replace('_', '-')} " in shown) == (key not in SECRETS), key


# Settings ----------------------------------------------------------------------------------------


def test_check_shows_the_settings_as_a_settings_file(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "in.toml").write_text('cache_mb = 64\nport = 1\nsecret = "' + "s" * 32 + '"\n')
    result = run(
        *("serve", "--check", "--config", "in.toml", "--inbox-days", "2"),
        *("--origins", "https://a.example", "--origins", "https://b.example"),
        env={"TIMEWIRE_PORT": "2", "TIMEWIRE_DATA": 'a "b"'},
    )
    assert result.exit_code == 0
    assert "s" * 32 not in result.output

    (tmp_path / "out.toml").write_text(result.output)
    assert load(path=tmp_path / "out.toml") == Config(
        cache_mb=64,
        port=2,
        data='a "b"',
        inbox_days=2.0,
        origins=("https://a.example", "https://b.example"),
    )


def test_the_settings_file_may_be_named_in_the_environment(run: Callable[..., Result]) -> None:
    Path("in.toml").write_text("port = 99\n")
    assert "port = 99" in run("serve", "--check", env={"TIMEWIRE_CONFIG": "in.toml"}).output


@pytest.mark.parametrize(
    ("arguments", "env", "told"),
    [
        (["--port", "http"], {}, "--port: port = 'http': expected a whole number"),
        ([], {"TIMEWIRE_PROT": "1"}, "did you mean `port`?"),
        (["--config", "none.toml"], {}, "cannot read none.toml"),
        (["--outbox-bytes", "5000"], {}, "outbox_bytes = 5000 must be at least frame_bytes"),
    ],
)
def test_a_bad_setting_is_one_clear_line(
    arguments: list[str], env: dict[str, str], told: str, run: Callable[..., Result]
) -> None:
    result = run("serve", *arguments, env=env)
    assert result.exit_code == cli.EXIT_USAGE
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_flag_or_command_is_wrong_usage(run: Callable[..., Result]) -> None:
    assert run("serve", "--prot", "1").exit_code == cli.EXIT_USAGE
    assert run("sevre").exit_code == cli.EXIT_USAGE


# Tokens ------------------------------------------------------------------------------------------


def now_ms() -> int:
    return time.time_ns() // 10**6


def test_a_token_is_made_with_the_secret_of_the_data_directory(run: Callable[..., Result]) -> None:
    keys = auth.Keys.load(Config(), Path("here"))
    result = run("token", "alice", "--data", "here", "--days", "2")
    claims = auth.verify(keys.secret, result.stdout.strip(), "any", now_ms())

    assert result.exit_code == 0
    assert (claims.user, claims.device) == ("alice", None)
    assert abs(claims.expires_s - now_ms() / 1000 - 2 * 86_400) < 600


def test_a_token_may_be_for_one_device(run: Callable[..., Result]) -> None:
    keys = auth.Keys.load(Config(), Path("timewire-data"))
    shown = run("token", "alice", "--device", "laptop").stdout.strip()
    assert auth.verify(keys.secret, shown, "laptop", now_ms()).device == "laptop"


def test_a_token_uses_the_configured_secret_and_directory(run: Callable[..., Result]) -> None:
    secret = "c" * 32
    shown = run("token", "alice", env={"TIMEWIRE_SECRET": secret}).stdout.strip()
    assert auth.verify(secret, shown, None, now_ms()).user == "alice"

    keys = auth.Keys.load(Config(), Path("there"))
    Path("set.toml").write_text('data = "there"\n')
    shown = run("token", "bob", env={"TIMEWIRE_CONFIG": "set.toml"}).stdout.strip()
    assert auth.verify(keys.secret, shown, None, now_ms()).user == "bob"


def test_without_a_secret_there_is_no_token(run: Callable[..., Result]) -> None:
    result = run("token", "alice", "--data", "nowhere")
    assert result.exit_code == cli.EXIT_REFUSED
    assert result.stderr == "error: no secret in nowhere: no server has run there yet\n"
    assert not Path("nowhere").exists()


def test_a_name_that_no_user_may_have_is_refused(run: Callable[..., Result]) -> None:
    auth.Keys.load(Config(), Path("timewire-data"))
    result = run("token", "a b")
    assert result.exit_code == cli.EXIT_REFUSED
    assert "a name is" in result.stderr


def test_version(run: Callable[..., Result]) -> None:
    from importlib.metadata import version

    assert run("version").stdout == f"timewire {version('timewire')}\n"


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "timewire", "version"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown.startswith("timewire ")
