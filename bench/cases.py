"""What is measured, and against what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec

from bench import (
    catchup,
    cluster,
    engine,
    fanout,
    freshness,
    group,
    idle,
    inboxes,
    pairs,
    policies,
    room,
    runs,
    sweep,
)
from bench import search as finding
from bench import storm as rush
from bench.server import ServerProcess

Found = dict[str, float]


class Target(msgspec.Struct, frozen=True):
    """A number of interest in what a case finds.

    ``floor`` is what must be held, ``aim`` what is wanted, ``elsewhere`` what other servers did
    in the same shape of test, on another machine of the same shape.
    """

    key: str
    says: str
    unit: str = ""
    floor: float | None = None
    aim: float | None = None
    higher_is_better: bool = True
    elsewhere: str = ""

    def verdict(self, value: float) -> str:
        """How a value stands to floor and aim: ``aim``, ``floor``, ``below``, or nothing."""
        if self.floor is None or self.aim is None:
            return ""
        sign = 1 if self.higher_is_better else -1
        if sign * value >= sign * self.aim:
            return "aim"
        return "floor" if sign * value >= sign * self.floor else "below"


def at_most(key: str, says: str, unit: str, limits: tuple[float, float], **more: str) -> Target:
    """A target of which less is better; ``limits`` are floor and aim."""
    return Target(key, says, unit, *limits, higher_is_better=False, **more)


class Case(msgspec.Struct, frozen=True):
    """One measurement.  Of ``alone`` and ``against`` one is given: whether it needs a server.

    ``settings`` are those of the server.
    """

    name: str
    title: str
    shape: dict[str, Any]
    targets: tuple[Target, ...]
    alone: Callable[[float], Awaitable[Found]] | None = None
    against: Callable[[ServerProcess, float], Awaitable[Found]] | None = None
    settings: dict[str, Any] = {}


def _latency(name: str, says: str) -> tuple[Target, ...]:
    return tuple(
        Target(f"{name}_{percent}_ms", f"{says} {shown}", "ms", higher_is_better=False)
        for percent, shown in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))
    )


_COST: Final = (
    Target("server_us_each", "server's processor time each", "us", higher_is_better=False),
    Target("server_cores", "cores that the server kept busy"),
    Target("generator_cores", "cores that the load generator kept busy"),
)
_ENGINE: Final = (
    Target("per_s", "durable", "/s"),
    Target("bare_per_s", "the same puts and syncs, bare", "/s"),
    Target("ratio", "of the bare rate", "x", 0.6, 0.9),
    Target("sqlite_per_s", "the same in SQLite, WAL, FULL", "/s"),
)


def _engine(name: str, title: str, run: Callable[[float], Awaitable[Found]]) -> Case:
    return Case(name, title, {"batch": engine.BATCH}, _ENGINE, alone=run)


def _inbox_ways() -> Case:
    """Inboxes as they are written, and by sorted runs."""
    targets = [
        Target(f"{shape}_{way}_{key}", f"{says}: {how}{more}", unit, higher_is_better=not more)
        for shape, says in (("pairs", "for pairs"), ("groups", "for groups of 1,000"))
        for way, how in (("plain", "as they are written"), ("runs", "by sorted runs"))
        for key, more, unit in (("per_s", "", "/s"), ("stall_ms", ", longest wait", "ms"))
    ]
    return Case(
        "inbox-ways",
        "References into inboxes in two ways, a second of one core",
        {"run_refs": runs.RUN_REFS},
        tuple(targets),
        alone=runs.both_ways,
    )


def _pairs(window: int, first: tuple[Target, ...], count: int) -> Case:
    return Case(
        f"pairs-{window}",
        f"One to one: {count} pairs, {window} in flight each",
        {"pairs": count, "window": window},
        (*first, *_COST),
        against=lambda server, s: pairs.one_to_one(server, s, pairs=count, window=window),
    )


def _group(members: int, writers: int, window: int, first: Target) -> Case:
    run = partial(group.group, members=members, writers=writers, window=window)
    latency = (*_latency("delivery", "delivery"), *_latency("ack", "ack"))
    return Case(
        f"group-{members}-{writers}x{window}",
        f"A group of {members} online members: {writers} writing, {window} in flight each",
        {"members": members, "writers": writers, "window": window},
        (first, Target("messages_per_s", "messages", "/s"), *latency, *_COST),
        against=run,
    )


def _in_flight() -> Case:
    targets = [
        Target(f"at{window}_{key}", f"{window} in flight: {says}", unit, higher_is_better=not ms)
        for window in sweep.WINDOWS
        for key, says, unit, ms in (
            ("per_s", "messages", "/s", False),
            ("delivery_p50_ms", "delivery p50", "ms", True),
            ("delivery_p99_ms", "delivery p99", "ms", True),
            ("generator_cores", "cores that the load generator kept busy", "", False),
        )
    ]
    return Case(
        "in-flight",
        f"One to one: {sweep.PAIRS} pairs, more and more in flight",
        {"pairs": sweep.PAIRS, "windows": sweep.WINDOWS},
        tuple(targets),
        against=sweep.in_flight,
    )


def _members() -> Case:
    targets = [
        Target(f"at{size}_{key}", f"of {size}: {says}", unit, higher_is_better=key == "per_s")
        for size in sweep.MEMBERS
        for key, says, unit in (
            ("per_s", "deliveries", "/s"),
            ("message_us", "server's processor time a message", "us"),
            ("server_us_each", "server's processor time a delivery", "us"),
        )
    ]
    return Case(
        "members",
        f"Groups of more and more online members: 1 writing, {sweep.GROUP_WINDOW} in flight",
        {"members": sweep.MEMBERS, "window": sweep.GROUP_WINDOW},
        tuple(targets),
        against=sweep.members,
    )


def _inboxes(members: int) -> Case:
    targets = (
        at_most(
            "synced_p50_ms",
            "send to ack `synced`, p50",
            "ms",
            (40, 15),
            elsewhere="a Go timeline on a remote store, 4 cores: 127.7",
        ),
        Target("synced_max_ms", "the slowest", "ms", higher_is_better=False),
        Target("synced_beside_p50_ms", "beside one-to-one traffic, p50", "ms"),
        Target("synced_beside_max_ms", "beside one-to-one traffic, the slowest", "ms"),
        *_latency("quiet_ack", "small messages alone: ack"),
        *_latency("beside_ack", "beside large ones: ack"),
        *_latency("quiet_delivery", "small messages alone: delivery"),
        *_latency("beside_delivery", "beside large ones: delivery"),
    )
    return Case(
        "inboxes",
        f"A message to {members:,} inboxes, {inboxes.ONLINE} of them online",
        {"members": members, "pairs_beside": inboxes.PAIRS},
        targets,
        against=lambda server, s: inboxes.many_inboxes(server, s, members=members),
        settings={"fanout_policy": "write"},
    )


def _catch_up(entries: int) -> Case:
    targets = (
        at_most("catch_up_ms", "hello to live", "ms", (100, 30)),
        Target("first_page_ms", "hello to first page", "ms", higher_is_better=False),
        Target("entries_per_s", "messages", "/s"),
    )
    return Case(
        "catchup",
        f"One device catches up on {entries:,} messages",
        {"entries": entries},
        targets,
        against=lambda server, _: catchup.catch_up(server, entries=entries),
    )


def _idle(connections: int) -> Case:
    targets = (
        at_most("kib_each", "server memory each", "KiB", (24, 14)),
        Target("base_mib", "server memory before", "MiB", higher_is_better=False),
        Target("accepts_per_s", "connected and greeted", "/s"),
    )
    return Case(
        "idle",
        f"{connections:,} idle connections",
        {"connections": connections},
        targets,
        against=lambda server, _: idle.idle(server, connections=connections),
    )


def cluster_cases() -> list[Case]:
    """A cluster without and with replicas, then with two of everything that is not NATS."""
    sizes = (cluster.Size(1, 1, 1), cluster.Size(3, 1, 1), cluster.Size(3, 2, 2))
    return [_cluster(size) for size in sizes]


def _cluster(size: cluster.Size) -> Case:
    loads = [(f"pairs{n}", f"{cluster.PAIRS} pairs, {n} in flight each") for n in cluster.WINDOWS]
    loads.append(
        ("group", f"{cluster.MEMBERS} members, 1 writing, {cluster.GROUP_WINDOW} in flight")
    )
    targets: list[Target] = []
    for key, says in loads:
        targets += [
            Target(f"{key}_per_s", f"{says}: deliveries", "/s"),
            *_latency(f"{key}_ack", "  ack"),
            *_latency(f"{key}_delivery", "  delivery"),
            *(
                Target(f"{key}_{role}_us_each", f"  {role}, processor time each", "us")
                for role in cluster.ROLES
            ),
            Target(f"{key}_server_cores", "  cores busy: the cluster"),
            Target(f"{key}_generator_cores", "  cores busy: the load generator"),
        ]
    targets.append(Target("stream_bytes_each", "the stream, a message", "bytes"))
    return Case(
        f"cluster-r{size.nats}-{size.workers}-{size.gateways}",
        f"A cluster: R{size.nats}, {size.workers} workers, {size.gateways} gateways, synced always",
        msgspec.structs.asdict(size),
        tuple(targets),
        alone=partial(cluster.carry, size=size),
    )


def storm(connections: int) -> Case:
    """Many idle connections, and what happens when all come back at once."""
    return Case(
        "storm",
        f"{rush.possible(connections):,} connections, all made anew after a restart",
        {"connections": connections, "missed": rush.MISSED, "pairs_beside": rush.PAIRS},
        (
            Target("connections", "connections"),
            Target("kib_each", "server memory each", "KiB", higher_is_better=False),
            Target("accepts_per_s", "connected and greeted, 50 at a time", "/s"),
            Target("back_per_s", "all at once: back and caught up", "/s"),
            Target("back_p50_s", "until half of them are", "s", higher_is_better=False),
            Target("back_max_s", "until the last one is", "s", higher_is_better=False),
            Target("retries", "tries that failed", "", higher_is_better=False),
            Target("storm_sends_per_s", "sends of those who are back, meanwhile", "/s"),
            *_latency("quiet_ack", "their ack before"),
            *_latency("storm_ack", "their ack meanwhile"),
            Target("storm_ack_max_ms", "the slowest", "ms", higher_is_better=False),
        ),
        alone=lambda s: rush.storm(s, connections=connections),
    )


def search(messages: int) -> Case:
    """The search index with so many messages, beside SQLite's."""
    beside = "SQLite FTS5 (trigram): "
    targets: list[Target] = []
    for name, says in (
        ("rare", "a rare word"),
        ("common", "a common word"),
        ("phrase", "a phrase"),
        ("chinese", "one Chinese character"),
        ("rare_joined", "a rare word, in 5,000 conversations joined later"),
        ("rare_one", "a rare word, in one conversation"),
    ):
        targets += [
            at_most(f"{name}_p50_ms", f"{says}, p50", "ms", (100, 30)),
            Target(f"{name}_p99_ms", f"{says}, p99", "ms", higher_is_better=False),
            Target(f"fts5_{name}_p50_ms", f"  {beside}p50", "ms", higher_is_better=False),
            Target(f"fts5_{name}_p99_ms", f"  {beside}p99", "ms", higher_is_better=False),
        ]
    return Case(
        "search-index",
        f"Search in {messages:,} messages of 5,000 conversations",
        {"messages": messages, "conversations": finding.CONVERSATIONS, "hits": finding.HITS},
        (
            Target("documents_per_s", "indexed", "/s", 10_000, 30_000),
            Target("fts5_documents_per_s", f"  {beside}indexed", "/s"),
            Target("bytes_each", "on disk, a message", "bytes", higher_is_better=False),
            Target("fts5_bytes_each", f"  {beside}on disk", "bytes", higher_is_better=False),
            *targets,
        ),
        alone=lambda s: finding.search(s, messages=messages),
    )


