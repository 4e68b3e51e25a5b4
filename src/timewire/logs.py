"""Where log lines go and how they look: all to stderr, those of libraries too."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor


def configure(level: str, style: Literal["console", "json"]) -> None:
    """Send everything from ``level`` on to stderr, for people or one JSON object a line."""
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_render(style),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It tells of requests that are no HTTP by showing them: anyone could fill the log, or find a
    # token in it.  What fails in handlers is logged by themselves.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


def _render(style: Literal["console", "json"]) -> list[Processor]:
    # Without the values of local variables: tokens and keys may be among them.
    if style == "json":
        traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [
            structlog.processors.ExceptionRenderer(traceback),
            structlog.processors.JSONRenderer(),
        ]
    traceback = structlog.dev.RichTracebackFormatter(show_locals=False)
    return [
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=traceback)
    ]
