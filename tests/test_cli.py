"""The commands, run: the pure ones in this process, the others against a server of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from timewire import auth, cli
from timewire.config import KEYS, SECRETS, Config
from timewire.keyring import Keyring
from timewire.settings import load

COMMANDS = [
    *(
        "serve",
        "token",
        "inspect",
        "version",
        "send",
        "tail",
        "history",
        "search",
        "create",
        "chat",
    ),
    "reindex",
    "work",
    "backup",
    "restore",
    "doctor",
]


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
    claims = auth.verify(Keyring(keys.secret), result.stdout.strip(), "any", now_ms())

    assert result.exit_code == 0
    assert (claims.user, claims.device) == ("alice", None)
    assert abs(claims.expires_s - now_ms() / 1000 - 2 * 86_400) < 600


def test_a_token_may_be_for_one_device(run: Callable[..., Result]) -> None:
    keys = auth.Keys.load(Config(), Path("timewire-data"))
    shown = run("token", "alice", "--device", "laptop").stdout.strip()
    assert auth.verify(Keyring(keys.secret), shown, "laptop", now_ms()).device == "laptop"


def test_a_token_uses_the_configured_secret_and_directory(run: Callable[..., Result]) -> None:
    secret = "c" * 32
    shown = run("token", "alice", env={"TIMEWIRE_SECRET": secret}).stdout.strip()
    assert auth.verify(Keyring(secret), shown, None, now_ms()).user == "alice"

    keys = auth.Keys.load(Config(), Path("there"))
    Path("set.toml").write_text('data = "there"\n')
    shown = run("token", "bob", env={"TIMEWIRE_CONFIG": "set.toml"}).stdout.strip()
    assert auth.verify(Keyring(keys.secret), shown, None, now_ms()).user == "bob"


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


# With a server -----------------------------------------------------------------------------------

PATIENCE_S = 60


def _heed_interrupts() -> None:
    """A shell lets what it runs in the background ignore Ctrl-C, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Served:
    """A server in a process of its own, and the commands of its users."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.banner = ""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TIMEWIRE_")}
        self.environ = inherited | {"TIMEWIRE_DATA": str(self.data), "COLUMNS": "200"}
        self.process = self.start("serve", "--port", "0")
        while "Try it" not in self.banner:
            line = self.process.stderr.readline() if self.process.stderr else ""
            assert line, f"the server ended: {self.banner}"
            self.banner += line
        self.url = self.banner.split(" is at ")[1].split(",")[0]
        self.environ["TIMEWIRE_URL"] = self.url

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "timewire", *arguments],
            env=self.environ | more,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_interrupts,  # noqa: PLW1509
        )

    def run(self, *arguments: str, user: str, typed: str = "") -> tuple[int, str, str]:
        """Exit status, what was printed, and what was complained of."""
        env = {"TIMEWIRE_DATA": str(self.data), "TIMEWIRE_URL": self.url, "COLUMNS": "200"}
        env["TIMEWIRE_USER"] = user
        result = CliRunner().invoke(cli.app, arguments, input=typed, env=env)
        return result.exit_code, result.stdout, result.stderr

    def lines(self, *arguments: str, user: str, typed: str = "") -> list[str]:
        status, printed, complained = self.run(*arguments, user=user, typed=typed)
        assert (status, complained) == (0, "")
        return printed.splitlines()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    assert server.stop() == 0


def test_serve_says_where_it_is_and_what_it_made(served: Served) -> None:
    assert str(served.data) in served.banner
    for name in ("secret", "admin-key"):
        assert f"Made {served.data / name}" in served.banner
    assert f"timewire chat --user alice --data {served.data} --url {served.url}" in served.banner


def test_a_second_server_does_not_get_the_directory_or_the_port(
    served: Served, tmp_path: Path
) -> None:
    port = served.url.rpartition(":")[2]
    for arguments, told in (
        (["--port", "0"], "another process has this data directory open"),
        (["--port", port, "--data", str(tmp_path / "other")], "address already in use"),
    ):
        process = served.start("serve", *arguments)
        _, complained = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == cli.EXIT_REFUSED
        assert told in complained.lower()
        assert "Traceback" not in complained


def test_search_and_reindex(served: Served) -> None:
    served.lines("create", "s2", "bob", user="alice")
    served.lines("send", "s2", "the deploy failed at 3", user="alice")
    served.lines("send", "s2", "it is fine\tnow \x1b[2J 北京", user="bob")
    last = served.lines("send", "s2", "--kind", "image", "--body", '{"ref": "x"}', user="bob")
    [told] = served.lines("reindex", user="alice")
    assert told.startswith(f"{last[0]} messages indexed in ")

    def found(*arguments: str, user: str = "bob") -> list[str]:
        return [line.partition("  ")[2] for line in served.lines("search", *arguments, user=user)]

    assert found("deploy", "--in", "s2") == ["s2  alice: the deploy failed at 3"]
    assert found("DEPLOY*", "--any", "--in", "s2") == ["s2  alice: the deploy failed at 3"]
    assert found("北京", "--from", "bob") == ["s2  bob: it is fine    now \ufffd[2J 北京"]
    assert found("--media", "--in", "s2") == ['s2  bob: [image] {"ref":"x"}']
    assert found("deploy -failed", "--in", "s2") == []
    assert found("deploy", "--since", "2100-01-01") == []
    assert len(found("--in", "s2", "--limit", "2", "--order", "oldest")) == 2
    assert found("deploy", user="carol") == []
    [as_json] = served.lines("search", '"deploy failed"', "--json", user="alice")
    hit = msgspec.json.decode(as_json)
    assert [hit["snippet"][a:b] for a, b in hit["matches"]] == ["deploy failed"]
    assert hit["message"]["conversation"] == "s2"


def test_send_and_history(served: Served) -> None:
    assert len(served.lines("create", "h1", "bob", "--title", "First", user="alice")) == 1
    [first] = served.lines("send", "h1", "hello", user="alice")
    [second] = served.lines("send", "h1", "--kind", "note", "--body", '{"u": 1}', user="bob")
    assert int(first) < int(second)

    shown = served.lines("history", "h1", user="bob")
    assert [line.partition("  h1  ")[2] for line in shown] == [
        "alice made this group “First”: alice, bob",
        "alice: hello",
        'bob: [note] {"u":1}',
    ]
    assert served.lines("history", "h1", "--limit", "1", user="bob") == shown[-1:]
    assert served.lines("history", "h1", "--after", first, user="bob") == shown[-1:]
    assert (
        served.lines("history", "h1", "--before", second, "--limit", "1", user="bob")
        == (shown[1:2])
    )
    assert (
        served.lines("history", "h1", "--after", "0", "--before", second, user="bob") == (shown[:2])
    )
    [as_json] = served.lines("history", "h1", "--limit", "1", "--json", user="bob")
    message = msgspec.json.decode(as_json)
    assert (message["seq"], message["from"], message["body"]) == (int(second), "bob", {"u": 1})


def test_a_direct_conversation_is_called_by_the_other_user(served: Served) -> None:
    served.lines("send", "@dora", "psst", user="carol")
    assert served.lines("history", "@carol", user="dora")[-1].endswith("  @carol  carol: psst")


def test_a_message_sent_twice_with_one_id_is_there_once(served: Served) -> None:
    once = served.lines("send", "@frank", "once", "--id", "x1", "--json", user="erin")
    again = served.lines("send", "@frank", "once", "--id", "x1", "--json", user="erin")
    assert once == again
    assert msgspec.json.decode(once[0])["id"] == "x1"
    assert len(served.lines("history", "@frank", user="erin")) == 2


def test_the_lines_of_stdin_are_messages(served: Served) -> None:
    served.lines("create", "s1", user="alice")
    seqs = served.lines("send", "s1", "-", user="alice", typed="one\ntwo\n你好")
    assert len(seqs) == 3
    shown = served.lines("history", "s1", "--limit", "3", user="alice")
    assert [line.rpartition(": ")[2] for line in shown] == ["one", "two", "你好"]


def test_tail_follows_and_goes_on_where_it_stopped(served: Served, tmp_path: Path) -> None:
    served.lines("create", "t1", "bob", user="alice")
    store = str(tmp_path / "bob.db")
    follow = ("tail", "--store", store, "--json")

    def followed(count: int, *sent: str) -> list[str]:
        process = served.start(*follow, TIMEWIRE_USER="bob")
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "live as bob\n"
        for text in sent:
            served.lines("send", "t1", text, user="alice")
        read = [msgspec.json.decode(process.stdout.readline()) for _ in range(count)]
        process.send_signal(signal.SIGINT)
        _, complained = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, complained) == (cli.EXIT_INTERRUPTED, "")
        return [message["body"]["text"] for message in read]

    assert followed(1, "one") == ["one"]
    served.lines("send", "t1", "two", user="alice")
    served.lines("send", "t1", "three", user="alice")
    assert followed(3, "four") == ["two", "three", "four"]


def test_a_reader_that_goes_away_is_no_error(served: Served) -> None:
    served.lines("create", "p1", user="alice")
    served.lines("send", "p1", "-", user="alice", typed="x\n" * 50)
    process = served.start("history", "p1", TIMEWIRE_USER="alice")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, complained = process.communicate(timeout=PATIENCE_S)
    assert complained == ""


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["send", "nowhere", "x"], cli.EXIT_REFUSED, "no such conversation"),
        (["history", "nowhere"], cli.EXIT_REFUSED, "no such conversation"),
        (["send", "@", "x"], cli.EXIT_REFUSED, "a name is"),
        (["send", "@bob", "--body", "[]"], cli.EXIT_REFUSED, "a body is a JSON object"),
        (["send", "@bob"], cli.EXIT_USAGE, "Missing argument"),
        (["tail", "--token", "nonsense"], cli.EXIT_REFUSED, "the token is missing, malformed"),
        (["tail", "--url", "ftp://x"], cli.EXIT_USAGE, "a server's URL looks like"),
        (["history", "@bob", "--limit", "0"], cli.EXIT_USAGE, "Invalid value"),
        (["search"], cli.EXIT_REFUSED, "there is nothing to look for"),
        (["search", "x", "--since", "tomorrow"], cli.EXIT_USAGE, "no day or time: tomorrow"),
        (["search", "x", "--order", "random"], cli.EXIT_USAGE, "Invalid value"),
        (["search", "x", "--in", "nowhere"], cli.EXIT_REFUSED, "no such conversation"),
    ],
)
def test_what_is_refused_is_one_clear_line(
    arguments: list[str], status: int, told: str, served: Served
) -> None:
    ended, printed, complained = served.run(*arguments, user="alice")
    assert (ended, printed) == (status, "")
    assert told in complained
    assert "Traceback" not in complained


def test_who_one_is_must_be_said(served: Served) -> None:
    status, _, complained = served.run("tail", user="")
    assert status == cli.EXIT_USAGE
    assert "--token" in complained


def test_chat_needs_a_terminal(served: Served) -> None:
    status, _, complained = served.run("chat", user="alice")
    assert status == cli.EXIT_REFUSED
    assert "needs a terminal" in complained


def test_inspect_shows_what_a_running_server_has(served: Served, tmp_path: Path) -> None:
    served.lines("create", "i0", user="alice")
    served.lines("create", "i1", user="alice")
    [seq] = served.lines("send", "i1", "hello", user="alice")
    [as_json] = served.lines("inspect", "--json", "--limit", "1000", user="")
    found = msgspec.json.decode(as_json)
    assert found["head"] == int(seq)
    assert {"name": "i1", "entries": 2, "oldest": int(seq) - 1, "newest": int(seq)} in (
        found["conversations"]
    )
    shown = served.lines("inspect", str(served.data), "--limit", "1", user="")
    assert ["head", seq] in [line.split() for line in shown]
    assert shown[-1] == "There are more: see --limit."

    status, _, complained = served.run("inspect", str(tmp_path / "none"), user="")
    assert status == cli.EXIT_REFUSED
    assert complained.startswith(f"error: {tmp_path / 'none'}: the data directory cannot be opened")


def test_inspect_amplification_compares_ways_to_deliver(served: Served) -> None:
    served.lines("create", "ampl", user="alice")
    served.lines("send", "ampl", "hello", user="alice")
    [as_json] = served.lines("inspect", "amplification", "--json", user="")
    found = msgspec.json.decode(as_json)
    assert found["messages"] >= 2
    assert found["read"]["writes"] == found["messages"] < found["actual"]["writes"]
    shown = served.lines("inspect", "amplification", str(served.data), user="")
    assert shown[0].startswith(f"{found['messages']} messages, ")
    names = [line.strip().split("  ")[0] for line in shown if "fan-out" in line or "as it" in line]
    assert names == ["fan-out", "as it was", "pure write fan-out", "pure read fan-out"]

    status, _, _ = served.run("inspect", "amplification", "one", "two", user="")
    assert status == cli.EXIT_USAGE
