"""Sync: which cursors are served, and that pages together are all that was missed."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timewire import sync as module
from timewire.backends.local_bus import LocalBus
from timewire.backends.memory import MemoryStore
from timewire.clock import Clock, wall_clock
from timewire.epochs import SYSTEM_MODES, Mode, ModeName
from timewire.fanout import FanOut
from timewire.inbox import Delivery
from timewire.load import Loads
from timewire.model import (
    MAX_SEQ,
    Change,
    Created,
    Draft,
    Edited,
    Members,
    Reacted,
    Recalled,
    Ref,
    Seq,
    StoredBody,
    decode_message,
    encode_body,
    encode_change,
    encode_stored,
)
from timewire.news import News
from timewire.protocol import Cursor
from timewire.sync import MAX_PULL_BYTES, MAX_PULL_ENTRIES, CursorLost, Sync
from timewire.testing.contracts import ManualClock

BUCKET_MS = 1000


def sync_of(store: MemoryStore, clock: Clock = wall_clock) -> Sync:
    """A sync of this store, as after a start of the server."""
    return Sync(
        store.log,
        store.inbox,
        clock,
        messages=store.messages,
        directory=store.directory,
        news=News(store.messages, store.inbox.position),
        loads=Loads(lambda: 0, watch_members=1),
    )


class Post:
    """Inboxes that can be filled, and the sync that reads them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock, bucket_ms=BUCKET_MS)
        self.sync = sync_of(self.store, self.clock)

    async def deliver(self, *users: str, size: int = 0, count: int = 1) -> Seq:
        """Store messages and put them into these inboxes; the last one's SeqId."""
        payload = encode_stored("alice", "", "text", {"x": "x" * size})
        for start in range(0, count, 500):
            drafts = [Draft("team", "alice", "", payload)] * min(500, count - start)
            await self.store.log.append([Draft("team", "alice", "", payload) for _ in drafts])
            for message in await self.store.log.read(self.store.inbox.position):
                await self.store.inbox.put([Delivery(message, users)], message.seq)
        return self.store.log.head

    def locate(self, user: str, base: str, pos: str) -> Seq | str:
        """The position of a cursor, or why it is lost."""
        try:
            return self.sync.locate(user, Cursor(base, pos), self.store.inbox.position)
        except CursorLost as lost:
            return lost.reason

    async def pull_all(self, user: str, after: Seq, upto: Seq) -> list[list[Seq]]:
        """Pages of SeqIds, from a position to the horizon."""
        pages: list[list[Seq]] = []
        while True:
            page = await self.sync.pull(user, after, upto)
            pages.append([decode_message(message).seq for message in page.messages])
            assert after <= page.position <= upto
            assert pages[-1] == [seq for seq in pages[-1] if after < seq <= page.position]
            after = page.position
            if not page.has_more:
                assert after == upto
                return pages


@pytest.fixture
def post() -> Post:
    return Post()


# -- cursors -------------------------------------------------------------------------------------


async def test_a_cursor_is_the_place_it_names(post: Post) -> None:
    await post.deliver("alice", count=5)
    base = post.sync.base("alice")
    assert [post.locate("alice", base, pos) for pos in ("0", "3", "5", "05")] == [0, 3, 5, 5]


@pytest.mark.parametrize(
    "pos", ["", "-1", "1.0", "x", " 1", "1 ", "+1", "²", "١", "9" * 19, "1" * 400, str(MAX_SEQ + 1)]
)
async def test_a_place_that_is_none_is_garbage(post: Post, pos: str) -> None:
    await post.deliver("alice")
    assert post.locate("alice", post.sync.base("alice"), pos) == "garbage"


async def test_a_base_that_is_none_is_garbage(post: Post) -> None:
    base = post.sync.base("alice")
    for garbage in ("", ".", "1", "1.", "2" + base[1:], "x" * 10_000, "é\x00", base[2:]):
        assert post.locate("alice", garbage, "0") == "garbage", garbage


async def test_a_cursor_of_someone_else_is_not_served(post: Post) -> None:
    await post.deliver("alice", "bob")
    assert post.locate("bob", post.sync.base("alice"), "1") == "other_user"
    assert post.locate("bob", post.sync.base("alice") + "x", "1") == "other_user"
    # Whose it is cannot be read from it.
    assert "alice" not in post.sync.base("alice")


async def test_a_cursor_of_another_log_is_not_served(post: Post) -> None:
    assert post.locate("alice", Post().sync.base("alice"), "0") == "other_log"
    again = sync_of(post.store.reopened())
    assert again.base("alice") == post.sync.base("alice")


