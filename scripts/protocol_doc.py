"""Make docs/PROTOCOL.md from `timewire.protocol` and `timewire.errors`; `--print` only shows it."""

import inspect
import re
import sys
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from timewire.errors import CODES, TimewireError
from timewire.kinds import SCHEMAS
from timewire.model import Forward
from timewire.protocol import (
    SUBPROTOCOLS,
    VERSION,
    ClientFrame,
    CloseCode,
    ConversationState,
    Cursor,
    Limits,
    ServerFrame,
    advice,
)

TARGET = Path(__file__).resolve().parent.parent / "docs" / "PROTOCOL.md"

HEAD = f"""\
# The protocol

Version {VERSION}. One WebSocket a device, at `/v1/ws`; frames are JSON objects in text messages
(subprotocol `{SUBPROTOCOLS[0]}`, also without one) or the same objects as MessagePack in binary
messages (`{SUBPROTOCOLS[1]}`). Unknown keys are ignored, on both sides, but for `search`. A key
with its default value may be left out.

## A connection's life

```
device                                      server
  hello {{token, device, cursor?}}  ──────>
                                   <──────  welcome {{user, base, pos, limits}}
                                   <──────  page {{messages, pos}}     while something is missing
  credit {{pages: 1}}               ──────>                           one a page, when it is stored
                                   <──────  live {{pos}}               nothing is missing
                                   <──────  push {{pos, message}}      every new message, in order
  send {{id, to, body}}             ──────>
                                   <──────  ack {{id, seq, time}}      it is on stable storage
```

**The cursor.** `{{base, pos}}`, both opaque. `base` comes with `welcome` (and `reset`), `pos` with
every frame that moves the device on: `page`, `live`, `push`, `at`, `reset`. Store `pos` in the same
transaction as the messages of its frame, and give both back in the next `hello`. Nothing else
moves a cursor: not an ack, not history.

**A new device** says hello without a cursor. It is live at once, from the head: it asks for
`conversations` and reads `history` as it needs, instead of replaying what happened.

**Falling behind.** A device that reads too slowly is not buffered without limit: it gets `behind`,
then pages again, then `live`. Nothing is lost by it.

**Reset.** A cursor that cannot be served (`garbage`, `other_user`, `other_log`, `future`,
`expired`) is answered with `reset`, never with a short list. Keep the messages you have, take the
new cursor, ask for `conversations`, and fill in with `history` from what you last had of each: what
you have missed may also say what has become of messages that you have.

**Sending.** Choose an `id` for each message, unique for its user: a UUID, or the device's name and
a counter. Until the ack has come, repeat the same frame with the same `id`, on this connection or
the next: there will be one message, and every ack names the same `seq`. Ids are remembered for
`keys_days` (30 at least). The connection that sent a message is not pushed it: the ack tells its
place. All other devices of the sender are. When a send is refused for now (`retry`), repeat it
first: until then, for ten seconds at most, later sends of the connection are refused with
`out_of_turn`, so that none overtakes it.
When `fields` has `retry_after`, wait so many ms before.

**Limits.** `welcome` says what this device may do in a second. A send beyond it is refused with
`rate_limited`, `retry_after` and `scope`: whose limit it was. Frames and bytes beyond it are not
refused: the server reads on later, and so the device's own network slows it down.

**Order.** `seq` orders a conversation, the same for all readers. It grows, with holes. Sends of one
connection keep their order. When an ack came before another send began, its message is before.

**Messages.** `{{conversation, seq, time, from, id, kind, body, sent}}`: `time` is the server's (ms
since 1970), `sent` the device's own logical time. A message that answers another one has `reply`,
one that speaks to members `mentions` (`*`: all), one that is passed on `forward`, one with a
limited life `expires`. A message whose content is gone has only its place and time left.

**Kinds.** Bodies of `text`, `image`, `file`, `audio`, `video` and `location` are checked, see
*Bodies* below; they may have more keys. Other kinds are yours, with any body, but for those that
only the server writes: what these say has happened, to everybody at the same place in the order.

| kind | body | what it says |
|---|---|---|
| `created` | `{{kind, members, title?, history?, invite?}}` | it begins; the sender owns a group |
| `members` | `{{joined, left, link?}}` | the first message of some, the last of others, by a link |
| `updated` | `{{title?, history?, invite?}}` | new title or settings of a group |
| `role` | `{{user, role}}` | a member is `owner`, `admin` or `member` now |
| `banned` | `{{users, on}}` | they have left and cannot be added, or can be again |
| `muted` | `{{user, until}}` | a member may not say anything until a time; 0 lifts it |
| `linked` | `{{link, role, uses, expires}}` | there is an invite link |
| `unlinked` | `{{link}}` | nobody comes by it any more |
| `edited` | `{{seq, body}}` | a message says something else now |
| `recalled` | `{{seq}}` | what a message said is gone, and what its edits said |
| `reaction` | `{{seq, emoji, on}}` | the sender has put an emoji to a message, or taken it back |
| `pinned` | `{{seq, on}}` | a message is kept in sight, or no longer |
| `read` | `{{conversation, seq}}` | in one's own `self:` conversation: read up to there |
| `hidden` | `{{conversation, seq}}` | there too: one does not want to see a message any more |
| `settings` | `{{presence}}` | there too: who may see whether one is online |
| `blocked` | `{{user, on}}` | there too: one takes no messages from a user, or does again |

**Changed messages.** The server changes the message itself, so history and a late sync show how it
is now, and tells those who have it already by one more message. `version` is the SeqId of the
newest change that a message shows, `edits` those of its edits, `edited` the time of the last one,
`reactions` who has put which emoji to it. So a device applies a change to what it has when the
change's `seq` is larger than the message's `version` was when it came, in the order of `seq`: of
two edits, and of a user's reactions with one emoji, the last one holds. What is recalled never
comes back. Who is no member is not told: who has left is not shown reactions made since, and of a
message edited since only its place; who comes back reads again what stands before.

**Media.** Files are uploaded over HTTP and named by the SHA-256 of their content. A message refers
to them by `media` in its body: one name, or a list of at most 32. Its sender has to be able to see
them; then whoever can read the message can get them. See [MEDIA.md](MEDIA.md).

**Conversations.** `direct:alice:bob` (names sorted) comes into being by its first message, and
`self:alice` likewise; any other name is a group that somebody creates. Members get what is said
from the message of their joining to that of their leaving, both included, by push, sync and
history alike. With `history: "all"` members can also read in history what was said before.

**Rights.** Who makes a group owns it. Owners give roles; owners and admins remove, ban and mute
members, change settings, pin, and recall what others said; admins cannot do that to owners and
admins. Members add others, unless `invite` is `admins`. The last owner cannot leave others behind.

**Invite links.** An owner or admin chooses a token, 128 bits of chance, and tells the server its
SHA-256, which names the link (`link`). Who has the token can `join` with it, also where only admins
add members; banned users cannot. The token is in no message and no log: only whoever the maker of
the link gives it has it, as `https://chat.example/#team/TOKEN`, for instance.

**Searching.** `search` finds messages by words and fields, within the same windows as history;
[SEARCH.md](SEARCH.md) says what to write and what is found.

**Signals.** `typing` and `presence` are pushed to who is live and never stored. They have no
place in the order, move no cursor, and are the first to be let go: when they come too fast (one
typing in two seconds from a device in a conversation, ten a second in a conversation), in a
conversation of more than 200 members (typing), or when a quarter of `outbox_bytes` waits for the
receiver. `watch` names whose presence one wants to see; it holds for the connection. One sees who
shares a conversation with one, does not block one, and has not set `presence` to `nobody`; all
others are offline. A change is told when it has lasted: a device that is back within five seconds
was never gone.

**Keeping alive.** Say something (`ping` will do) or answer WebSocket pings: a connection that is
silent for `silence_timeout_s` is closed. A quiet device is told `at` now and then, so that its
cursor does not grow old.
"""


