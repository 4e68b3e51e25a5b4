"""Who may do what: every rule, for members, admins, owners and the system."""

from collections.abc import Callable
from typing import Any

import pytest

from timewire import rules
from timewire.conversation import Conversation
from timewire.errors import TimewireError
from timewire.model import (
    Appointed,
    Banned,
    Created,
    GroupChange,
    Members,
    Muted,
    Pinned,
    Reacted,
    StoredBody,
    Updated,
)
from timewire.rules import (
    check_edit,
    check_group,
    check_mentions,
    check_pin,
    check_post,
    check_reaction,
    check_recall,
    check_speech,
    check_staff,
    check_target,
    joins,
)

PEOPLE = ["olga", "oscar", "adam", "anna", "max", "mia"]
WHO = {"owner": "olga", "admin": "adam", "member": "max", "system": None}
SAID = StoredBody("max", "1", "text", {})
HOUR_MS = 3_600_000


def team(**more: Any) -> Conversation:
    """A group with two owners, two admins and two members."""
    made = Conversation.make("team", 1, Created("group", PEOPLE), "olga")
    made.roles.update(oscar="owner", adam="admin", anna="admin")
    for name, value in more.items():
        setattr(made, name, value)
    return made


def pair() -> Conversation:
    return Conversation.make("direct:max:mia", 1, Created("direct", ["max", "mia"]), "max")


def verdict(check: Callable[..., object], *arguments: Any) -> str:
    """The code of a refusal, or "fine"."""
    try:
        check(*arguments)
    except TimewireError as refusal:
        return refusal.code
    return "fine"


def verdicts(change: GroupChange, **more: Any) -> list[str]:
    """What owner, admin, member and system are told."""
    return [verdict(check_group, team(**more), change, user) for user in WHO.values()]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Updated(title="x"), ["fine", "fine", "not_admin", "fine"]),
        (Members(joined=["eve"]), ["fine"] * 4),
        (Members(left=["mia"]), ["fine", "fine", "not_admin", "fine"]),
        (Members(left=["anna"]), ["fine", "not_owner", "not_admin", "fine"]),
        (Members(left=["oscar"]), ["fine", "not_owner", "not_admin", "fine"]),
        (Members(left=["nobody"]), ["fine", "fine", "not_admin", "fine"]),
        (Banned(["mia", "eve"]), ["fine", "fine", "not_admin", "fine"]),
        (Banned(["anna"]), ["fine", "not_owner", "not_admin", "fine"]),
        (Banned(["eve"], on=False), ["fine", "fine", "not_admin", "fine"]),
        (Muted("mia", 99), ["fine", "fine", "not_admin", "fine"]),
        (Muted("oscar", 99), ["fine", "not_owner", "not_admin", "fine"]),
        (Muted("eve", 99), ["unknown_member", "unknown_member", "not_admin", "unknown_member"]),
        (Appointed("mia", "admin"), ["fine", "not_owner", "not_owner", "fine"]),
        (Appointed("oscar", "member"), ["fine", "not_owner", "not_owner", "fine"]),
        (Appointed("eve", "admin"), ["unknown_member", "not_owner", "not_owner", "unknown_member"]),
    ],
    ids=repr,
)
def test_who_may_change_a_group(change: GroupChange, told: list[str]) -> None:
    assert verdicts(change) == told


def test_who_may_add_members() -> None:
    add = Members(joined=["eve"])
    assert verdicts(add, invite="admins") == ["fine", "fine", "not_admin", "fine"]
    assert verdicts(add, banned={"eve"}) == ["banned"] * 4
    assert verdicts(Members(left=["max"]), invite="admins")[2] == "fine"


