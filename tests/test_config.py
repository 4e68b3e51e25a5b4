import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire import settings as module
from timewire.config import ENVELOPE_BYTES, KEYS, SECRETS, Config
from timewire.errors import Unusable
from timewire.model import MAX_PAGE_ENTRIES
from timewire.names import MAX_ID_BYTES, MAX_NAME_BYTES
from timewire.settings import load
from timewire.timeline import MAX_PAYLOAD_BYTES

ROOT = Path(__file__).resolve().parent.parent
LONG_KEY = "k" * 32


def refused(**sources: Any) -> Unusable:
    with pytest.raises(Unusable) as caught:
        load(**sources)
    assert caught.value.code == "bad_config"
    return caught.value


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "timewire.toml"
    path.write_text(text, encoding="utf-8")
    return path


# Where values come from --------------------------------------------------------------------------


def test_nothing_given_gives_the_defaults() -> None:
    assert load() == Config()


def test_later_sources_win(tmp_path: Path) -> None:
    path = toml(tmp_path, 'host = "file"\nport = 1\ncache_mb = 64\n')
    environ = {"TIMEWIRE_PORT": "2", "TIMEWIRE_CACHE_MB": "65"}
    config = load({"cache_mb": 66, "members": None}, environ, path)

    assert (config.host, config.port, config.cache_mb) == ("file", 2, 66)
    assert config.members == Config().members


def test_the_environment_gives_text_for_every_type() -> None:
    environ = {
        "TIMEWIRE_PORT": "0",
        "TIMEWIRE_INBOX_DAYS": "0.5",
        "TIMEWIRE_DURABILITY": "interval",
        "TIMEWIRE_ORIGINS": "https://a.example, http://b.example:8080,",
        "TIMEWIRE_SECRET": LONG_KEY,
        "PATH": "/bin",
    }
    config = load({}, environ)

    assert config.port == 0
    assert config.inbox_days == 0.5
    assert config.durability == "interval"
    assert config.origins == ("https://a.example", "http://b.example:8080")
    assert config.secret == LONG_KEY


def test_variables_of_the_command_line_are_no_keys() -> None:
    environ = {f"TIMEWIRE_{name}": "x" for name in ("URL", "TOKEN", "USER", "CONFIG")}
    assert load({}, environ) == Config()


def test_what_kubernetes_sets_beside_a_service_of_this_name_is_ignored() -> None:
    environ = {
        "TIMEWIRE_PORT": "tcp://10.0.0.7:7447",
        "TIMEWIRE_PORT_7447_TCP": "tcp://10.0.0.7:7447",
        "TIMEWIRE_PORT_7447_TCP_ADDR": "10.0.0.7",
        "TIMEWIRE_SERVICE_HOST": "10.0.0.7",
        "TIMEWIRE_SERVICE_PORT": "7447",
        "TIMEWIRE_SERVICE_PORT_HTTP": "7447",
    }
    assert load({}, environ) == Config()


@given(
    port=st.integers(0, 65535),
    inbox_days=st.floats(0.001, 30),
    members=st.integers(2, 10**6),
    level=st.sampled_from(["debug", "info", "warning", "error"]),
)
def test_the_same_values_come_out_of_every_source(
    port: int, inbox_days: float, members: int, level: str
) -> None:
    values = {"port": port, "inbox_days": inbox_days, "members": members, "log_level": level}
    expected = msgspec.structs.replace(Config(), **values)

    assert load(values) == expected
    assert load({}, {f"TIMEWIRE_{k.upper()}": str(v) for k, v in values.items()}) == expected


# What is refused ---------------------------------------------------------------------------------


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    path = toml(tmp_path, "inbox-day = 3\n")

    for problem, source in (
        (refused(path=path), str(path)),
        (refused(environ={"TIMEWIRE_INBOXDAYS": "3"}), "TIMEWIRE_INBOXDAYS"),
        (refused(flags={"inbox_dayz": 3}), "--inbox-dayz"),
    ):
        assert problem.fields["near"] == "inbox_days"
        assert source in problem.message
        assert "did you mean `inbox_days`?" in problem.message