def main() -> None:
    text = document()
    if "--print" in sys.argv[1:]:
        sys.stdout.write(text)
    else:
        TARGET.write_text(text, encoding="utf-8")


def document() -> str:
    lines = [HEAD]
    lines += ["## Frames from the device", ""]
    for frame in get_args(ClientFrame):
        lines += struct(frame)
    lines += ["## Frames from the server", ""]
    for frame in get_args(ServerFrame):
        lines += struct(frame)
    lines += ["## Parts of frames", ""]
    for part in (Cursor, Limits, Forward, ConversationState):
        lines += struct(part)
    lines += ["## Bodies", ""]
    for name, body in SCHEMAS.items():
        lines += struct(body, f"`{name}`")
    return "\n".join(lines + closing() + errors())


def struct(frame: type[msgspec.Struct], title: str = "") -> list[str]:
    """A heading, the docstring, and a table of the fields of one struct."""
    tag = frame.__struct_config__.tag
    title = title or (f"`{tag}`" if tag else frame.__name__)
    lines = [f"### {title}", "", prose(frame), ""]
    fields = msgspec.structs.fields(frame)
    if fields:
        lines += ["| field | type | default |", "|---|---|---|"]
        lines += [f"| `{f.encode_name}` | {kind(f.type)} | {default(f)} |" for f in fields]
        lines.append("")
    return lines


