"""Everything that can go wrong, in one tree.

    TimewireError
    ├── Invalid          the request itself is wrong; repeating it unchanged cannot help
    ├── Forbidden        the caller may not do this, or is not who it says it is
    ├── NotFound         what the request names does not exist
    ├── Retryable        nothing happened; the same request may succeed later
    ├── UnknownOutcome   it may or may not have happened; repeat it with the same id to find out
    ├── Damaged          stored data fails its checksum
    └── Unusable         Timewire cannot start or go on with this configuration or directory

A class says what the caller should do; ``code`` says what happened, and is stable: clients and
tests compare it, never the sentence.  ``CODES`` is the whole list.  Facts travel in ``fields``
(JSON values), the sentence says what to do.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TimewireError(Exception):
    """Base of all errors.  ``status`` is the HTTP status of the class, ``retry`` its advice."""

    status: ClassVar[int] = 500
    retry: ClassVar[bool] = False

    def __init__(self, code: str, message: str | None = None, **fields: Any) -> None:
        self.code = code
        self.message = message or CODES[code][1]
        self.fields = fields
        super().__init__(f"{code}: {self.message}")


class Invalid(TimewireError):
    """The request itself is wrong; repeating it unchanged cannot help."""

    status = 400


class Forbidden(TimewireError):
    """The caller may not do this, or is not who it says it is."""

    status = 403


class NotFound(TimewireError):
    """What the request names does not exist."""

    status = 404


class Retryable(TimewireError):
    """Nothing happened; the same request may succeed later."""

    status = 503
    retry = True


class UnknownOutcome(TimewireError):
    """It may or may not have happened; repeat it with the same id to find out."""

    status = 504
    retry = True


class Damaged(TimewireError):
    """Stored data fails its checksum: the disk or a foreign program changed it."""


class Unusable(TimewireError):
    """Timewire cannot start or go on with this configuration or data directory."""


CODES: dict[str, tuple[type[TimewireError], str]] = {
    # frames and requests
    "bad_frame": (
        Invalid,
        "the frame is not valid JSON or MessagePack of a known shape; see docs/PROTOCOL.md",
    ),
    "unknown_type": (Invalid, "no such frame type; see docs/PROTOCOL.md for those there are"),
    "frame_too_large": (
        Invalid,
        "the frame is larger than the limit that `welcome` names; send less at once",
    ),
    "bad_id": (Invalid, "an id is 1 to 128 bytes of UTF-8 without control characters"),
    "bad_name": (
        Invalid,
        "a name is 1 to 128 bytes of UTF-8 without control characters, spaces, ':' or '/'",
    ),
    "bad_kind": (
        Invalid,
        "a message kind is 1 to 32 of a-z, 0-9, '.', '_', '-' and not one the server writes itself",
    ),
    "bad_body": (Invalid, "a body is a JSON object with the fields of its kind; see the reason"),
    "bad_emoji": (Invalid, "an emoji is 1 to 64 bytes of UTF-8 without control characters"),
    "bad_expiry": (Invalid, "`expires` is a time in ms that is yet to come"),
    "bad_target": (Invalid, "only what a user has sent can be changed, pinned or hidden"),
    "bad_scope": (Invalid, "a key has one or more of `scopes`"),
    "bad_limit": (Invalid, "the page limit is out of range; `welcome` names the largest"),
    "bad_query": (
        Invalid,
        "a search looks for a word or a field, within the limits of docs/SEARCH.md",
    ),
    "bad_times": (Invalid, "`since` and `until` are times in ms, and `since` is before `until`"),
    "too_broad": (
        Invalid,
        "too many words begin like the end of this phrase; write more of it, or leave it out",
    ),
    "bad_range": (Invalid, "give either `after` or `before`, each a SeqId of 0 or more"),
    "bad_page": (Invalid, "not a page token of this list; start again without one"),
    "body_too_large": (
        Invalid,
        "the body is larger than the limit that `welcome` names; store it elsewhere, send a link",
    ),
    "too_many_members": (
        Invalid,
        "more members than one request or one conversation may have; add them in steps",
    ),
    "too_many_mentions": (Invalid, "a message mentions fewer users; `*` means all members"),
    "too_many_edits": (Invalid, "this message was edited too often; recall it, send another"),
    "reaction_limit": (
        Invalid,
        "this message has as many reactions as it may have; take one back, or leave it",
    ),
    "list_full": (Invalid, "this list is as long as it may be; take something off it first"),
    "group_too_large": (Invalid, "who has read a message is told in smaller groups only"),
    "recalled": (Invalid, "this message was recalled, or has expired; nothing can be done to it"),
    "bad_link": (Invalid, "an invite link is named by the SHA-256 of its token, in hex"),
    "last_owner": (Invalid, "a group keeps an owner; appoint another one first"),
    "id_reused": (
        Invalid,
        "this id was used for another message; an id names one message for ever",
    ),
    "conversation_exists": (
        Invalid,
        "a conversation of this name exists; choose another name or join it",
    ),
    "not_a_group": (Invalid, "only groups have members that come and go"),
    "too_many_watched": (Invalid, "one connection can watch 500 users; watch those that are shown"),
    "not_hello": (Invalid, "the first frame must be `hello`"),
    "hello_twice": (
        Invalid,
        "this connection has said hello already; open another for another device",
    ),
    # who may
    "bad_token": (
        Forbidden,
        "the token is missing, malformed, or signed with another key; get a new one",
    ),
    "token_expired": (Forbidden, "the token has expired; get a new one"),
    "token_revoked": (Forbidden, "the token was revoked; get a new one"),
    "logged_out": (Forbidden, "this device was logged out; log in again"),
    "displaced": (
        Forbidden,
        "another device of the user has taken this one's place; log in again to take it back",
    ),
    "too_many_devices": (
        Forbidden,
        "the user has as many devices as may be connected; log out one of those in `devices`",
    ),
    "bad_device": (Forbidden, "the token is for another device"),
    "replaced": (
        Forbidden,
        "another connection has taken this device's name; give every device a name of its own",
    ),
    "bad_origin": (Forbidden, "this web origin may not connect; add it to `origins`"),
    "bad_admin_key": (Forbidden, "this call needs an admin key as a bearer token"),
    "missing_scope": (
        Forbidden,
        "this admin key may not do that: it lacks `scope`; see `timewire keys create`",
    ),
    "not_member": (Forbidden, "you are not a member of this conversation"),
    "not_admin": (Forbidden, "only owners and admins of the group may do this"),
    "not_owner": (Forbidden, "only owners of the group may do this"),
    "not_author": (Forbidden, "only who has sent a message may do this to it"),
    "too_late": (Forbidden, "a message can be changed for a limited time, and that is over"),
    "muted": (Forbidden, "you may not say anything here until the time in `until`"),
    "blocked": (Forbidden, "this user takes no messages from you"),
    "banned": (Forbidden, "these users may not be members; lift the ban first"),
    "link_expired": (Forbidden, "the time of this invite link is over; ask for another one"),
    "link_used_up": (
        Forbidden,
        "as many have come by this invite link as may; ask for another one",
    ),
    "refused": (Forbidden, "the product does not allow this message; see the reason"),
    # what is not there
    "unknown_device": (NotFound, "the user has no such device"),
    "unknown_conversation": (NotFound, "no such conversation; create it first"),
    "unknown_message": (NotFound, "no such message in this conversation that you may read"),
    "unknown_link": (NotFound, "no such invite link, or it was ended; ask for another one"),
    "unknown_member": (NotFound, "no such member in this conversation; add the user first"),
    "search_off": (NotFound, "this server does not search; set `search` to `on`"),
    "unknown_endpoint": (NotFound, "no such webhook endpoint; see `timewire webhooks list`"),
    "unknown_key": (NotFound, "no such admin key; see `timewire keys list`"),
    "unknown_path": (NotFound, "no such path; see /docs for those there are"),
    "wrong_method": (Invalid, "this path does not take this method; see /docs"),
    # media
    "media_too_large": (
        Invalid,
        "the file is larger than the server takes (`media_mb`); send less",
    ),
    "bad_media_type": (
        Invalid,
        "the server does not take this type, or the content is not of the type it is said to be",
    ),
    "unknown_media": (NotFound, "no such media, or none that you may see; upload it first"),
    "bad_media_range": (Invalid, "the range begins past the end of the file"),
    # later, perhaps
    "rate_limited": (
        Retryable,
        "more in a second than `scope` (a user, device, conversation or address) may; repeat after "
        "`retry_after` ms",
    ),
    "too_many_connections": (
        Retryable,
        "this address has as many connections as it may; close one, or come back later",
    ),
    "too_busy": (Retryable, "too many requests are waiting; repeat with a pause"),
    "out_of_turn": (
        Retryable,
        "an earlier command of this connection was refused for now; repeat that one first",
    ),
    "search_behind": (
        Retryable,
        "the search index has not come so far yet; repeat with a pause, or without `wait_for`",
    ),
    "hook_failed": (
        Retryable,
        "what checks messages before they are stored does not answer; repeat with a pause",
    ),
    "storage_unavailable": (
        Retryable,
        "the store cannot write now (disk full?); repeat later, reads go on",
    ),
    "cluster_unavailable": (
        Retryable,
        "the cluster cannot take this now (no leader, no quorum); repeat with a pause",
    ),
    "shutting_down": (Retryable, "the server is stopping; connect again and repeat"),
    "not_connected": (Retryable, "there is no connection now; repeat when there is one"),
    "outcome_unknown": (UnknownOutcome, "the store failed while writing; repeat with the same id"),
    "server_fault": (
        UnknownOutcome,
        "something failed inside the server, its log says what; repeat with the same id",
    ),
    # the Timeline library
    "bad_timeline": (
        Invalid,
        "a timeline's name is 1 to 512 bytes of UTF-8 without control characters",
    ),
    "bad_seq": (Invalid, "a SeqId is a whole number from 1 to 2**63 - 1"),
    "seq_regressed": (Invalid, "a new SeqId must be larger than the last of its timeline"),
    "seq_taken": (Invalid, "another entry has this SeqId"),
    "seq_mode": (
        Invalid,
        "a timeline's SeqIds are given by the store or by the caller, not by both in turn",
    ),
    "bad_key": (Invalid, "an idempotency key is 1 to 256 bytes"),
    "key_reused": (Invalid, "this key was used for another entry"),
    "payload_too_large": (Invalid, "the payload is larger than the store takes"),
    "batch_too_large": (Invalid, "too many entries in one append; cut it in pieces"),
    "damaged": (Damaged, "a stored entry fails its checksum; restore it from a backup"),
    # starting
    "directory_in_use": (
        Unusable,
        "another process has this data directory open; stop it or choose another",
    ),
    "directory_newer": (
        Unusable,
        "this data directory was written by a newer Timewire; upgrade this one",
    ),
    "directory_unusable": (Unusable, "the data directory cannot be opened; see the reason"),
    "address_unusable": (
        Unusable,
        "the address cannot be listened on; choose another port or host",
    ),
    "nats_unreachable": (
        Unusable,
        "no NATS server answers there, or it does not let us in; check `nats`, see the reason",
    ),
    "nats_unfit": (Unusable, "these NATS servers cannot carry a cluster; see the reason"),
    "no_cluster": (Unusable, "there is no cluster there; make one with `timewire cluster init`"),
    "cluster_differs": (Unusable, "the cluster is not as it should be; see the reason"),
    "cluster_newer": (Unusable, "this cluster was made by a newer Timewire; upgrade this one"),
    "wrong_store": (
        Unusable,
        "this store is another user's or another device's; every device needs one of its own",
    ),
    "bad_config": (
        Unusable,
        "a configuration key or value is not known; see docs/CONFIGURATION.md",
    ),
    "no_backup": (Unusable, "there is no backup in this directory"),
    "backup_damaged": (Damaged, "this backup is damaged; take another one"),
    "backup_running": (Unusable, "another backup of this data directory is under way"),
    "directory_not_empty": (
        Unusable,
        "what is restored or imported needs a directory that does not exist yet, or is empty",
    ),
    "cluster_not_empty": (
        Unusable,
        "an import needs a cluster that holds nothing else, and no worker; see docs/CLUSTER.md",
    ),
    "export_exists": (Unusable, "there is such a file; remove it, or name another one"),
    "export_incomplete": (
        Damaged,
        "this file is no whole export; run `timewire export` again, it goes on where it stopped",
    ),
    "export_newer": (Unusable, "this export was made by a newer Timewire; upgrade this one"),
    "bad_export": (
        Damaged,
        "a line of this export is not what it should be; export again, or mend that line",
    ),
    "closed": (Unusable, "the store is closed"),
}
"""code -> (class, the sentence that says what to do)."""


def error(code: str, message: str | None = None, **fields: Any) -> TimewireError:
    """The typed error of a code: ``raise error("not_member", conversation="team")``."""
    return CODES[code][0](code, message, **fields)
