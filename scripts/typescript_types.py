"""Make sdk/typescript/src/protocol.ts from the frames; `--print` only shows it.

A struct becomes an interface. What a device says may leave out what has a default; what a server
says is filled in by `decode`, from the table of shapes, so that there every field is present.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from timewire import commands, finding, kinds, model, protocol
from timewire.errors import CODES, Damaged, Invalid, TimewireError, Unusable

TARGET = Path(__file__).resolve().parent.parent / "sdk" / "typescript" / "src" / "protocol.ts"

NAMED = (model, finding, commands, protocol)
"""Modules whose literals and unions keep their names."""

RAISED = ("bad_id", "bad_name", "wrong_store")
"""Errors that the SDK raises itself and whose codes do not say enough: in these words."""

OPERATORS = (Damaged, Unusable)
"""What is wrong with a server's own files: no device hears of it, but of ..."""

UNUSABLE = ("damaged", "directory_in_use", "wrong_store", "bad_config", "closed")
"""... what the SDK itself finds wrong with its own."""

HEAD = """\
// Made by scripts/typescript_types.py from the server's own definitions. Do not edit.

/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;
"""

DECODE = """\
/** A frame from the server, with what it left out; null for a type that this SDK does not know. */
export function decode(text: string): ServerFrame | null {
  const frame = JSON.parse(text) as { type: string };
  return Object.hasOwn(SHAPES, frame.type) ? (fill(frame.type, frame) as ServerFrame) : null;
}

/** A message, with what was left out of it. */
export function message(given: Partial<Message>): Message {
  return fill("Message", given) as Message;
}

function fill(shape: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => fill(shape, one));
  if (typeof value !== "object" || value === null) return value;
  const [defaults, held = {}] = SHAPES[shape] ?? [{}];
  const filled: Json = { ...defaults, ...value };
  const parts = Object.entries(held).map(([field, part]) => [field, fill(part, filled[field])]);
  return { ...filled, ...Object.fromEntries(parts) };
}
"""

Struct = type[msgspec.Struct]
SIMPLE: Mapping[Any, str] = {
    str: "string",
    bytes: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    NoneType: "null",
    Any: "unknown",
    msgspec.Raw: "Message",
}


def main() -> None:
    text = document()
    if "--print" in sys.argv[1:]:
        sys.stdout.write(text)
    else:
        TARGET.write_text(text, encoding="utf-8")


def document() -> str:
    said = reachable(get_args(protocol.ClientFrame))
    heard = reachable([*get_args(protocol.ServerFrame), model.Message, model.Media])
    aliases = literals(NAMED)
    return "\n".join(
        [
            HEAD,
            *constants(),
            *(f"export type {name} = {union(literal)};" for literal, name in aliases.items()),
            "",
            *interfaces(said, heard, aliases),
            *unions(NAMED, {*said, *heard}),
            *bodies("ControlBodies", control_bodies(), "A message that the server writes", aliases),
            *bodies("ContentBodies", kinds.SCHEMAS, "A message of a known kind", aliases),
            *shapes(heard),
            DECODE,
        ]
    )


# What there is ---------------------------------------------------------------------------------


def parts(annotation: Any) -> Iterator[Struct]:
    """The structs in a type."""
    if annotation is msgspec.Raw:
        yield model.Message
    elif inspect.isclass(annotation) and issubclass(annotation, msgspec.Struct):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from parts(part)


def reachable(structs: Iterable[Struct]) -> list[Struct]:
    """These structs and all that they hold, each once."""
    found: dict[Struct, None] = {}
    waiting = list(structs)
    while waiting:
        struct = waiting.pop(0)
        if struct not in found:
            found[struct] = None
            for field in msgspec.structs.fields(struct):
                waiting += parts(field.type)
    names = [struct.__name__ for struct in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"two structs have one name: {sorted(twice)}")
    return list(found)


