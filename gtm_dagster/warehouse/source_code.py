"""A digest of the code and statements that decide a table's content.

Two programs have the same digest when their syntax is the same: comments, docstrings and layout do not count. What a
module imports of the rooms that decide content counts with it, and so do the statements it names and the data files
beside it.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from gtm_dagster.warehouse import statements

_ROOMS = (
    *(f"gtm_dagster.attribution.{name}" for name in (
        "absorption", "coalitions", "counterfactual_paths", "declaration", "markov_chain", "models.", "path_tree", "rate_games", "touch_lists",
    )),
    "gtm_dagster.channels", "gtm_dagster.privacy.event_ids", "gtm_dagster.privacy.landing_text",
    "gtm_dagster.privacy.masked_event", "gtm_dagster.privacy.number_shapes", "gtm_dagster.taxonomy",
    "gtm_dagster.warehouse.affected", "gtm_dagster.warehouse.core", "gtm_dagster.warehouse.marts",
    "gtm_dagster.warehouse.staging",
)  # fmt: skip
"""Code outside of these moves rows and does not decide what they hold."""
_DATA = {"gtm_dagster.channels.sources": ("returns.yaml", "sources.yaml", "workspaces.yaml", "ga4_sources.csv")}
"""Data files that decide content. Not among them: the tracking plan, whose own fingerprint is compared, and the list of bots,
which are recognised at the door alone."""


_COMMENT = re.compile(r"'(?:[^']|'')*'|--[^\n]*")


def digest(modules: Iterable[str]) -> str:
    """The digest of the modules and of what they import and name, 64 hex characters."""
    found = hashlib.sha256()
    for name in sorted(_closure(modules)):
        found.update(f"\0module {name}\0".encode())
        found.update(_source(name).syntax.encode())
        for statement in statements_of(name):
            found.update(f"\0statement {statement}\0{_normal(statements.text(statement))}".encode())
        for file in _DATA.get(name, ()):
            found.update(resources.files("gtm_dagster").joinpath(*name.split(".")[1:-1], file).read_bytes())
    return found.hexdigest()


def statements_of(module: str) -> list[str]:
    """Names of the statements that a module names itself."""
    return sorted(_source(module).constants & set(statements.all_names()))


def _closure(modules: Iterable[str]) -> set[str]:
    waiting, reached = list(modules), set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [each for each in _imports(name) if each.startswith(_ROOMS)]
    return reached


@cache
def _rooms() -> Traversable:
    return resources.files("gtm_dagster")


@cache
def _file(name: str) -> Traversable | None:
    """The source of a module or package; None when it is neither."""
    *parents, last = name.split(".")[1:] or [""]
    folder = _rooms().joinpath(*parents)
    package, module = folder.joinpath(last, "__init__.py"), folder.joinpath(f"{last}.py")
    return package if package.is_file() else module if module.is_file() else None


@dataclass(frozen=True)
class _Source:
    """A module: its syntax as text, the texts in it, docstrings too, and what it imports by name from where."""

    syntax: str
    constants: frozenset[str]
    imports: tuple[tuple[str, tuple[str, ...]], ...]


@cache
def _source(name: str) -> _Source:
    """One walk through the tree for all three: to walk costs more than to parse."""
    file = _file(name)
    if file is None:
        raise ModuleNotFoundError(f"the source of {name} is not installed", name=name)
    written: list[str] = []
    constants: set[str] = set()
    imports: list[tuple[str, tuple[str, ...]]] = []

    def note(node: ast.AST) -> None:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                constants.add(node.value)
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports.append((node.module, tuple(alias.name for alias in node.names)))

    _dump(ast.parse(file.read_text("utf-8")), written.append, note)
    return _Source("".join(written), frozenset(constants), tuple(imports))


@cache
def _imports(name: str) -> frozenset[str]:
    found = set()
    for module, names in _source(name).imports:
        if module.startswith("gtm_dagster."):
            found.add(module)
            if module.startswith(_ROOMS):
                found |= {each for imported in names if _file(each := f"{module}.{imported}")}
    return frozenset(found)


def _dump(node: object, write: Callable[[str], None], note: Callable[[ast.AST], None]) -> None:
    """Write the tree as text, without positions, docstrings and empty fields, which differ between Python versions; `note`
    gets every node, those of docstrings too.
    """
    if isinstance(node, ast.AST):
        note(node)
        write(f"({type(node).__name__}")
        for field in node._fields:
            value = getattr(node, field, None)
            if field == "body" and isinstance(value, list) and value and _is_docstring(value[0]):
                note(value[0].value)
                value = value[1:]
            if value is not None and value != []:
                write(f" {field}=")
                _dump(value, write, note)
        write(")")
    elif isinstance(node, list):
        write("[")
        for each in node:
            _dump(each, write, note)
        write("]")
    else:
        write(repr(node))


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _normal(sql: str) -> str:
    """A statement without comments and layout."""
    return " ".join(_COMMENT.sub(lambda match: " " if match[0].startswith("--") else match[0], sql).split())
