"""A digest of the code and statements that decide a table's content.

Two programs have the same digest when their syntax is the same: comments, docstrings and layout do not count. What a
module imports of the rooms that decide content counts with it, and so do the statements it names and the data files
beside it.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
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
        found.update(_syntax(name).encode())
        for statement in statements_of(name):
            found.update(f"\0statement {statement}\0{_normal(statements.text(statement))}".encode())
        for file in _DATA.get(name, ()):
            found.update(resources.files("gtm_dagster").joinpath(*name.split(".")[1:-1], file).read_bytes())
    return found.hexdigest()


def statements_of(module: str) -> list[str]:
    """Names of the statements that a module names itself."""
    return sorted(_constants(module) & set(statements.all_names()))


def _closure(modules: Iterable[str]) -> set[str]:
    waiting, reached = list(modules), set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [each for each in _imports(name) if each.startswith(_ROOMS)]
    return reached


def _file(name: str) -> Traversable | None:
    """The source of a module or package; None when it is neither."""
    place = resources.files("gtm_dagster").joinpath(*name.split(".")[1:])
    package = place / "__init__.py"
    module = resources.files("gtm_dagster").joinpath(*name.split(".")[1:-1], f"{name.rpartition('.')[2]}.py")
    return package if package.is_file() else module if module.is_file() else None


@cache
def _tree(name: str) -> ast.Module:
    file = _file(name)
    if file is None:
        raise ModuleNotFoundError(f"the source of {name} is not installed", name=name)
    return ast.parse(file.read_text("utf-8"))


@cache
def _imports(name: str) -> frozenset[str]:
    found = set()
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gtm_dagster."):
            found.add(node.module)
            if node.module.startswith(_ROOMS):
                found |= {each for alias in node.names if _file(each := f"{node.module}.{alias.name}")}
    return frozenset(found)


@cache
def _constants(name: str) -> frozenset[str]:
    return frozenset(
        node.value for node in ast.walk(_tree(name)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@cache
def _syntax(name: str) -> str:
    return "".join(_dump(_tree(name)))


def _dump(node: object) -> Iterator[str]:
    """The tree as text, without positions, docstrings and empty fields, which differ between Python versions."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for field, value in ast.iter_fields(node):
            if field == "body" and isinstance(value, list) and value and _is_docstring(value[0]):
                value = value[1:]
            if value is not None and value != []:
                yield f" {field}="
                yield from _dump(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for each in node:
            yield from _dump(each)
        yield "]"
    else:
        yield repr(node)


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _normal(sql: str) -> str:
    """A statement without comments and layout."""
    return " ".join(_COMMENT.sub(lambda match: " " if match[0].startswith("--") else match[0], sql).split())