def _freshness(rate: int) -> Case:
    return Case(
        "search-lag",
        f"Until what is sent can be found, at {rate:,} messages a second",
        {"rate": rate},
        (
            at_most("lag_p50_ms", "oldest that cannot be found, p50", "ms", (1000, 500)),
            Target("lag_max_ms", "the highest", "ms", higher_is_better=False),
            Target("per_s", "messages", "/s"),
            *_latency("ack", "ack"),
            Target("server_cores", "cores busy: server"),
        ),
        against=lambda server, s: freshness.freshness(server, s, rate=rate),
    )


_POLICIES: Final = {"write": "write", "read": policies.READ}


def _crowd(members: int, online: int, mode: str) -> Case:
    return Case(
        f"crowd-{mode}",
        f"A group of {members:,} members, {online:,} online, in mode {mode}",
        {"members": members, "online": online, "mode": mode},
        (
            Target("writes_a_message", "writes a message", "", higher_is_better=False),
            Target("server_ms_a_message", "server's processor time a message", "ms"),
            Target("messages_per_s", "messages, each when all have the one before", "/s"),
            Target("per_s", "deliveries", "/s"),
            *_latency("delivery", "delivery"),
            *_latency("ack", "ack"),
        ),
        against=partial(fanout.crowd, members=members, online=online, mode=mode),
        settings={"fanout_policy": _POLICIES[mode]},
    )