def test_everybody_may_leave_but_the_last_owner() -> None:
    for user in PEOPLE:
        assert verdict(check_group, team(), Members(left=[user]), user) == "fine"
    only = team(roles={"olga": "owner", "adam": "admin"})
    leave = Members(left=["olga"])
    assert verdict(check_group, only, leave, "olga") == "last_owner"
    assert verdict(check_group, only, leave, None) == "last_owner"
    assert verdict(check_group, only, Banned(["olga"]), "olga") == "last_owner"
    assert verdict(check_group, only, Appointed("olga", "admin"), "olga") == "last_owner"
    assert verdict(check_group, only, Appointed("olga", "owner"), "olga") == "fine"
    assert verdict(check_group, only, Members(left=PEOPLE), "olga") == "fine"
    assert verdict(check_group, team(), Members(left=["olga", "oscar"]), None) == "last_owner"
    alone = Conversation.make("team", 1, Created("group", ["olga"]), "olga")
    assert verdict(check_group, alone, leave, "olga") == "fine"
    nobodys = Conversation.make("team", 1, Created("group", PEOPLE), "")
    assert verdict(check_group, nobodys, leave, "olga") == "fine"


def test_only_groups_change_like_that() -> None:
    changes = [Updated(), Members(joined=["eve"]), Appointed("mia", "owner"), Banned(["mia"])]
    for change in [*changes, Muted("mia", 9)]:
        assert verdict(check_group, pair(), change, "max") == "not_a_group"
        assert verdict(check_group, pair(), change, None) == "not_a_group"


def test_lists_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MAX_STAFF", "MAX_BANNED", "MAX_MUTED", "MAX_PINS"):
        monkeypatch.setattr(rules, limit, 4)
    assert verdicts(Appointed("mia", "admin"))[0] == "list_full"
    assert verdicts(Appointed("anna", "owner"))[0] == "fine"
    full = {"a", "b", "c"}
    assert verdicts(Banned(["d", "e"]), banned=full)[0] == "list_full"
    assert verdicts(Banned(["a", "b", "e"]), banned=full)[0] == "fine"
    assert verdicts(Banned(["a"], on=False), banned={*full, "d"})[0] == "fine"
    muted = dict.fromkeys("abcd", 99)
    assert verdicts(Muted("mia", 99), muted=muted)[0] == "list_full"
    assert verdicts(Muted("mia", 0), muted=muted)[0] == "fine"
    pinned = team(pins=[1, 2, 3, 4])
    assert verdict(check_pin, pinned, Pinned(5), "olga") == "list_full"
    assert verdict(check_pin, pinned, Pinned(4), "olga") == "fine"
    assert verdict(check_pin, pinned, Pinned(4, on=False), "olga") == "fine"


# Messages


def test_who_may_speak() -> None:
    muted = team(muted={"max": 100})
    assert verdict(check_speech, muted, "max", 99) == "muted"
    assert verdict(check_speech, muted, "max", 100) == "fine"
    assert verdict(check_speech, muted, "mia", 99) == "fine"
    assert verdict(check_speech, muted, None, 99) == "fine"
    blocked = pair()
    blocked.banned.add("max")
    assert verdict(check_speech, blocked, "max", 0) == "blocked"
    assert verdict(check_speech, blocked, "mia", 0) == "fine"
    assert verdict(check_speech, team(banned={"max"}), "max", 0) == "fine"


def test_whom_a_message_may_mention() -> None:
    assert verdict(check_mentions, team(), ["mia", "*", "max"], "max") == "fine"
    assert verdict(check_mentions, team(), ["mia", "eve"], "max") == "unknown_member"
    assert verdict(check_mentions, team(), ["*"] * 100, "max") == "fine"
    assert verdict(check_mentions, team(), ["*"] * 101, "max") == "too_many_mentions"


def test_what_can_be_changed() -> None:
    assert check_target(SAID) is SAID
    assert verdict(check_target, None) == "recalled"
    for kind in ("created", "edited", "members"):
        assert verdict(check_target, StoredBody("max", "1", kind, {})) == "bad_target"


def test_who_may_edit_and_for_how_long() -> None:
    for user, told in [("max", "fine"), ("olga", "not_author"), (None, "fine")]:
        assert verdict(check_edit, SAID, user, HOUR_MS, 0) == told
    assert verdict(check_edit, SAID, "max", HOUR_MS, HOUR_MS) == "fine"
    assert verdict(check_edit, SAID, "max", HOUR_MS + 1, HOUR_MS) == "too_late"
    assert verdict(check_edit, SAID, None, HOUR_MS + 1, HOUR_MS) == "fine"
    often = StoredBody("max", "1", "text", {}, edits=list(range(2, 102)))
    assert verdict(check_edit, often, "max", 0, 0) == "too_many_edits"


