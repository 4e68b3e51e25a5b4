"""Limits of users, devices, conversations and addresses: which holds, and what is told."""

from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.config import Config
from timewire.errors import Retryable, TimewireError, Unusable
from timewire.quotas import Allowed, Meter, Quotas, least

NOW = 5_000.0


def quotas(**settings: Any) -> Quotas:
    return Quotas(Config(**settings), lambda: NOW)


def fields(refused: TimewireError | None) -> dict[str, Any] | None:
    assert refused is None or refused.code == "rate_limited"
    return refused.fields if refused is not None else None


@pytest.mark.parametrize(
    ("key", "scope", "free"),
    [
        ("sends_per_second", "user", {"user": "bob"}),
        ("device_sends_per_second", "device", {"device": "laptop"}),
        ("address_sends_per_second", "address", {"address": "192.0.2.2"}),
    ],
)
def test_a_send_counts_in_each_scope(key: str, scope: str, free: dict[str, str]) -> None:
    kept = quotas(**{"sends_per_second": 0, key: 2})
    who = {"address": "192.0.2.1", "user": "alice", "device": "phone"}
    # Two connections of the same name have what one has.
    meters = [kept.meter(**who), kept.meter(**who)]
    assert [fields(one.send("team", NOW)) for one in meters] == [None, None]
    for one in meters:
        assert fields(one.send("team", NOW)) == {"retry_after": 500, "scope": scope}
        assert not one.signal(NOW)
    assert kept.meter(**who | free).send("team", NOW) is None
    assert meters[0].send("team", NOW + 500) is None


def test_sends_into_one_conversation_count_whoever_makes_them() -> None:
    kept = quotas(conversation_sends_per_second=1)
    alice, bob = kept.meter(user="alice"), kept.meter(user="bob")
    assert alice.by_conversation
    assert alice.send("team", NOW) is None
    assert fields(bob.send("team", NOW)) == {"retry_after": 1000, "scope": "conversation"}
    assert bob.send("other", NOW) is None
    assert bob.signal(NOW), "who types is counted for themselves"
    assert not quotas().meter(user="alice").by_conversation


def test_what_is_refused_costs_nothing_of_the_other_limits() -> None:
    kept = quotas(sends_per_second=3, conversation_sends_per_second=1)
    meter = kept.meter(user="alice")
    assert meter.send("a", NOW) is None
    assert [fields(meter.send("a", NOW)) for _ in range(10)] == [
        {"retry_after": 1000, "scope": "conversation"}
    ] * 10
    assert [meter.send(name, NOW) for name in ("b", "c")] == [None, None]
    assert fields(meter.send("d", NOW)) == {"retry_after": 334, "scope": "user"}


def test_frames_and_bytes_make_the_reader_pause() -> None:
    meter = quotas(frames_per_second=4, device_bytes_per_second=1000).meter(
        user="alice", device="phone"
    )
    assert [meter.frame(250, NOW) for _ in range(4)] == [0] * 4
    assert meter.frame(0, NOW) == 250, "the fifth frame"
    assert meter.frame(2000, NOW + 250) == 1750, "bytes that are paid for later"
    assert meter.frame(100, NOW + 10_000) == 0


def test_over_http_requests_beyond_a_limit_are_refused() -> None:
    kept = quotas(frames_per_second=2, bytes_per_second=100)
    meter = kept.meter(user="alice")
    meter.request(300, NOW)
    with pytest.raises(Retryable) as refused:
        meter.request(0, NOW)
    assert fields(refused.value) == {"retry_after": 2000, "scope": "user"}
    meter.request(0, NOW + 2000)
    assert kept.meter(user="bob").frame(100, NOW) == 0


def test_connections_of_an_address_are_counted() -> None:
    kept = quotas(address_connections=2)
    with ExitStack() as open:
        for _ in range(2):
            open.enter_context(kept.connection("192.0.2.1"))
        with pytest.raises(Retryable, match="too_many_connections"):
            open.enter_context(kept.connection("192.0.2.1"))
        open.enter_context(kept.connection("192.0.2.2"))
    with ExitStack() as open:
        for _ in range(2):
            open.enter_context(kept.connection("192.0.2.1"))
    with ExitStack() as open:
        for _ in range(100):
            open.enter_context(quotas().connection("192.0.2.1"))


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "address"),
    [
        ((), "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        (("127.0.0.1",), "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        (("127.0.0.1",), "127.0.0.1", "198.51.100.7", "198.51.100.7"),
        (("127.0.0.1",), "::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"),
        # What the client has written itself stands before what the proxy has added.
        (("127.0.0.1",), "127.0.0.1", "10.1.1.1, 198.51.100.7", "198.51.100.7"),
        (("127.0.0.1", "10.0.0.0/8"), "127.0.0.1", "1.2.3.4, 5.6.7.8, 10.2.3.4", "5.6.7.8"),
        (("127.0.0.1",), "127.0.0.1", "", "127.0.0.1"),
        (("127.0.0.1",), "127.0.0.1", "unknown", "127.0.0.1"),
        (("10.0.0.9/8",), "10.0.0.1", "10.0.0.2", "10.0.0.2"),
        (("::1",), "::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (("::1",), "::1", "[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ((), "", "", ""),
    ],
)
def test_a_proxy_names_the_address_only_when_it_is_trusted(
    proxies: tuple[str, ...], peer: str, forwarded: str, address: str
) -> None:
    assert quotas(trusted_proxies=proxies).address(peer, forwarded) == address


@given(forwarded=st.text(alphabet="0123456789abcdef.:, []/%\x00é", max_size=400))
def test_anything_may_stand_in_the_header(forwarded: str) -> None:
    kept = quotas(trusted_proxies=("0.0.0.0/0", "::/0"))
    assert kept.address("192.0.2.1", forwarded) != ""


def test_a_proxy_that_is_no_network_is_told_at_the_start() -> None:
    with pytest.raises(Unusable, match="trusted_proxies"):
        quotas(trusted_proxies=("1.2.3",))


def test_what_is_told_is_the_least_that_holds() -> None:
    assert least(Config()) == Allowed(20_000, 0, 5000)
    config = Config(
        device_frames_per_second=7, address_bytes_per_second=9, device_sends_per_second=6000
    )
    assert least(config) == Allowed(7, 9, 5000)


def test_without_limits_nothing_is_counted() -> None:
    meter = quotas(sends_per_second=0, frames_per_second=0).meter(user="alice", device="phone")
    assert all(meter.send("team", NOW) is None and meter.signal(NOW) for _ in range(100))
    assert meter.frame(10**9, NOW) == 0
    assert isinstance(meter, Meter)
