"""What can be configured: every key, with its default and its meaning.

docs/CONFIGURATION.md is made from ``Config`` by scripts/configuration.py.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

MIN_SECRET_CHARS: Final = 32
MIN_KEYS_DAYS: Final = 30
ENVELOPE_BYTES: Final = 4096
"""What a frame may hold around a body: names, ids, the brackets."""

SECRETS: Final = frozenset({"secret", "admin_key", "webhook_secret"})
"""Keys whose values are never shown, and not taken from the command line, which others can see."""

Origins = tuple[Annotated[str, Meta(pattern=r"^(\*|https?://[^/\s,*]+)\Z")], ...]
Kinds = tuple[Annotated[str, Meta(pattern=r"^[a-z0-9._-]{1,32}\Z")], ...]
MediaTypes = tuple[Annotated[str, Meta(pattern=r"^(\*|[a-z0-9.+-]+)/(\*|[a-z0-9.+*-]+)\Z")], ...]
Urls = tuple[Annotated[str, Meta(pattern=r"^https?://[^\s,]+\Z")], ...]
WebhookEvents = tuple[Literal["message", "change", "offline"], ...]
Networks = tuple[Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?\Z")], ...]
_POLICY: Final = r"^(adaptive|write|read|[A-Za-z_][\w.]*:[A-Za-z_]\w*)\Z"
_SECRET: Final = rf"^\Z|^\S{{{MIN_SECRET_CHARS},}}\Z"


def _limit(description: str) -> Meta:
    """How many; 0: any number."""
    return Meta(ge=0, le=10_000_000_000, description=f"{description}; 0: any number.")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a server.  ``load`` checks their ranges; the constructor does not."""

    data: Annotated[
        str,
        Meta(min_length=1, description="Directory of everything that is kept; made when missing."),
    ] = "timewire-data"
    host: Annotated[
        str,
        Meta(min_length=1, description="Address to listen on; `0.0.0.0` for every IPv4 interface."),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Meta(ge=0, le=65535, description="TCP port for HTTP and WebSocket; 0 takes a free one."),
    ] = 7447

    nats: Annotated[
        str,
        Meta(
            pattern=r"^\Z|^(nats|tls|ws|wss)://\S+\Z",
            description="NATS servers of a cluster, separated by commas, such as "
            "`nats://a:4222,nats://b:4222`; see docs/CLUSTER.md. Empty: this process alone, with "
            "nothing else to run.",
        ),
    ] = ""

    durability: Annotated[
        Literal["always", "interval"],
        Meta(
            description="`always`: a send is acked once it is on stable storage. `interval`: it is "
            "acked at once, and a crash of the machine may lose the last `sync_interval_ms`."
        ),
    ] = "always"
    sync_interval_ms: Annotated[
        int,
        Meta(
            ge=1,
            le=60_000,
            description='With `durability = "interval"`: the longest time unsynced.',
        ),
    ] = 1000
    slow_commit_s: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="When a commit takes longer, new sends are refused until it is done.",
        ),
    ] = 2.0
    inbox_days: Annotated[
        float,
        Meta(
            gt=0,
            le=36_500,
            description="Life of inbox entries. A device that was away for longer starts again "
            "from history; messages themselves are kept for ever.",
        ),
    ] = 7.0
    keys_days: Annotated[
        float,
        Meta(
            ge=MIN_KEYS_DAYS,
            le=36_500,
            description="How long the id of a send is remembered: a repeat within this time is "
            "recognised. At least `inbox_days`.",
        ),
    ] = 30.0
    message_days: Annotated[
        float,
        Meta(
            ge=0,
            le=36_500,
            description="What was said longer ago is emptied, for ever; 0 keeps it. At least "
            "`inbox_days`.",
        ),
    ] = 0.0
    cache_mb: Annotated[
        int, Meta(ge=8, le=1_048_576, description="Memory for blocks read from the store, in MiB.")
    ] = 128

    fanout_policy: Annotated[
        str,
        Meta(
            pattern=_POLICY,
            description="Who chooses how messages reach devices that are not connected. `write`: "
            "into the inbox of each member; `read`: each sync reads the conversation; `adaptive`: "
            "what is cheaper, by size and load of the conversation; `module:function`: a policy of "
            "your own. See docs/FANOUT.md.",
        ),
    ] = "adaptive"
    write_members_max: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="`adaptive`: a group with more members is in mode `read` whatever its "
            "load, until it has shrunk by `fanout_hysteresis`.",
        ),
    ] = 2000
    read_members_min: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="`adaptive`: a group with fewer members is in mode `write` whatever its "
            "load; one that is in mode `read` only once it has shrunk by `fanout_hysteresis`.",
        ),
    ] = 100
    fanout_hysteresis: Annotated[
        float,
        Meta(
            ge=1,
            le=1000,
            description="`adaptive`: by how much the other mode must be cheaper for a change.",
        ),
    ] = 2.0
    fanout_dwell_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="`adaptive`: how long a mode is kept, and load observed, before a change.",
        ),
    ] = 300.0

    search: Annotated[
        Literal["on", "off"],
        Meta(description="Whether messages can be searched; the index is in `search` in `data`."),
    ] = "on"

    body_bytes: Annotated[
        int, Meta(ge=256, le=1_000_000, description="Largest message body, as JSON.")
    ] = 32_768
    frame_bytes: Annotated[
        int,
        Meta(
            ge=256 + ENVELOPE_BYTES,
            le=16_777_216,
            description=f"Largest frame from a client. At least `body_bytes` + {ENVELOPE_BYTES}.",
        ),
    ] = 65_536
    page_entries: Annotated[
        int, Meta(ge=1, le=1000, description="Most entries that one page may hold.")
    ] = 1000
    members: Annotated[
        int, Meta(ge=2, le=10_000_000, description="Most members that a group may have.")
    ] = 100_000
    edit_minutes: Annotated[
        float,
        Meta(
            ge=0,
            le=5_256_000,
            description="How long the author of a message may edit or recall it; 0: for ever. "
            "Owners and admins of a group may always recall.",
        ),
    ] = 0.0

    media_mb: Annotated[
        int, Meta(ge=1, le=1_048_576, description="Largest file that can be uploaded, in MiB.")
    ] = 100
    media_types: Annotated[
        MediaTypes,
        Meta(
            description="Types of files that can be uploaded, such as `image/*`; `*/*` for any. "
            "What an image is its content says."
        ),
    ] = ("*/*",)
    media_store: Annotated[
        str,
        Meta(
            pattern=r"^\Z|^[a-z][a-z0-9]*://\S*\Z",
            description="Where media are kept: `s3://bucket/folder` (with `timewire[s3]`; "
            "credentials and endpoint from `AWS_...` variables). Empty: `media` in the data "
            "directory.",
        ),
    ] = ""
    media_orphan_hours: Annotated[
        float,
        Meta(
            gt=0,
            le=876_000,
            description="How long a file is kept that no message refers to.",
        ),
    ] = 24.0

    sends_in_flight: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Sends of one connection that may wait for their acks."),
    ] = 1000
    sends_per_second: Annotated[
        int, _limit("Sends a second of one user, over all connections and HTTP together")
    ] = 5000
    frames_per_second: Annotated[
        int, _limit("Frames and HTTP requests a second of one user; more are read later")
    ] = 20_000
    bytes_per_second: Annotated[
        int, _limit("Bytes a second that one user may send, media apart; more are read later")
    ] = 0
    device_sends_per_second: Annotated[int, _limit("Sends a second of one device")] = 0
    device_frames_per_second: Annotated[int, _limit("Frames a second of one device")] = 0
    device_bytes_per_second: Annotated[int, _limit("Bytes a second of one device")] = 0
    conversation_sends_per_second: Annotated[
        int, _limit("Sends a second into one conversation, whoever makes them")
    ] = 0
    address_connections: Annotated[
        int, _limit("WebSocket connections of one address (IPv6: of a /64) at the same time")
    ] = 0
    address_sends_per_second: Annotated[int, _limit("Sends a second from one address")] = 0
    address_frames_per_second: Annotated[
        int, _limit("Frames and HTTP requests a second from one address")
    ] = 0
    address_bytes_per_second: Annotated[
        int, _limit("Bytes a second from one address, media apart")
    ] = 0
    trusted_proxies: Annotated[
        Networks,
        Meta(
            description="Addresses or networks of proxies, such as `127.0.0.1` or `10.0.0.0/8`: "
            "what they say in `X-Forwarded-For` is believed. Empty: nobody."
        ),
    ] = ()
    room_messages_per_second: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="Messages of one room that are pushed to everybody in a second, about what "
            "people can read; of more, some are left to history. 0: all.",
        ),
    ] = 20
    devices: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="Devices of one user that may be connected at the same time; 0: any "
            "number.",
        ),
    ] = 100
    devices_single: Annotated[
        Kinds,
        Meta(
            description="Kinds of devices of which a user may have one connected, such as `phone`; "
            "a device says its kind in `hello`."
        ),
    ] = ()
    devices_conflict: Annotated[
        Literal["replace", "refuse"],
        Meta(
            description="When there would be one too many: the oldest has to go (`replace`), or "
            "the new one may not come (`refuse`)."
        ),
    ] = "replace"
    outbox_bytes: Annotated[
        int,
        Meta(
            ge=4096,
            le=1_073_741_824,
            description="What may wait for a slow connection before it goes back to catching up. "
            "At least `frame_bytes`.",
        ),
    ] = 262_144
    hello_timeout_s: Annotated[
        float,
        Meta(gt=0, le=3600, description="A new connection must say hello within this time."),
    ] = 10.0
    silence_timeout_s: Annotated[
        float,
        Meta(
            gt=0, le=86_400, description="A connection that says nothing for this long is closed."
        ),
    ] = 90.0
    drain_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="On SIGTERM: how long work that was begun may take to finish.",
        ),
    ] = 5.0

    tls_cert: Annotated[
        str,
        Meta(
            description="File of the certificate (PEM, with its chain) for TLS on `port`. Empty: "
            "no TLS, which is then for a proxy to do."
        ),
    ] = ""
    tls_key: Annotated[
        str, Meta(description="File of the certificate's key (PEM, without a passphrase).")
    ] = ""
    mode: Annotated[
        Literal["production", "development"],
        Meta(
            description="`development`: the web client offers demo accounts, which need no token. "
            "Only with a `host` of this machine alone, such as `127.0.0.1`."
        ),
    ] = "production"
    origins: Annotated[
        Origins,
        Meta(
            description="Web origins that may connect, such as `https://chat.example.com`; `*` for "
            "any. Empty: only pages from the server's own host."
        ),
    ] = ()
    secret: Annotated[
        str,
        Meta(
            pattern=_SECRET,
            description=f"Key that signs tokens (HS256), {MIN_SECRET_CHARS} characters or more. "
            "Empty: one is made and kept in the data directory, in `secret`.",
        ),
    ] = ""
    token_keys: Annotated[
        str,
        Meta(
            description="A file with further keys that may sign tokens (HS256, EdDSA): a JWK Set, "
            "read again when it changes. See SECURITY.md."
        ),
    ] = ""
    audience: Annotated[
        str,
        Meta(
            max_length=300,
            description="What tokens must be for (`aud`). Empty: tokens that name nothing.",
        ),
    ] = ""
    admin_key: Annotated[
        str,
        Meta(
            pattern=_SECRET,
            description=f"Bearer key of the admin API, {MIN_SECRET_CHARS} characters or more. "
            "Empty: one is made and kept in the data directory, in `admin-key`.",
        ),
    ] = ""

    webhooks: Annotated[
        Urls,
        Meta(
            description="Addresses that are told what happens, such as "
            "`https://app.example.com/timewire`; see docs/WEBHOOKS.md."
        ),
    ] = ()
    webhook_events: Annotated[
        WebhookEvents,
        Meta(
            description="What they are told: `message` what is said, `change` what happens to "
            "messages, groups and members, `offline` for whom a push notification is due."
        ),
    ] = ("message", "offline")
    webhook_secret: Annotated[
        str,
        Meta(
            pattern=r"^\Z|^whsec_\S+( whsec_\S+)*\Z",
            description="What signs the requests: `whsec_` and base64 of 24 bytes or more; several "
            "with spaces between. Empty: one is made and kept in the data directory, in "
            "`webhook-key`; `timewire webhooks secret` shows it.",
        ),
    ] = ""
    webhook_attempts: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="How often an event is tried before it is parked; the pauses grow from "
            "half a second to five minutes.",
        ),
    ] = 12
    webhook_timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="An endpoint must have answered within this time.")
    ] = 10.0
    webhooks_per_second: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Most requests a second to one endpoint. What is more waits in the log.",
        ),
    ] = 500

    before_send: Annotated[
        str,
        Meta(
            pattern=r"^\Z|^https?://\S+\Z|^[\w.]+:\w+\Z",
            description="What is asked before a message or an edit is stored: an address, or a "
            "Python function as `package.module:function`; see docs/WEBHOOKS.md. Empty: nothing.",
        ),
    ] = ""
    before_send_timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="It must have answered within this time.")
    ] = 2.0
    before_send_failure: Annotated[
        Literal["refuse", "allow"],
        Meta(
            description="When it does not: `refuse` the message for now, so that devices repeat "
            "it, or `allow` it as it is."
        ),
    ] = "refuse"

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="How much is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["console", "json"],
        Meta(description="`console` for people, `json` (one object a line) for machines."),
    ] = "console"

    def __repr__(self) -> str:
        """Without the secrets, so that a log line may hold it."""
        shown = (f"{key}={getattr(self, key)!r}" for key in KEYS if key not in SECRETS)
        return f"Config({', '.join(shown)})"


_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(Config)}
KEYS: Final = tuple(_FIELDS)
"""The names of all keys, in the order of the documentation."""

SECTIONS: Final = {
    "data": "Where",
    "durability": "Storing",
    "fanout_policy": "Fan-out",
    "body_bytes": "Sizes",
    "media_mb": "Media",
    "sends_in_flight": "Limits",
    "devices": "Connections",
    "tls_cert": "Access",
    "webhooks": "Webhooks",
    "log_level": "Logs",
}
"""The first key of each section of the documentation -> the section's heading."""
