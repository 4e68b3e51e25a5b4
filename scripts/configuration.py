"""Make docs/CONFIGURATION.md from `timewire.config.Config`; `--print` only shows it."""

import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from timewire.config import SECRETS, SECTIONS, Config

TARGET = Path(__file__).resolve().parent.parent / "docs" / "CONFIGURATION.md"

HEAD = """\
# Configuration

Every setting has a default: `timewire serve` needs none. A setting comes from, later wins:

1. its default,
2. a TOML file: `timewire serve --config timewire.toml`, or `TIMEWIRE_CONFIG=timewire.toml`,
3. the environment: `TIMEWIRE_` and the key in capitals, such as `TIMEWIRE_INBOX_DAYS=14`,
4. the command line: the key with dashes, such as `--inbox-days 14`.

An unknown key or a value out of range stops the start with a sentence that says which. `timewire
serve --check` reads the settings, shows them, and does not start.

```toml
# timewire.toml
data = "/var/lib/timewire"
host = "0.0.0.0"
inbox_days = 14
origins = ["https://chat.example.com"]
log_format = "json"
```

A list is written with commas in the environment: `TIMEWIRE_ORIGINS=https://a.example,https://b.example`.
On the command line its flag is repeated. Secrets cannot be given on the command line, where other
users of the machine could see them: use the environment, the file, or the data directory.

The commands that act for a user (`send`, `tail`, `history`, `search`, `create`, `chat`) also read
`TIMEWIRE_URL`, `TIMEWIRE_TOKEN` and `TIMEWIRE_USER`; `timewire send --help` says more.
"""


def main() -> None:
    text = document()
    if "--print" in sys.argv[1:]:
        sys.stdout.write(text)
    else:
        TARGET.write_text(text, encoding="utf-8")


def document() -> str:
    lines = [HEAD.rstrip()]
    for field in msgspec.structs.fields(Config):
        if field.name in SECTIONS:
            lines += [f"\n## {SECTIONS[field.name]}\n"]
            lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        plain, meta = get_args(field.type)
        cells = (f"`{field.name}`", values(field.name, plain, meta), shown(field.default))
        lines.append(f"| {' | '.join(cells)} | {meta.description} |")
    return "\n".join(lines) + "\n"


def values(key: str, plain: Any, meta: msgspec.Meta) -> str:
    """Which values a key may have, in a few words."""
    if get_origin(plain) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(plain))
    if get_origin(plain) is tuple:
        return "list of texts"
    if plain not in (int, float):
        return "text, secret" if key in SECRETS else "text"
    kind = "whole number" if plain is int else "number"
    low = f"{meta.ge:,} to" if meta.ge is not None else f"above {meta.gt:,}, up to"
    return f"{kind}, {low} {meta.le:,}"


def shown(default: Any) -> str:
    if default in ("", ()):
        return "empty"
    if isinstance(default, tuple):
        return ", ".join(f"`{one}`" for one in default)
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


if __name__ == "__main__":
    main()