def literals(modules: Iterable[ModuleType]) -> dict[Any, str]:
    """Literals that have a name."""
    return {
        value: name
        for module in modules
        for name, value in vars(module).items()
        if get_origin(value) is Literal and not name.startswith("_")
    }


def unions(modules: Iterable[ModuleType], known: set[Struct]) -> Iterator[str]:
    """Unions of frames that have a name."""
    made: dict[str, Any] = {}
    for module in modules:
        for name, value in vars(module).items():
            members = get_args(value)
            if get_origin(value) in (UnionType, Union) and known.issuperset(members):
                made.setdefault(name, members)
    for name, members in made.items():
        yield f"export type {name} =\n  | " + "\n  | ".join(m.__name__ for m in members) + ";"
        yield ""


def control_bodies() -> dict[str, Struct]:
    return {str(tag(change)): change for change in get_args(model.Change)}


# Types -----------------------------------------------------------------------------------------


def union(literal: Any) -> str:
    return " | ".join(json.dumps(value) for value in get_args(literal))


def typed(annotation: Any, aliases: Mapping[Any, str]) -> str:
    """A type in TypeScript's words."""
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return typed(arguments[0], aliases)
    if origin is Literal:
        return aliases.get(annotation) or union(annotation)
    if origin in (UnionType, Union):
        arguments = [one for one in arguments if one is not msgspec.UnsetType]
        return " | ".join(dict.fromkeys(typed(one, aliases) for one in arguments))
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return " | ".join(json.dumps(member.value) for member in annotation)
    if inspect.isclass(annotation) and issubclass(annotation, msgspec.Struct):
        if annotation.__struct_config__.array_like:
            inner = (typed(f.type, aliases) for f in msgspec.structs.fields(annotation))
            return f"readonly [{', '.join(inner)}]"
        return annotation.__name__
    return collected(origin or annotation, arguments, aliases)


def collected(origin: Any, arguments: Sequence[Any], aliases: Mapping[Any, str]) -> str:
    if origin is tuple and arguments[1:] != (...,):
        return f"readonly [{', '.join(typed(one, aliases) for one in arguments)}]"
    if origin in (list, set, frozenset, tuple, Sequence):
        inner = typed(arguments[0], aliases) if arguments else "unknown"
        return f"readonly ({inner})[]" if " " in inner else f"readonly {inner}[]"
    if origin in (dict, Mapping):
        inner = typed(arguments[1], aliases) if arguments else "unknown"
        return "Json" if inner == "unknown" else f"Readonly<Record<string, {inner}>>"
    raise TypeError(f"no TypeScript for {origin}")


def interfaces(
    said: Sequence[Struct], heard: Sequence[Struct], aliases: Mapping[Any, str]
) -> Iterator[str]:
    for struct in dict.fromkeys([*said, *heard]):
        if not struct.__struct_config__.array_like:
            yield from interface(struct, struct.__name__, aliases, optional=struct in said)


def interface(
    struct: Struct, name: str, aliases: Mapping[Any, str], *, optional: bool, tagged: bool = True
) -> Iterator[str]:
    yield from comment(struct)
    yield f"export interface {name} {{"
    if tagged and tag(struct):
        yield f"  readonly {struct.__struct_config__.tag_field}: {json.dumps(tag(struct))};"
    for field in msgspec.structs.fields(struct):
        mark = "?" if optional and not field.required else ""
        yield f"  readonly {key(field.encode_name)}{mark}: {typed(field.type, aliases)};"
    yield "}"
    yield ""


def bodies(
    name: str, structs: Mapping[str, Struct], what: str, aliases: Mapping[Any, str]
) -> Iterator[str]:
    """What bodies of messages hold, by kind."""
    for struct in structs.values():
        body = f"{struct.__name__}Body"
        yield from interface(struct, body, aliases, optional=True, tagged=False)
    yield f"/** {what}: its body, by its kind. */"
    yield f"export interface {name} {{"
    yield from (f"  readonly {key(kind)}: {s.__name__}Body;" for kind, s in structs.items())
    yield "}"
    yield ""


