"""The command line: arguments and what is printed; the work is done elsewhere.

Exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration, 130 interrupted.
"""

from __future__ import annotations

import inspect as signatures
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from timewire import (
    checking,
    clustered,
    granting,
    hooks,
    keeping,
    moving,
    people,
    remote,
    searching,
    showing,
)
from timewire.config import SECRETS, SECTIONS, Config
from timewire.errors import TimewireError
from timewire.settings import load

if TYPE_CHECKING:
    from timewire.library import Amplification, Inspection
    from timewire.server import Server

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_AMPLIFICATION: Final = "amplification"

out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(highlight=False, soft_wrap=True, stderr=True)


class _Commands(TyperGroup):
    """Turns every expected failure into one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TimewireError as fault:
            path, reason = fault.fields.get("path"), fault.fields.get("reason")
            told = f"{path}: {fault.message}" if path else fault.message
            _complain(f"{told} ({reason})" if reason else told)
            raise typer.Exit(EXIT_USAGE if fault.code == "bad_config" else EXIT_REFUSED) from None
        except BrokenPipeError:
            # Whoever reads what we print may stop at any time.  Python flushes stdout once more
            # at exit, and would complain then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit from None
        except OSError as fault:
            _complain(str(fault))
            raise typer.Exit(EXIT_REFUSED) from None
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _complain(what: str) -> None:
    err.print("[bold red]error:[/]", end=" ")
    err.print(showing.printable(what), markup=False)


app = typer.Typer(
    cls=_Commands,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Timewire: messages that are stored first and synced to every device.",
)


def main() -> None:
    """Run the command line."""
    app()


# The server --------------------------------------------------------------------------------------


def _with_config_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting that may stand on the command line.

    The values reach it as ``flags``, unchecked: ``config.load`` knows the rules.
    """
    parameters = [
        parameter
        for parameter in signatures.signature(command, eval_str=True).parameters.values()
        if parameter.name != "flags"
    ]
    own = {parameter.name for parameter in parameters}
    section = ""
    for field in msgspec.structs.fields(Config):
        section = SECTIONS.get(field.name, section)
        if field.name not in SECRETS:
            parameters.append(_flag(field, section))

    def with_flags(**values: Any) -> None:
        flags = {key: value for key, value in values.items() if key not in own}
        command(**{key: values[key] for key in own}, flags=flags)

    with_flags.__name__, with_flags.__doc__ = command.__name__, command.__doc__
    with_flags.__signature__ = signatures.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    with_flags.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_flags


