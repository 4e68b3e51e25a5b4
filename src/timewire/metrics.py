"""What operators watch, in Prometheus' words.  Every bound has its gauge or counter here."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

ACKS: Final = Counter("timewire_acks", "Requests answered after their durable commit")
REFUSALS: Final = Counter("timewire_refusals", "Requests refused, by error code", ["code"])
LIMITED: Final = Counter(
    "timewire_limited", "What went beyond a limit, by its scope and kind", ["scope", "what"]
)
RATES_KEPT: Final = Gauge(
    "timewire_rates_kept", "Names whose limits are being counted, by scope", ["scope"]
)
SEND_QUEUE: Final = Gauge("timewire_send_queue_requests", "Requests waiting for the sequencer")
COMMITTING: Final = Gauge("timewire_committing_requests", "Requests waiting for the disk")
OVERLOADED: Final = Gauge(
    "timewire_overloaded", "1 while new sends are refused early, by the last one that came"
)
LOG_HEAD: Final = Gauge("timewire_log_head_seq", "SeqId of the newest durable message")
COMMIT_SECONDS: Final = Histogram(
    "timewire_commit_seconds",
    "From staging to stable storage",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
DELIVERY_SECONDS: Final = Histogram(
    "timewire_delivery_seconds",
    "From the time of a message to its push, one for each batch that is pushed",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 60),
)
FANOUT_POSITION: Final = Gauge("timewire_fanout_position_seq", "SeqId up to which inboxes are full")
FANOUT_MESSAGES: Final = Counter(
    "timewire_fanout_messages", "Messages fanned out, by mode of their conversation", ["mode"]
)
FANOUT_REFS: Final = Counter("timewire_fanout_refs", "Inbox entries written")
ROOM_SAMPLED: Final = Counter(
    "timewire_room_sampled", "Messages of rooms that were pushed only to those they are about"
)
SYNC_READS: Final = Counter(
    "timewire_sync_reads",
    "Timelines read by syncs: inboxes (write), conversations (read)",
    ["mode"],
)
SYNC_MESSAGES: Final = Counter(
    "timewire_sync_messages", "Messages in the pages of syncs, by mode", ["mode"]
)
MODE_CHANGES: Final = Counter(
    "timewire_mode_changes", "Conversations that were given another mode, by the new one", ["mode"]
)
CONNECTIONS: Final = Gauge("timewire_connections", "Open WebSocket connections")
LOGINS_ENDED: Final = Counter(
    "timewire_logins_ended", "Connections ended by a rule or a revocation, by close code", ["code"]
)
PUSHES: Final = Counter("timewire_pushes", "Push frames handed to connections")
PAGES: Final = Counter("timewire_pages", "Catch-up pages sent")
BEHIND: Final = Counter("timewire_behind", "Connections that read too slowly for pushes")
RESETS: Final = Counter(
    "timewire_resets", "Cursors that could not be served, by reason", ["reason"]
)
SIGNALS: Final = Counter("timewire_signals", "Signals handed to connections, by kind", ["kind"])
SIGNALS_DROPPED: Final = Counter(
    "timewire_signals_dropped", "Signals that were let go, by reason", ["reason"]
)
WATCHED: Final = Gauge("timewire_watched_users", "Users whose presence somebody watches")
MEDIA_IN: Final = Counter("timewire_media_received_bytes", "Bytes of media uploaded")
MEDIA_OUT: Final = Counter("timewire_media_sent_bytes", "Bytes of media downloaded")
MEDIA_SWEPT: Final = Counter("timewire_media_swept", "Media removed that nothing referred to")
POLLS: Final = Gauge("timewire_polls", "Long polls under way over HTTP")
HTTP_REQUESTS: Final = Counter(
    "timewire_http_requests", "HTTP requests answered, by route and status", ["route", "status"]
)
INDEX_POSITION: Final = Gauge("timewire_search_position_seq", "SeqId up to which all can be found")
INDEX_LAG: Final = Gauge("timewire_search_lag_messages", "Messages that cannot be found yet")
INDEX_DOCUMENTS: Final = Counter("timewire_search_documents", "Messages put into the search index")
INDEX_UNREADABLE: Final = Counter(
    "timewire_search_unreadable", "Messages that the search index could not read"
)
SEARCHES: Final = Counter("timewire_searches", "Searches answered, by order", ["order"])
SEARCH_SECONDS: Final = Histogram(
    "timewire_search_seconds",
    "From question to answer, without waiting for the index",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
LOG_DAMAGED: Final = Counter(
    "timewire_log_damaged_messages", "Messages that were found to fail their checksums"
)
BEFORE_SEND: Final = Counter(
    "timewire_before_send", "Messages that the before-send hook was asked about", ["outcome"]
)
BEFORE_SEND_SECONDS: Final = Histogram(
    "timewire_before_send_seconds",
    "From question to answer of the before-send hook",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
WEBHOOK_REQUESTS: Final = Counter(
    "timewire_webhook_requests", "Requests to webhook endpoints, and parked events", ["outcome"]
)
WEBHOOK_LAG: Final = Gauge(
    "timewire_webhook_lag_messages", "Messages that an endpoint has not been told", ["endpoint"]
)
WEBHOOK_PARKED: Final = Gauge(
    "timewire_webhook_parked_events", "Events that an endpoint would not take", ["endpoint"]
)
RETENTION_POSITION: Final = Gauge(
    "timewire_retention_position_seq", "SeqId up to which all was looked at for being too old"
)
RETENTION_MESSAGES: Final = Counter(
    "timewire_retention_messages", "Messages emptied because they were too old"
)


def total(metric: Counter | Histogram, of: str = "total") -> float:
    """What has been counted over all labels; of a histogram ``count`` or ``sum``."""
    samples = (sample for family in metric.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name.endswith(f"_{of}"))