def prose(frame: type) -> str:
    return re.sub(r"``", "`", inspect.cleandoc(frame.__doc__ or ""))


def kind(annotation: Any) -> str:
    """A field's type in JSON's words."""
    if get_origin(annotation) is Annotated:
        annotation, meta = get_args(annotation)
        if meta.max_length is not None:
            return f"{kind(annotation)}, {meta.min_length} to {meta.max_length} characters"
        return f"{kind(annotation)}, {meta.ge} to {meta.le}"
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        msgspec.Raw: "message",
    }
    if annotation in names:
        return names[annotation]
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return f"{annotation.__name__}"
    parts = get_args(annotation)
    if getattr(annotation, "__origin__", None) is list:
        return f"list of {kind(parts[0])}"
    if getattr(annotation, "__origin__", None) is dict:
        return "object"
    if type(None) in parts:
        return " or ".join([*(kind(p) for p in parts if p is not type(None)), "null"])
    return ", ".join(f'`"{part}"`' for part in parts)


def default(field: Any) -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default).decode()}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    return "required"


def closing() -> list[str]:
    advices = {
        "reconnect": "come back, with a pause that grows and varies",
        "renew": "come back with another token",
        "stop": "do not come back by yourself",
    }
    rows = [f"| {c.value} | `{c.name.lower()}` | {advices[advice(c.value)]} |" for c in CloseCode]
    return [
        "## Close codes",
        "",
        "40xx: come back. 41xx: come back with another token. 42xx: do not come back. WebSocket's",
        "own codes (1xxx) and a broken connection: come back; 1009 means a message beyond 1 MiB.",
        "The reason is the name; after that of 4000 may stand a number: how many milliseconds to",
        "stay away, which is another one for each device, so that not all come back at once.",
        "",
        "| code | name | the device should |",
        "|---|---|---|",
        *rows,
        "",
    ]


def errors() -> list[str]:
    lines = [
        "## Errors",
        "",
        "An `error` frame, and the body of a failed HTTP call, carry `code` (stable), `message`",
        "(what to do), `retry` and `fields` (facts). The class says what to do in general.",
        "",
    ]
    for kind in TimewireError.__subclasses__():
        codes = {code: text for code, (of, text) in CODES.items() if of is kind}
        lines += [f"### {kind.__name__}", "", f"{prose(kind)} HTTP {kind.status}.", ""]
        lines += ["| code | what to do |", "|---|---|"]
        lines += [f"| `{code}` | {text} |" for code, text in codes.items()]
        lines.append("")
    return lines


if __name__ == "__main__":
    main()