def _flag(field: msgspec.structs.FieldInfo, section: str) -> signatures.Parameter:
    plain, meta = get_args(field.type)
    default = field.default
    shown = f"{default:g}" if isinstance(default, float) else str(default or "")
    option = typer.Option(
        "--" + field.name.replace("_", "-"),
        help=f"{meta.description} Default: `{shown}`." if shown else meta.description,
        rich_help_panel=section,
        metavar={int: "N", float: "N"}.get(plain, "TEXT"),
        show_default=False,
    )
    kind = list[str] if isinstance(default, tuple) else str
    return signatures.Parameter(
        field.name,
        signatures.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


@app.command()
@_with_config_flags
def serve(
    *,
    config: Annotated[
        str, typer.Option(envvar="TIMEWIRE_CONFIG", help="A TOML file with settings.")
    ] = "",
    check: Annotated[bool, typer.Option("--check", help="Show the settings and end.")] = False,
    flags: dict[str, Any],
) -> None:
    """Run a server, until SIGTERM or Ctrl-C.

    One process and one data directory are all it needs. Settings come from a file, from
    `TIMEWIRE_…` variables and from the options below; later wins.

    ```
    timewire serve
    timewire serve --data /var/lib/timewire --host 0.0.0.0 --inbox-days 14
    timewire serve --config timewire.toml --check
    ```
    """
    # A list option that is not given comes as an empty list.
    given = {key: value for key, value in flags.items() if value not in (None, [])}
    settings = load(given, os.environ, config or None)
    if check:
        _show_settings(settings)
        return
    import uvloop

    from timewire import logs, server

    logs.configure(settings.log_level, settings.log_format)
    if not settings.nats:
        uvloop.run(server.run(settings, _banner))
        return
    uvloop.run(clustered.roles().serve(settings, _banner))


@app.command()
@_with_config_flags
def work(
    *,
    config: Annotated[
        str, typer.Option(envvar="TIMEWIRE_CONFIG", help="A TOML file with settings.")
    ] = "",
    flags: dict[str, Any],
) -> None:
    """Run a worker of a cluster, until SIGTERM or Ctrl-C.

    One of the workers decides what is stored, and another takes over when it dies: run two or
    more, on different machines. Settings are those of `serve`; what concerns connections is not
    used. See docs/CLUSTER.md.

    ```
    timewire work --nats nats://a:4222,nats://b:4222 --data /var/lib/timewire
    ```
    """
    given = {key: value for key, value in flags.items() if value not in (None, [])}
    clustered.run_worker(load(given, os.environ, config or None))


def _show_settings(config: Config) -> None:
    """All settings, in a form that is a valid settings file."""
    for field in msgspec.structs.fields(Config):
        value = getattr(config, field.name)
        if field.name in SECRETS:
            shown = "given" if value else "kept in the data directory"
            sys.stdout.write(f"# {field.name}: {shown}\n")
        else:
            sys.stdout.write(f"{field.name} = {_toml(value)}\n")


def _toml(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _banner(running: Server) -> None:
    """Tell whoever started the server how to use it; programs read the log instead."""
    if running.config.log_format == "json":
        return
    data = Path(running.config.data)
    err.print(
        f"\n  [bold]Timewire[/] is at [bold cyan]{running.url}[/], its data in {data.resolve()}"
    )
    for path in running.keys.made:
        err.print(f"  Made [bold]{path}[/]: keep it safe, whoever reads it can be anyone.")
    if running.config.mode == "development":
        err.print(
            f"  [bold]Development mode[/]: open [bold cyan]{running.url}[/] and choose who to be."
        )
    here = "" if running.config.data == Config().data else f" --data {data}"
    at = "" if running.url == remote.DEFAULT_URL else f" --url {running.url}"
    err.print(f"  Try it, in another terminal:  [green]timewire chat --user alice{here}{at}[/]\n")


@app.command()
def token(
    user: Annotated[str, typer.Argument(help="The user's name.")],
    data: remote.Data = "",
    device: Annotated[str, typer.Option(help="Only for this device; else for all.")] = "",
    days: Annotated[float, typer.Option(min=0.0001, max=36_500, help="The token's life.")] = 30,
) -> None:
    """Make a token for a user, with the secret of a data directory.

    Your own backend usually does this: a token is a JWT (HS256) with `sub` and `exp`. Works while
    the server runs.

    ```
    timewire token alice
    timewire token alice --device laptop --days 365
    export TIMEWIRE_TOKEN=$(timewire token alice)
    ```
    """
    sys.stdout.write(remote.local_token(user, data, device or None, days) + "\n")


@app.command()
def inspect(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[amplification] [DATA]",
            help="The directory; else the configured one. With `amplification` before it: how "
            "many writes and reads each message has cost.",
        ),
    ] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many timelines are listed.")] = 20,
    as_json: remote.Json = False,
) -> None:
    """Show what is in a data directory.

    Reads only, also while a server has it open.

    ```
    timewire inspect
    timewire inspect /var/lib/timewire --limit 1000
    timewire inspect --json | jq .head
    timewire inspect amplification
    ```
    """
    from timewire import library

    words = list(what or ())
    costs = words[:1] == [_AMPLIFICATION]
    named = words[1:] if costs else words
    if len(named) > 1:
        raise typer.BadParameter("one directory at a time")
    data = named[0] if named else load({}, os.environ, remote.config_file()).data
    found = library.inspect_amplification(data) if costs else library.inspect(data, limit=limit)
    if as_json:
        remote.say(remote.to_json(found))
    elif isinstance(found, library.Amplification):
        _show_amplification(found)
    else:
        _show_inspection(found)


def _show_amplification(found: Amplification) -> None:
    out.print(f"{found.messages:,} messages, {found.pulls:,} pages of syncs")
    ways = (
        ("as it was", found.actual),
        ("pure write fan-out", found.write),
        ("pure read fan-out", found.read),
    )
    each = max(found.messages, 1)
    rows = [
        (
            name,
            f"{cost.writes:,}",
            f"{cost.reads:,}",
            f"{cost.writes / each:.1f}",
            f"{cost.reads / each:.1f}",
        )
        for name, cost in ways
    ]
    _table(("fan-out", "writes", "reads", "writes a message", "reads a message"), rows)


def _show_inspection(found: Inspection) -> None:
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("directory", f"{found.path}, format {found.format}"),
        ("epoch", found.epoch),
        ("head", str(found.head)),
        *((f"{name} at", str(position)) for name, position in found.consumers.items()),
        ("inboxes from", str(found.floor)),
        ("on disk", f"{found.disk_bytes:,} bytes"),
    ):
        facts.add_row(name, value)
    out.print(facts)
    sizes = [(family.name, f"{family.keys:,}", f"{family.bytes:,}") for family in found.families]
    _table(("family", "keys, about", "bytes in files"), sizes)
    for kind, timelines in (("conversation", found.conversations), ("timeline", found.timelines)):
        rows = [(t.name, f"{t.entries:,}", str(t.oldest), str(t.newest)) for t in timelines]
        _table((kind, "entries", "oldest", "newest"), rows)
    if found.more:
        out.print("There are more: see --limit.")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(*head[:1], box=box.SIMPLE_HEAD)
    for name in head[1:]:
        table.add_column(name, justify="right")
    for first, *rest in rows:
        table.add_row(showing.printable(first), *rest)
    if table.row_count:
        out.print(table)


@app.command()
def version() -> None:
    """Print the version of Timewire.

    ```
    timewire version
    ```
    """
    from importlib.metadata import version as installed

    sys.stdout.write(f"timewire {installed('timewire')}\n")


for _command in (
    *(remote.send, remote.tail, remote.history, searching.search, remote.create, remote.chat),
    searching.reindex,
    *(keeping.backup, keeping.restore, checking.doctor, moving.export),
):
    app.command()(_command)
app.command("import")(moving.take_in)
app.add_typer(hooks.app, name="webhooks")
app.add_typer(people.app, name="user")
app.add_typer(granting.app, name="keys")
app.add_typer(clustered.app, name="cluster")