def comment(struct: Struct) -> Iterator[str]:
    prose = re.sub(r"``", "`", inspect.cleandoc(struct.__doc__ or "")).splitlines()
    if len(prose) == 1:
        yield f"/** {prose[0]} */"
    elif prose:
        yield from ("/**", *(f" * {line}".rstrip() for line in prose), " */")


def tag(struct: Struct) -> str | int | None:
    return struct.__struct_config__.tag


def key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else json.dumps(name)


# Values ----------------------------------------------------------------------------------------


def constants() -> Iterator[str]:
    yield f"export const SUBPROTOCOL = {json.dumps(protocol.SUBPROTOCOLS[0])};"
    yield f"export const MAX_WATCHED_USERS = {protocol.MAX_WATCHED_USERS};"
    yield ""
    yield "/** Why a connection ends: 40xx come back, 41xx with another token, 42xx do not. */"
    yield "export const CloseCode = {"
    yield from (f"  {code.name}: {code.value}," for code in protocol.CloseCode)
    yield "} as const;"
    yield ""
    yield "/** Codes of errors, by what can be done about them; all others are `invalid`. */"
    yield "export const ERROR_KINDS = {"
    for kind in TimewireError.__subclasses__():
        if kind is Invalid:
            continue
        codes = " ".join(
            code
            for code, (of, _) in CODES.items()
            if of is kind and (of not in OPERATORS or code in UNUSABLE)
        )
        yield f"  {snake(kind.__name__)}:\n    {json.dumps(codes)},"
    yield "} as const;"
    yield ""
    yield 'export type ErrorKind = keyof typeof ERROR_KINDS | "invalid";'
    yield ""
    yield "/** What to do about errors that this SDK raises itself. */"
    yield "export const ADVICE: Readonly<Record<string, string>> = {"
    for code in RAISED:
        yield f"  {code}:\n    {json.dumps(CODES[code][1], ensure_ascii=False)},"
    yield "};"
    yield ""


def shapes(structs: Sequence[Struct]) -> Iterator[str]:
    """For each struct: the defaults of its fields, and the shapes of what its fields hold."""
    yield "const SHAPES: Record<string, readonly [Json, Readonly<Record<string, string>>?]> = {"
    for struct in structs:
        if not (tag(struct) or is_filled(struct)):
            continue
        fields = msgspec.structs.fields(struct)
        defaults = ", ".join(
            f"{key(f.encode_name)}: {default(f)}" for f in fields if not f.required
        )
        inner = ", ".join(
            f"{key(f.encode_name)}: {json.dumps(found)}" for f in fields if (found := shape(f.type))
        )
        held = f", {braced(inner)}" if inner else ""
        yield f"  {tag(struct) or struct.__name__}: [{braced(defaults)}{held}],"
    yield "};"
    yield ""


def braced(inner: str) -> str:
    return f"{{ {inner} }}" if inner else "{}"


def shape(annotation: Any) -> str:
    """The key of the shape of what a field holds; "" needs nothing."""
    found = [one for one in dict.fromkeys(parts(annotation)) if is_filled(one)]
    if not found:
        return ""
    if len(found) > 1 or any(get_origin(one) is dict for one in layers(annotation)):
        raise TypeError(f"`fill` knows one struct, or a list of it, and not {annotation}")
    return str(tag(found[0]) or found[0].__name__)


def is_filled(struct: Struct, above: tuple[Struct, ...] = ()) -> bool:
    """Whether something of it, or in it, may be left out."""
    return any(
        not field.required
        or any(is_filled(one, (*above, struct)) for one in parts(field.type) if one not in above)
        for field in msgspec.structs.fields(struct)
    )


def layers(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from layers(part)


def default(field: msgspec.structs.FieldInfo) -> str:
    made = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return msgspec.json.encode(made).decode()


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


if __name__ == "__main__":
    main()