def test_a_key_like_no_other_points_to_the_documentation() -> None:
    problem = refused(environ={"TIMEWIRE_QQQQ": "1"})
    assert problem.fields["near"] is None
    assert "docs/CONFIGURATION.md" in problem.message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", ""),
        ("host", ""),
        ("port", 65536),
        ("port", -1),
        ("port", "http"),
        ("durability", "sometimes"),
        ("sync_interval_ms", 0),
        ("inbox_days", 0),
        ("inbox_days", "nan"),
        ("inbox_days", "inf"),
        ("keys_days", 29.9),
        ("cache_mb", 1),
        ("body_bytes", 10),
        ("page_entries", MAX_PAGE_ENTRIES + 1),
        ("members", 1),
        ("sends_in_flight", 0),
        ("sends_per_second", -1),
        ("hello_timeout_s", 0),
        ("drain_s", -1),
        ("log_level", "loud"),
        ("origins", ["chat.example.com"]),
        ("origins", ["https://chat.example.com/"]),
        ("origins", ["https://a.example\n"]),
        ("media_mb", 0),
        ("media_types", ["image"]),
        ("media_types", ["image/png; x=y"]),
        ("media_store", "bucket"),
        ("media_store", "s3://a b"),
        ("media_orphan_hours", 0),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(key: str, value: object) -> None:
    problem = refused(flags={key: value})
    assert problem.fields["key"] == key
    assert f"{key} = " in problem.message


def test_a_choice_is_refused_with_the_choices() -> None:
    assert "expected `always` or `interval`" in refused(flags={"durability": "never"}).message


def test_a_file_has_types_so_text_is_no_number(tmp_path: Path) -> None:
    problem = refused(path=toml(tmp_path, 'port = "80"\n'))
    assert problem.fields["key"] == "port"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in refused(path=tmp_path / "missing.toml").message
    assert "cannot read" in refused(path=toml(tmp_path, "port = = 1")).message


@pytest.mark.parametrize("key", sorted(SECRETS))
@pytest.mark.parametrize("value", ["short", "with a space " + LONG_KEY, LONG_KEY + "\n"])
def test_a_bad_secret_is_refused_without_being_shown(key: str, value: str) -> None:
    problem = refused(flags={key: value})
    assert value.strip() not in problem.message
    assert "32 characters" in problem.message


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"frame_bytes": 32_768 + ENVELOPE_BYTES - 1}, "frame_bytes"),
        ({"body_bytes": 65_536}, "frame_bytes"),
        ({"outbox_bytes": 65_535}, "outbox_bytes"),
        ({"inbox_days": 31.0}, "keys_days"),
    ],
)
def test_values_that_make_no_sense_together_are_refused(values: dict[str, Any], key: str) -> None:
    assert refused(flags=values).fields["key"] == key


# What the words promise --------------------------------------------------------------------------


def test_the_defaults_pass_their_own_checks() -> None:
    defaults = {key: getattr(Config(), key) for key in KEYS}
    assert load(defaults) == Config()


def test_every_key_says_what_it_means() -> None:
    for field in msgspec.structs.fields(Config):
        _, meta = get_args(field.type)
        assert meta.description.endswith("."), field.name


def test_secrets_are_not_shown() -> None:
    shown = repr(Config(secret=LONG_KEY, admin_key="a" * 32))
    assert LONG_KEY not in shown
    assert "a" * 32 not in shown
    assert "port=7447" in shown


def test_limits_agree_with_the_model() -> None:
    largest_names = 3 * 6 * MAX_NAME_BYTES + 6 * MAX_ID_BYTES
    assert largest_names < ENVELOPE_BYTES
    assert load({"page_entries": 1000}).page_entries < MAX_PAGE_ENTRIES
    assert load({"body_bytes": 1_000_000, "frame_bytes": 2**21, "outbox_bytes": 2**22})
    assert MAX_PAYLOAD_BYTES - 1_000_000 > ENVELOPE_BYTES
    assert refused(flags={"body_bytes": 1_000_001, "frame_bytes": 2**21})


def test_the_document_is_current() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "configuration.py"), "--print"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    document = (ROOT / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
    assert document == made, "run scripts/configuration.py"


def test_the_example_file_in_the_document_is_valid(tmp_path: Path) -> None:
    document = (ROOT / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
    example = document.split("```toml\n", 1)[1].split("```", 1)[0]
    assert load(path=toml(tmp_path, example)) != Config()
    assert module.ENV_PREFIX in document


def test_lists_come_from_the_environment_with_commas() -> None:
    config = load(environ={"TIMEWIRE_MEDIA_TYPES": "image/*, application/pdf"})
    assert config.media_types == ("image/*", "application/pdf")
    assert "`image/*`" in refused(environ={"TIMEWIRE_MEDIA_TYPES": "image"}).message
