"""Make docs/PROTOCOL.md from `timewire.protocol` and `timewire.errors`; `--print` only shows it."""

import inspect
import re
import sys
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from timewire.errors import CODES, TimewireError
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
new cursor, ask for `conversations`, and fill in with `history` from what you last had of each.

**Sending.** Choose an `id` for each message, unique for its user: a UUID, or the device's name and
a counter. Until the ack has come, repeat the same frame with the same `id`, on this connection or
the next: there will be one message, and every ack names the same `seq`. Ids are remembered for
`keys_days` (30 at least). The connection that sent a message is not pushed it: the ack tells its
place. All other devices of the sender are. When a send is refused for now (`retry`), repeat it
first: until then, for ten seconds at most, later sends of the connection are refused with
`out_of_turn`, so that none overtakes it.

**Order.** `seq` orders a conversation, the same for all readers. It grows, with holes. Sends of one
connection keep their order. When an ack came before another send began, its message is before.

**Messages.** `{{conversation, seq, time, from, id, kind, body, sent}}`: `time` is the server's (ms
since 1970), `sent` the device's own logical time. Kinds are yours, but for those that the server
writes: `created` (body `{{kind, members, title}}`), `members` (body `{{joined, left}}`) and `read`
(body `{{conversation, seq}}`, in one's own `self:` conversation, so that all of one's devices
agree). A message whose content was removed has only its place and time left.

**Conversations.** `direct:alice:bob` (names sorted) comes into being by its first message, and
`self:alice` likewise; any other name is a group that somebody creates. Members get what is said
from the message of their joining to that of their leaving, both included, by push, sync and
history alike.

**Searching.** `search` finds messages by words and fields, within the same windows as history;
[SEARCH.md](SEARCH.md) says what to write and what is found.

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
    for part in (Cursor, Limits, ConversationState):
        lines += struct(part)
    return "\n".join(lines + closing() + errors())


def struct(frame: type[msgspec.Struct]) -> list[str]:
    """A heading, the docstring, and a table of the fields of one struct."""
    tag = frame.__struct_config__.tag
    lines = [f"### `{tag}`" if tag else f"### {frame.__name__}", "", prose(frame), ""]
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
        return f"{kind(annotation)}, {meta.ge} to {meta.le}"
    names = {str: "text", int: "whole number", bool: "true or false", msgspec.Raw: "message"}
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
