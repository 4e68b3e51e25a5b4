"""One NATS server for all tests of a process; each test has names of its own in it."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from timewire.backends.jetstream import Names
from timewire.testing.nats import NatsCluster

_numbers = count(1)


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    cluster = NatsCluster(tmp_path_factory.mktemp("nats"), 1)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(cluster.start())
    yield cluster.urls
    loop.run_until_complete(cluster.kill())
    loop.close()


@pytest.fixture
def names() -> Names:
    return Names(f"t{next(_numbers)}")
