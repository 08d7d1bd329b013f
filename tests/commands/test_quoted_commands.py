"""A command that a message names stands in backticks: those never break at the end of a line, and a page shows them as code."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from gtm_dagster.commands.application import application, declared

PACKAGE = Path(__file__).parents[2] / "gtm_dagster"
NAMES = "|".join(sorted({each.words.partition(" ")[0] for each in declared()}))
COMMAND = re.compile(rf"\bgtm (?:--\w+ )?(?:{NAMES})\b(?![\w-])")
QUOTED = re.compile(r"`[^`\n]*`|<code>.*?</code>|<pre[^>]*>.*?</pre>|\[bold\].*?\[/bold\]", re.DOTALL)
OF_ANOTHER_SYSTEM = {"gtm guard: dry run, nothing is saved"}
"""Who writes, as LaunchDarkly keeps it beside a change."""
ARGUMENT = r"(?:\{\}(?:\"[^\"]*\")?|-{1,2}\w[\w-]*(?:[= ][\w{}./-]+)?|\"[^\"]*\"|'[^']*'|[A-Z]+|-)"
WHOLLY_A_COMMAND = re.compile(rf"gtm(?: [a-z-]+){{1,2}}(?: {ARGUMENT}|\{{\}})*")
"""Such as the name of who holds a lock, or the command of a Notice, which the page shows as code."""


def unquoted(text: str) -> list[str]:
    """The commands of a message that stand outside backticks."""
    if text in OF_ANOTHER_SYSTEM or WHOLLY_A_COMMAND.fullmatch(text.strip()):
        return []
    return COMMAND.findall(QUOTED.sub("", text))


def texts(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every string but docstrings; what is put into one stands as {}."""
    skipped: set[int] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = [each.value if isinstance(each, ast.Constant) else "{}" for each in node.values]
            skipped.update(id(each) for each in node.values)
            yield node.lineno, "".join(map(str, parts))
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("next: gtm refresh", 1),
        ("next: `gtm refresh`", 0),
        ("`gtm refresh`, then gtm dev", 1),
        ("gtm guard forget {} ends this notice", 1),
        ("gtm guard replay {}", 0),
        ("gtm query {}", 0),
        ('gtm query "FROM core.conversions LIMIT 9"', 0),
        ("gtm quarantine replay {}{} --dry-run", 0),
        ("gtm doctor --drill publisher", 0),
        ("the gtm report of May", 1),
        ("gtm guard: dry run, nothing is saved", 0),
        ("the package gtm", 0),
    ],
)
def test_unquoted(text: str, found: int) -> None:
    assert len(unquoted(text)) == found


def test_a_message_names_commands_in_backticks() -> None:
    assert not [
        f"{path.name}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in texts(ast.parse(path.read_text()))
        if unquoted(text)
    ]


def test_a_page_shows_commands_as_code() -> None:
    assert not [path.name for path in sorted(PACKAGE.rglob("*.html")) if unquoted(path.read_text())]


IN_A_PAGE = re.compile(r"\{\{ '(gtm [^']*)' \| command \}\}|\{\{ \('(gtm [^']*)' ~[^}]*\) \| command \}\}")


@cache
def whole() -> Any:
    return typer.main.get_command(application())


def wrong_in(call: str) -> str | None:
    """Why a shell would get wrong usage for a command that a message names; {} and capitals stand for values of a person."""
    words = [word for word in shlex.split(call.replace("{}", "1").replace("...", "WHY")) if word != "--demo"][1:]
    known = whole()
    while getattr(known, "commands", None) is not None:
        if not words or words[0].startswith("-"):
            return None
        if words[0] not in known.commands:
            if known.name == "attribute":
                break  # it takes a file in place of a command
            return f"no command {words[0]}"
        known, words = known.commands[words[0]], words[1:]
    try:
        known.make_context("gtm", list(words))
    except TyperException as wrong:
        text = wrong.format_message()
        return text if re.search("unexpected extra|[Nn]o such option", text) else None
    return None


@pytest.mark.parametrize(
    ("call", "is_wrong"),
    [
        ("gtm guard plan checkout", True),
        ("gtm guard plan --flag checkout", False),
        ("gtm guard rearm FLAG --reason ...", False),
        ("gtm refresh --whole", True),
        ("gtm refesh", True),
        ("gtm query", False),
    ],
    ids=["a value too many", "an option", "values to fill in", "no such option", "no such command", "a name of one"],
)
def test_wrong_usage(call: str, is_wrong: bool) -> None:
    assert (wrong_in(call) is not None) is is_wrong


def test_a_command_that_is_named_is_no_wrong_usage() -> None:
    named = {
        (path.name, call)
        for path in PACKAGE.rglob("*.py")
        for _, text in texts(ast.parse(path.read_text()))
        for call in (*re.findall(r"`(gtm [^`\n]*)`", text), *([text] if WHOLLY_A_COMMAND.fullmatch(text) else ()))
    }
    for path in PACKAGE.rglob("*.html"):
        named |= {(path.name, alone or f"{begun}1") for alone, begun in IN_A_PAGE.findall(path.read_text())}
    assert len(named) > 150
    assert not [(where, call, wrong) for where, call in sorted(named) if (wrong := wrong_in(call)) is not None]
