"""The commands of a user's device: what they take, and what they print."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from timewire import showing
from timewire.auth import find_secret, mint
from timewire.errors import error
from timewire.model import GroupKind, Message
from timewire.settings import load

if TYPE_CHECKING:
    from timewire.client import Client

DEFAULT_URL: Final = "http://127.0.0.1:7447"
DAY_S: Final = 24 * 3600
CONNECT_TIMEOUT_S: Final = 10.0

# What several commands take ---------------------------------------------------------------------

_SERVER: Final = "Server and user"
Url = Annotated[
    str,
    typer.Option("--url", envvar="TIMEWIRE_URL", help="The server.", rich_help_panel=_SERVER),
]
Token = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="TIMEWIRE_TOKEN",
        help="Who you are; see `timewire token`.",
        rich_help_panel=_SERVER,
        show_default=False,
    ),
]
User = Annotated[
    str,
    typer.Option(
        "--user",
        envvar="TIMEWIRE_USER",
        help="Instead of a token: be this user, by the secret in the data directory.",
        rich_help_panel=_SERVER,
        show_default=False,
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="The server's data directory; else the configured one.",
        rich_help_panel=_SERVER,
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Where = Annotated[
    str, typer.Argument(help="A group's name, or `@bob` for the direct conversation with bob.")
]


def config_file() -> str | None:
    """The settings file that the environment names."""
    return os.environ.get("TIMEWIRE_CONFIG") or None


def local_token(user: str, data: str, device: str | None = None, days: float = 30) -> str:
    """A token made with the secret of a data directory (empty: the configured one)."""
    config = load({"data": data or None}, os.environ, config_file())
    secret = find_secret(config, Path(config.data))
    return mint(secret, user, device, life_s=int(days * DAY_S), audience=config.audience)


def _token(token: str, user: str, data: str) -> str:
    if not token and not user:
        raise typer.BadParameter(
            "who are you? Give --token (or TIMEWIRE_TOKEN), or --user on the server's own machine"
        )
    return token or local_token(user, data)


def _connect(command: str, url: str, token: str, store: str = "") -> Client:
    """A device of the user.  Each command has its own, so that none drives out another."""
    from timewire.client import connect

    return connect(
        url,
        token,
        device=f"cli-{command}",
        store=store or None,
        timeout_s=CONNECT_TIMEOUT_S,
    )


def device(command: str, url: str, token: str, user: str, data: str) -> Client:
    """A device for one command of whoever the options name."""
    return _connect(command, url, _token(token, user, data))


def say(line: str) -> None:
    """Print a line, at once: somebody may be waiting for it at the other end of a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _warn(line: str) -> None:
    sys.stderr.write(showing.printable(line) + "\n")


def to_json(value: Any) -> str:
    """A value as JSON, on one line."""
    return msgspec.json.encode(value).decode()


# The commands ----------------------------------------------------------------------------------