def _many_groups(groups: int, mode: str) -> Case:
    return Case(
        f"sync-{mode}",
        f"Sync of a user in {groups} groups, news in {fanout.NEWS}, in mode {mode}",
        {"groups": groups, "news": fanout.NEWS, "mode": mode},
        (
            Target("sync_ms", "hello to live", "ms", higher_is_better=False),
            Target("sync_max_ms", "the slowest", "ms", higher_is_better=False),
        ),
        against=lambda server, _: fanout.many_groups(server, groups=groups, mode=mode),
        settings={"fanout_policy": _POLICIES[mode]},
    )


def _room(online: int) -> Case:
    return Case(
        "room",
        f"A room: {room.WAVES * online:,} join, {online:,} are online, "
        f"{room.COMMENTS_PER_S} comments a second",
        {"online": online, "waves": room.WAVES, "comments_per_s": room.COMMENTS_PER_S},
        (
            Target("joins_0_per_s", "joins of an empty room", "/s"),
            Target("join_0_us", "server's processor time each", "us", higher_is_better=False),
            Target("joins_1_per_s", f"joins of a room of {online:,}", "/s"),
            Target("join_1_us", "server's processor time each", "us", higher_is_better=False),
            Target("comments_per_s", "comments", "/s"),
            Target("pushed_per_s", "of them pushed to everybody", "/s"),
            Target("per_s", "deliveries", "/s"),
            *_latency("delivery", "delivery"),
            *_latency("ack", "ack"),
            *_COST,
        ),
        against=partial(room.room, online=online),
    )