async def test_a_cursor_past_the_horizon_is_from_the_future(post: Post) -> None:
    last = await post.deliver("alice")
    assert post.locate("alice", post.sync.base("alice"), str(last)) == last
    assert post.locate("alice", post.sync.base("alice"), str(last + 1)) == "future"
    assert post.locate("alice", post.sync.base("alice"), str(MAX_SEQ)) == "future"


async def test_a_cursor_is_expired_exactly_when_something_after_it_is(post: Post) -> None:
    await post.deliver("alice", count=3)
    post.clock.now += BUCKET_MS
    await post.deliver("alice", count=3)
    await post.store.inbox.expire(post.clock.now)
    assert post.store.inbox.floor == 4
    base = post.sync.base("alice")
    places = [post.locate("alice", base, str(pos)) for pos in range(7)]
    assert places == ["expired", "expired", "expired", 3, 4, 5, 6]
    assert await post.pull_all("alice", 3, 6) == [[4, 5, 6]]


async def test_an_expiry_during_the_pull_is_noticed(post: Post) -> None:
    await post.deliver("alice", count=3)
    post.clock.now += 2 * BUCKET_MS
    await post.deliver("alice")
    await post.store.inbox.expire(post.clock.now - BUCKET_MS)
    with pytest.raises(CursorLost) as caught:
        await post.sync.pull("alice", 0, 4)
    assert caught.value.reason == "expired"


# -- pages ---------------------------------------------------------------------------------------


async def test_a_page_holds_the_messages_and_what_follows(post: Post) -> None:
    await post.deliver("alice", "bob")
    await post.deliver("bob")
    last = await post.deliver("alice")
    page = await post.sync.pull("alice", 0, last)
    first, second = (decode_message(message) for message in page.messages)
    assert (first.seq, first.conversation, first.sender, first.time) == (
        1,
        "team",
        "alice",
        post.clock.now,
    )
    assert (second.seq, page.position, page.has_more) == (3, 3, False)


async def test_a_page_without_messages_still_moves_on(post: Post) -> None:
    last = await post.deliver("bob", count=3)
    page = await post.sync.pull("alice", 0, last)
    assert (page.messages, page.position, page.has_more) == ([], last, False)


async def test_a_page_ends_at_the_horizon(post: Post) -> None:
    await post.deliver("alice", count=9)
    assert await post.pull_all("alice", 2, 5) == [[3, 4, 5]]
    assert await post.pull_all("alice", 5, 5) == [[]]


@pytest.mark.parametrize("count", [MAX_PULL_ENTRIES, MAX_PULL_ENTRIES + 1, 3 * MAX_PULL_ENTRIES])
async def test_a_page_holds_so_many_messages_and_no_more(post: Post, count: int) -> None:
    last = await post.deliver("alice", count=count)
    pages = await post.pull_all("alice", 0, last)
    assert [len(page) for page in pages][:-1] == [MAX_PULL_ENTRIES] * (len(pages) - 1)
    assert list(itertools.chain(*pages)) == list(range(1, last + 1))