def test_who_may_recall_and_for_how_long() -> None:
    old = HOUR_MS + 1
    told = {user: verdict(check_recall, team(), SAID, user, old, HOUR_MS) for user in PEOPLE}
    assert told == {
        "olga": "fine",
        "oscar": "fine",
        "adam": "fine",
        "anna": "fine",
        "max": "too_late",
        "mia": "not_author",
    }
    assert verdict(check_recall, team(), SAID, "max", HOUR_MS, HOUR_MS) == "fine"
    assert verdict(check_recall, team(), SAID, None, old, HOUR_MS) == "fine"
    assert verdict(check_recall, pair(), SAID, "mia", 0, 0) == "not_author"
    assert verdict(check_recall, pair(), SAID, "max", 0, 0) == "fine"


def test_how_many_reactions_a_message_takes() -> None:
    emoji = {f"e{n}": ["max"] for n in range(20)}
    many = StoredBody("max", "1", "text", {}, reactions=emoji)
    assert verdict(check_reaction, many, Reacted(1, "e3")) == "fine"
    assert verdict(check_reaction, many, Reacted(1, "another")) == "reaction_limit"
    assert verdict(check_reaction, many, Reacted(1, "another", on=False)) == "fine"
    crowd = StoredBody("max", "1", "text", {}, reactions={"e": [f"u{n}" for n in range(500)]})
    assert verdict(check_reaction, crowd, Reacted(1, "e")) == "reaction_limit"
    assert verdict(check_reaction, crowd, Reacted(1, "e", on=False)) == "fine"


def test_who_may_pin() -> None:
    told = [verdict(check_pin, team(), Pinned(1), user) for user in WHO.values()]
    assert told == ["fine", "fine", "not_admin", "fine"]
    assert verdict(check_pin, pair(), Pinned(1), "max") == "fine"


def test_who_may_mention_everybody() -> None:
    quiet = team(mention_all="admins")
    told = [verdict(check_mentions, quiet, ["*"], user) for user in WHO.values()]
    assert told == ["fine", "fine", "not_admin", "fine"]
    assert verdict(check_mentions, quiet, ["mia"], "max") == "fine"


# -- rooms and channels --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["room", "channel"])
def test_everybody_may_join_a_room_or_a_channel_and_adds_nobody_else(kind: str) -> None:
    join, others = Members(joined=["eve"]), Members(joined=["eve", "max"])
    assert verdict(check_group, team(kind=kind), join, "eve") == "fine"
    assert verdict(check_group, team(kind=kind), others, "eve") == "not_admin"
    assert verdicts(join, kind=kind) == ["fine", "fine", "not_admin", "fine"]
    assert verdict(check_group, team(kind=kind, invite="admins"), join, "eve") == "not_admin"
    assert verdict(check_group, team(kind=kind, banned={"eve"}), join, "eve") == "banned"
    both = Members(joined=["eve"], left=["mia"])
    assert verdict(check_group, team(kind=kind), both, "eve") == "not_admin"


def test_nobody_joins_a_group() -> None:
    assert not joins(team(), Members(joined=["eve"]), "eve")
    assert not joins(pair(), Members(joined=["eve"]), "eve")


def test_staff_rules_hold_in_rooms_and_channels() -> None:
    for kind in ("room", "channel"):
        assert verdicts(Updated(title="x"), kind=kind)[2] == "not_admin"
        assert verdict(check_pin, team(kind=kind), Pinned(5), "max") == "not_admin"
        assert verdict(check_recall, team(kind=kind), SAID, "adam", HOUR_MS, 1) == "fine"
        assert verdict(check_staff, team(kind=kind), "adam") == "fine"
    assert verdict(check_staff, team(), "max") == "not_admin"
    assert verdict(check_staff, pair(), "max") == "not_a_group"


def test_owners_and_admins_post_in_a_channel() -> None:
    told = [verdict(check_post, team(kind="channel"), user) for user in WHO.values()]
    assert told == ["fine", "fine", "not_admin", "fine"]
    for other in (team(), team(kind="room"), pair()):
        assert verdict(check_post, other, "max") == "fine"