def fanout_cases(few: int) -> list[Case]:
    """By mode: a very large group, a sync over many groups; and modes that change under load."""
    shape = {"members": 100, "writers": 4, "window": 8}
    switching = Case(
        "switching",
        "A group of 100 online members whose mode changes all the time: 4 writing, 8 in flight",
        shape,
        (
            Target("per_s", "deliveries", "/s"),
            *_latency("delivery", "delivery"),
            *_latency("ack", "ack"),
            Target("changes", "changes of mode"),
            Target("wanderings", "catch-ups of one device meanwhile"),
        ),
        against=partial(fanout.switching, **shape),
        settings={"fanout_policy": policies.FLIP},
    )
    crowds = [_crowd(10_000 // few, 1_000 // few, mode) for mode in _POLICIES]
    syncs = [_many_groups(500, mode) for mode in _POLICIES]
    return [*crowds, *syncs, switching]


def cases(quick: bool) -> list[Case]:
    """All cases, in the order in which they run; smaller ones when there is little time."""
    few = 10 if quick else 1
    one = (
        at_most("ack_p50_ms", "ack p50", "ms", (2, 1)),
        at_most("ack_p99_ms", "ack p99", "ms", (10, 3)),
        Target("ack_p999_ms", "ack p99.9", "ms", higher_is_better=False),
        at_most("delivery_p50_ms", "delivery p50", "ms", (2, 1), elsewhere="ejabberd 16"),
        at_most("delivery_p99_ms", "delivery p99", "ms", (10, 3), elsewhere="ejabberd 122"),
        Target("delivery_p999_ms", "delivery p99.9", "ms", higher_is_better=False),
        Target("per_s", "messages", "/s"),
    )
    twenty = (
        Target(
            "per_s",
            "messages",
            "/s",
            50_000,
            100_000,
            elsewhere="ejabberd with archive 3,140; Prosody 2,326; Synapse 79",
        ),
        *_latency("ack", "ack"),
        *_latency("delivery", "delivery"),
    )
    hundred = Target(
        "per_s",
        "deliveries",
        "/s",
        250_000,
        400_000,
        elsewhere="ejabberd 29,500; Prosody 12,100",
    )
    return [
        _engine("engine-log", "Engine: messages into the log", engine.log),
        _engine("engine-inbox", "Engine: references into inboxes", engine.inbox),
        _inbox_ways(),
        _pairs(1, one, 50),
        _pairs(20, twenty, 50),
        _in_flight(),
        _group(100, 1, 8, hundred),
        _group(100, 4, 8, hundred),
        _group(500, 4, 8, Target("per_s", "deliveries", "/s")),
        _members(),
        _inboxes(10_000 // few),
        *fanout_cases(few),
        _room(10_000 // few),
        _catch_up(10_000 // few),
        _idle(5_000 // few),
        search(100_000 // few),
        _freshness(5_000),
    ]