async def test_a_page_holds_so_many_bytes_and_no_more(post: Post) -> None:
    last = await post.deliver("alice", size=MAX_PULL_BYTES // 4, count=9)
    pages = await post.pull_all("alice", 0, last)
    assert [len(page) for page in pages] == [3, 3, 3]
    # But for one message, which is served however large it is.
    last = await post.deliver("alice", size=2 * MAX_PULL_BYTES, count=2)
    assert await post.pull_all("alice", 9, last) == [[10], [11]]


async def test_a_removed_message_keeps_its_place(post: Post) -> None:
    last = await post.deliver("alice", count=3)
    await post.store.messages.redact("team", 2)
    page = await post.sync.pull("alice", 0, last)
    shown = [decode_message(message) for message in page.messages]
    assert [(m.seq, m.sender, m.body) for m in shown] == [
        (1, "alice", {"x": ""}),
        (2, "", {}),
        (3, "alice", {"x": ""}),
    ]


async def test_a_reference_without_a_message_is_passed_over(post: Post) -> None:
    """Such a one cannot be; were it there, it must not stop the device for ever."""
    last = await post.deliver("alice", count=3)
    refs, _ = await post.store.inbox.scan("alice", 0, last, 10)
    assert refs == [Ref(seq, "team") for seq in (1, 2, 3)]
    await post.store.messages.trim("team", 3)
    assert [seq for page in await post.pull_all("alice", 0, last) for seq in page][-1] == 3


@settings(max_examples=60)
@given(
    mine=st.lists(st.tuples(st.booleans(), st.sampled_from([0, 50, 300, 1200])), max_size=25),
    entries=st.integers(1, 6),
    size=st.integers(1, 2000),
    data=st.data(),
)
async def test_pages_put_together_are_one_scan(
    mine: list[tuple[bool, int]], entries: int, size: int, data: st.DataObject
) -> None:
    post = Post()
    for is_mine, size_of_body in mine:
        await post.deliver("alice" if is_mine else "bob", size=size_of_body)
    upto = data.draw(st.integers(0, len(mine)))
    after = data.draw(st.integers(0, upto))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_PULL_ENTRIES", entries)
        patch.setattr(module, "MAX_PULL_BYTES", size)
        pages = await post.pull_all("alice", after, upto)
    wanted = [seq for seq, (is_mine, _) in enumerate(mine, 1) if is_mine and after < seq <= upto]
    assert list(itertools.chain(*pages)) == wanted
    assert max(map(len, pages)) <= entries
    # The same cursor gives the same page again.
    first = await post.sync.pull("alice", after, upto)
    assert first == await post.sync.pull("alice", after, upto)


# -- what has become of messages -----------------------------------------------------------------


async def test_messages_are_as_they_are_now(post: Post) -> None:
    now = post.clock.now
    bodies_said = [
        StoredBody("alice", "", "text", {"n": n}, expires=expires)
        for n, expires in enumerate([0, 0, now + 10, 0])
    ]
    said = [Draft("team", "alice", "", encode_body(body)) for body in bodies_said]
    await post.store.log.append(said)
    for change in (Edited(1, {"n": "edited"}), Recalled(2), Reacted(4, "x")):
        await post.store.log.append(
            [Draft("team", "alice", "", encode_change("alice", "", change), change)]
        )
    for message in await post.store.log.read(0):
        await post.store.inbox.put([Delivery(message, ["bob"])], message.seq)

    async def bodies() -> list[object]:
        page = await post.sync.pull("bob", 0, 4)
        return [decode_message(message).body for message in page.messages]

    assert await bodies() == [{"n": "edited"}, {}, {"n": 2}, {"n": 3}]
    post.clock.now = now + 10
    assert await bodies() == [{"n": "edited"}, {}, {}, {"n": 3}]


async def test_who_has_left_is_not_shown_later_changes(post: Post) -> None:
    made = Created("group", ["alice", "bob"])
    leave, back = Members(left=["bob"]), Members(joined=["bob"])

    async def put(change: Created | Members | Edited | Reacted) -> None:
        payload = encode_change("alice", "", change)
        await post.store.log.append([Draft("team", "alice", "", payload, change)])

    async def seen() -> list[object]:
        page = await post.sync.pull("bob", 1, 3)
        shown = [decode_message(message) for message in page.messages]
        return [(message.body, message.reactions) for message in shown]

    await put(made)
    payload = encode_stored("alice", "", "text", {"n": 1})
    await post.store.log.append([Draft("team", "alice", "", payload) for _ in range(2)])
    for message in await post.store.log.read(0):
        await post.store.inbox.put([Delivery(message, ["bob"])], message.seq)
    await put(Reacted(3, "x"))
    before = [({"n": 1}, {}), ({"n": 1}, {"x": ["alice"]})]
    assert await seen() == before
    await put(leave)
    assert await seen() == before
    await put(Edited(2, {"n": 2}))
    await put(Reacted(3, "y"))
    assert await seen() == [({}, {}), ({"n": 1}, {})]
    await put(back)
    assert await seen() == [({"n": 2}, {}), ({"n": 1}, {"x": ["alice"], "y": ["alice"]})]


# -- conversations in mode read ------------------------------------------------------------------


class ReadPost(Post):
    """The same with conversations; ``sync`` knows nothing yet of what was published."""

    async def append(self, name: str, change: Change | None = None) -> Seq:
        payload = (
            encode_change("alice", "", change)
            if change
            else encode_stored("alice", "", "text", {"x": "y" * 50})
        )
        await self.store.log.append([Draft(name, "alice", "", payload, change)])
        return self.store.log.head

    async def group(self, name: str, *users: str, mode: ModeName = "read") -> None:
        await self.append(name, Created("group", list(users)))
        await self.append(SYSTEM_MODES, Mode(name, mode))

    async def fan_out(self) -> Seq:
        """Deliver all there is, and know of nothing but what the store says."""
        news, loads = News(self.store.messages, 0), Loads(lambda: 0, watch_members=1)
        store = self.store
        fanout = FanOut(store.log, store.directory, store.inbox, LocalBus(), news=news, loads=loads)
        while batch := await store.log.read(store.inbox.position):
            await fanout.deliver(batch)
        self.sync = sync_of(self.store, self.clock)
        return store.log.head


@pytest.fixture
def read_post() -> ReadPost:
    return ReadPost()


async def test_inbox_and_conversations_are_merged_in_order(read_post: ReadPost) -> None:
    modes: dict[str, ModeName] = {"a": "read", "b": "write", "c": "read", "d": "push"}
    for name, mode in modes.items():
        await read_post.group(name, "alice", "bob", mode=mode)
    said = [await read_post.append(name) for name in "abcdcba"]
    upto = await read_post.fan_out()
    [page] = await read_post.pull_all("alice", 8, upto)
    assert page == [seq for seq, name in zip(said, "abcdcba", strict=True) if name != "d"]
    assert await read_post.pull_all("carol", 8, upto) == [[]]
    refs, _ = await read_post.store.inbox.scan("alice", 8, upto, 100)
    assert [ref.seq for ref in refs] == [said[1], said[5]]


async def test_nothing_past_the_horizon_is_read(read_post: ReadPost) -> None:
    await read_post.group("a", "alice")
    said = [await read_post.append("a") for _ in range(5)]
    await read_post.fan_out()
    assert await read_post.pull_all("alice", 2, said[2]) == [said[:3]]
    assert await read_post.pull_all("alice", said[2], said[2]) == [[]]


async def test_what_was_read_mode_stays_where_it_was(read_post: ReadPost) -> None:
    await read_post.group("a", "alice")
    said: list[Seq] = []
    for mode in ("write", "read", "push", "write", "read"):
        said.append(await read_post.append("a"))
        await read_post.append(SYSTEM_MODES, Mode("a", mode))
    upto = await read_post.fan_out()
    wanted = [seq for number, seq in enumerate(said) if number != 3]
    assert await read_post.pull_all("alice", 2, upto) == [wanted]


async def test_pages_of_merged_messages_are_exact(
    read_post: ReadPost, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"g{n}" for n in range(5)]
    for number, name in enumerate(names):
        await read_post.group(name, "alice", mode="read" if number % 2 else "write")
    start = read_post.store.log.head
    said = [await read_post.append(names[n * n % 5]) for n in range(40)]
    upto = await read_post.fan_out()
    for entries in (1, 2, 7, 40, 41):
        monkeypatch.setattr(module, "MAX_PULL_ENTRIES", entries)
        pages = await read_post.pull_all("alice", start, upto)
        assert list(itertools.chain(*pages)) == said
        assert [len(page) for page in pages[:-1]] == [entries] * (len(pages) - 1)
        assert len(pages) == -(-len(said) // entries)


async def test_a_conversation_without_news_is_not_read(read_post: ReadPost) -> None:
    names = [f"g{n}" for n in range(500)]
    for name in names:
        await read_post.group(name, "alice", mode="read")
        await read_post.append(name)
    old = await read_post.fan_out()
    for name in names[::100]:
        await read_post.append(name)
    upto = await read_post.fan_out()
    traffic = read_post.store.inbox.traffic
    assert [len(page) for page in await read_post.pull_all("alice", old, upto)] == [5]
    assert (traffic.pulls, traffic.pull_conversations, traffic.pull_scans) == (1, 500, 5)


async def test_a_cursor_below_the_floor_is_lost_whatever_the_mode(read_post: ReadPost) -> None:
    await read_post.group("a", "alice")
    await read_post.append("a")
    last = await read_post.append("a")
    read_post.clock.now += BUCKET_MS
    await read_post.append("a")
    upto = await read_post.fan_out()
    await read_post.store.inbox.expire(read_post.clock.now)
    base = read_post.sync.base("alice")
    assert read_post.store.inbox.floor == last + 1
    assert read_post.locate("alice", base, str(last - 1)) == "expired"
    assert await read_post.pull_all("alice", last, upto) == [[last + 1]]
    with pytest.raises(CursorLost):
        await read_post.sync.pull("alice", last - 1, upto)


async def test_a_removed_message_keeps_its_place_in_mode_read(read_post: ReadPost) -> None:
    await read_post.group("a", "alice")
    said = await read_post.append("a")
    upto = await read_post.fan_out()
    await read_post.store.messages.redact("a", said)
    page = await read_post.sync.pull("alice", 2, upto)
    assert [(m.seq, m.sender, m.body) for m in map(decode_message, page.messages)] == [
        (said, "", {})
    ]
