import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from timewire import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.reset_defaults()


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    structlog.get_logger("timewire.test").info("listening", port=7)
    logging.getLogger("asyncio").warning("from %s", "a library")
    captured = capsys.readouterr()
    first, second = (json.loads(line) for line in captured.err.splitlines())

    assert captured.out == ""
    assert first["event"] == "listening"
    assert (first["port"], first["level"], first["logger"]) == (7, "info", "timewire.test")
    assert second["event"] == "from a library"
    assert first["timestamp"].endswith("Z")


def test_an_error_carries_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    try:
        raise ValueError("the cause")
    except ValueError:
        structlog.get_logger("timewire.test").exception("failed")
    line = json.loads(capsys.readouterr().err)
    assert "the cause" in json.dumps(line["exception"])


def test_the_level_decides_what_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "console")
    structlog.get_logger("timewire.test").info("unheard")
    structlog.get_logger("timewire.test").warning("heard", code=3)
    shown = capsys.readouterr().err
    assert "unheard" not in shown
    assert "heard" in shown
    assert "code=3" in shown
    assert "\x1b[" not in shown
