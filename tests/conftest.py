"""What all tests share.

Hypothesis runs the same examples every time, so that a red build is red for everybody.
`HYPOTHESIS_PROFILE=explore` looks for new ones.

Tests run on the loop of the standard library; a module that tests what runs on another names it:
`LOOP = uvloop.new_event_loop`.
"""

import asyncio
import os
from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, settings

# A shared machine is sometimes slow; that says nothing about the code.
settings.register_profile(
    "ci",
    database=None,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore", settings.get_profile("ci"), derandomize=False, max_examples=2000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_asyncio_loop_factories(
    item: pytest.Function,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    factory = getattr(item.module, "LOOP", asyncio.new_event_loop)
    return {factory.__module__: factory}