def send(
    conversation: Where,
    text: Annotated[str, typer.Argument(help="What to say; `-` sends each line of stdin.")],
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    user: User = "",
    data: Data = "",
    kind: Annotated[str, typer.Option(help="The message's kind.")] = "text",
    body: Annotated[bool, typer.Option("--body", help="TEXT is the body, a JSON object.")] = False,
    id: Annotated[
        str, typer.Option(help="The message's id: sent twice with it, it is there once.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Send a message, and say so once it is on stable storage.

    ```
    timewire send team "Hello" --user alice
    timewire send @bob "Hello" --user alice
    timewire send team --kind image --body '{"url": "https://…"}'
    tail -f log | timewire send ops -
    ```
    """

    async def work() -> None:
        async with _connect("send", url, _token(token, user, data)) as me:
            name = showing.resolve(conversation, me.user)
            async for line in _lines() if text == "-" else _only(text):
                said = _body(line) if body else line
                sent = await me.send(name, said, kind=kind, id=id or None)
                say(to_json(sent) if as_json else str(sent.seq))

    asyncio.run(work())


def tail(
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    user: User = "",
    data: Data = "",
    store: Annotated[
        str,
        typer.Option(
            help="A file that remembers the place: next time, what was missed comes first."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Follow everything that a user receives, one message a line, until Ctrl-C.

    ```
    timewire tail --user alice
    timewire tail --user alice --store alice.db
    timewire tail --user alice --json | jq .body
    ```
    """
    from timewire.client import Disconnected, Live, Received, Reset

    show = _shower(as_json)

    async def work() -> None:
        async with _connect("tail", url, _token(token, user, data), store) as me:
            async for event in me.events():
                if isinstance(event, Received):
                    show(event.message, me.user)
                elif isinstance(event, Reset):
                    _warn("away for too long: there may be a gap here; see `timewire history`")
                elif isinstance(event, Live):
                    _warn(f"live as {me.user}")
                elif isinstance(event, Disconnected):
                    _warn(f"no connection: {event.reason}")

    asyncio.run(work())


def history(
    conversation: Where,
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    user: User = "",
    data: Data = "",
    before: Annotated[int | None, typer.Option(min=0, help="Only below this SeqId.")] = None,
    after: Annotated[int | None, typer.Option(min=0, help="Only past this SeqId.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many messages.")] = 50,
    as_json: Json = False,
) -> None:
    """Print messages of a conversation, oldest first: the newest ones unless told otherwise.

    ```
    timewire history team --user alice
    timewire history @bob --limit 1000 --json
    timewire history team --after 0 --limit 100000 --json > team.jsonl
    ```
    """
    show = _shower(as_json)

    async def work() -> None:
        async with _connect("history", url, _token(token, user, data)) as me:
            name = showing.resolve(conversation, me.user)
            if after is None:
                newest = [one async for one in _first(limit, me.scroll(name, before=before))]
                for message in reversed(newest):
                    show(message, me.user)
                return
            async for message in _first(limit, me.scroll(name, after=after)):
                if before is not None and message.seq >= before:
                    return
                show(message, me.user)

    asyncio.run(work())


def create(
    conversation: Annotated[str, typer.Argument(help="The group's name.")],
    members: Annotated[list[str] | None, typer.Argument(help="Who else is in it.")] = None,
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    user: User = "",
    data: Data = "",
    title: Annotated[str, typer.Option(help="A title to show.")] = "",
    kind: Annotated[
        GroupKind, typer.Option(help="Members talk; live comments; or only owners post.")
    ] = "group",
) -> None:
    """Make a group, a room or a channel with its first members.

    ```
    timewire create team bob carol --user alice
    timewire create team bob carol --user alice --title "The team"
    ```
    """

    async def work() -> None:
        async with _connect("create", url, _token(token, user, data)) as me:
            made = await me.create(conversation, members or [], title=title, kind=kind)
            say(str(made.seq))

    asyncio.run(work())


def chat(
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    user: User = "",
    data: Data = "",
    store: Annotated[
        str, typer.Option(help="A file that keeps messages, and what could not be sent yet.")
    ] = "",
) -> None:
    """Chat in this terminal.  `/help` shows the commands.

    ```
    timewire chat --user alice
    timewire chat --user alice --store alice.db --url https://chat.example.com
    ```
    """

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        _warn("error: chat needs a terminal; in a script, use `send` and `tail`")
        raise typer.Exit(1)

    async def work() -> None:
        from timewire.terminal import Screen

        async with _connect("chat", url, _token(token, user, data), store) as me:
            await Screen(me).run()

    asyncio.run(work())


# Their parts -----------------------------------------------------------------------------------


async def _lines() -> AsyncIterator[str]:
    """The lines of stdin; other work goes on while the next one is waited for."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line.rstrip("\r\n")


async def _only(text: str) -> AsyncIterator[str]:
    yield text


def _body(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as problem:
        raise error("bad_body", reason=str(problem)) from None


def _shower(as_json: bool) -> Callable[[Message, str], None]:
    """Prints a message for its reader."""
    if as_json:
        return lambda message, user: say(to_json(message))
    return lambda message, user: say(showing.line(message, user))


async def _first(limit: int, messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for message in messages:
        yield message
        limit -= 1
        if not limit:
            return
