"""Code about the code: sizes, exports, leftovers, and docs that keep up."""

import ast
import fnmatch
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import timewire

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "timewire").rglob("*.py"))
MADE = "protocol.ts"
TYPESCRIPT = sorted(
    path for path in (ROOT / "sdk" / "typescript" / "src").glob("*.ts") if path.name != MADE
)

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
EXPORTS_MAX = 20

# Each pattern is spelt so that it does not match itself.
LEFTOVERS = re.compile(
    r"\bTO[D]O\b|\bFIX[M]E\b|\bX[X]X\b|pytest\.(mark\.)?ski[p]|importorski[p]"
    r"|xfai[l]|NotImplemente[d]Error|(test|it|describe)\.(ski[p]|onl[y]|tod[o])\b"
)
MACHINE_PATHS = re.compile(rb"(?<![\w.])/(?:root|work|home/[\w.-]+)/")
REGISTRY_HOSTS = re.compile(rb"pypi\.[o]rg|pythonhosted\.[o]rg|registry\.npmj[s]|npmmirro[r]")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def project_files() -> list[Path]:
    """Every file that is, or could be, committed: all that .gitignore does not name."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = [line.rstrip("/") for line in lines if line and not line.startswith("#")]
    ignored.append(".git")

    def walk(directory: Path) -> Iterator[Path]:
        for path in sorted(directory.iterdir()):
            if path.is_symlink() or any(fnmatch.fnmatch(path.name, name) for name in ignored):
                continue
            if path.is_dir():
                yield from walk(path)
            elif path.is_file():
                yield path

    return list(walk(ROOT))


CHAT = ROOT / "examples" / "data"


def offences(pattern: re.Pattern[bytes]) -> list[str]:
    """`file:line: text` wherever a project file matches the pattern; logs of chat say anything."""
    return [
        f"{relative(path)}:{number}: {match[0].decode(errors='replace')}"
        for path in project_files()
        if (path.parent, path.suffix) != (CHAT, ".txt")
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if (match := pattern.search(line))
    ]


def function_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the function from `def` on, without its docstring."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def config_keys(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """The keys as a user writes them, those of nested tables with dots."""
    for field in msgspec.structs.fields(struct):
        key = prefix + field.encode_name
        if inspect.isclass(field.type) and issubclass(field.type, msgspec.Struct):
            yield from config_keys(field.type, f"{key}.")
        else:
            yield key


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_module_is_small_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    long_functions = {
        node.name: lines
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := function_lines(node)) > FUNCTION_LINES_MAX
    }

    assert len(text.splitlines()) <= MODULE_LINES_MAX
    assert long_functions == {}
    assert ast.get_docstring(tree)


@pytest.mark.parametrize("path", TYPESCRIPT, ids=relative)
def test_typescript_module_is_small_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    assert text.startswith("/**")


def test_nothing_is_left_for_later() -> None:
    tests = [
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "sdk" / "typescript" / "tests").rglob("*.ts"),
    ]
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in (*SOURCES, *TYPESCRIPT, *sorted(tests))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if LEFTOVERS.search(line)
    ]
    assert found == []


def test_exports_are_few_sorted_and_complete() -> None:
    exported = timewire.__all__
    public = {
        name
        for name, value in vars(timewire).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert list(exported) == sorted(set(exported))
    assert len(exported) <= EXPORTS_MAX
    assert [name for name in exported if not hasattr(timewire, name)] == []
    assert public <= set(exported)


def test_no_file_names_a_developers_machine() -> None:
    assert offences(MACHINE_PATHS) == []


def test_no_file_names_a_package_registry() -> None:
    assert offences(REGISTRY_HOSTS) == []


def test_every_error_code_is_in_the_protocol_document() -> None:
    from timewire.errors import CODES

    document = (ROOT / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
    assert CODES
    assert [code for code in CODES if f"`{code}`" not in document] == []


def test_every_config_key_is_documented() -> None:
    from timewire.config import Config

    document = (ROOT / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
    assert [key for key in config_keys(Config) if f"`{key}`" not in document] == []


def test_changelog_has_an_unreleased_section() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
