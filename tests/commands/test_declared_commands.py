"""A command is one module of `commands/`: found by listing the package, called as it is named, cheap to list."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from gtm_dagster import cli, commands
from gtm_dagster.cli import run
from gtm_dagster.commands import application
from gtm_dagster.commands.application import declared
from gtm_dagster.commands.command import Command, Group

SHARED = {
    "application",
    "children",
    "command",
    "drawn_table",
    "doctor_chaos",
    "extras",
    "finding",
    "guard_door",
    "guard_drop",
    "guard_metrics",
    "guard_sight",
    "guard_options",
    "guard_plan_metrics",
    "guard_standing",
    "guard_watching",
    "health",
    "health_checks",
    "message_delivery",
    "output",
    "quarantine_text",
    "stream_metrics",
    "table_output",
    "stream_triggers",
    "terminal_text",
    "trigger_options",
}
"""Modules that several commands, or one large command, are written with."""
HEAVY = {"dagster", "duckdb", "matplotlib", "msgspec", "numpy", "pandas", "pandera", "pyarrow", "rich", "sqlalchemy"}
GREET = '''
from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import say


def greet(name: str = "you") -> None:
    """Greet somebody."""
    say(f"hello {name}")


def wave() -> int:
    """Wave."""
    return 1


COMMANDS = (
    Command("greet", greet, order=35),
    Group("wave", "Waving.", order=10),
    Command("wave slowly", wave, order=10),
)
'''


def modules() -> dict[str, tuple[Command | Group, ...]]:
    found = {}
    for module in iter_modules(commands.__path__):
        found[module.name] = getattr(import_module(f"gtm_dagster.commands.{module.name}"), "COMMANDS", ())
    return found


def test_a_module_is_a_command_or_is_shared_by_some() -> None:
    assert {name for name, declarations in modules().items() if not declarations} == SHARED


@pytest.mark.parametrize(("module", "words"), [(m, each.words) for m, found in modules().items() for each in found])
def test_a_module_is_named_for_its_command(module: str, words: str) -> None:
    assert module.rstrip("_") in (words.replace(" ", "_").replace("-", "_"), words.partition(" ")[0])


def test_a_command_is_declared_once() -> None:
    words = [each.words for each in declared()]
    assert sorted(set(words)) == sorted(words)


def test_the_command_line_names_no_command() -> None:
    imported = set()
    for module in (cli, application):
        tree = ast.parse(Path(module.__file__ or "").read_text())
        imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert {name for name in imported if name.startswith("gtm_dagster.commands.")} == {
        f"gtm_dagster.commands.{name}" for name in ("application", "command", "extras", "output")
    }


def test_a_module_put_into_the_package_is_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "greet.py").write_text(GREET)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    try:
        assert run(["greet", "--name", "ann"]) == 0
        assert capsys.readouterr().out == "hello ann\n"
        assert run(["wave", "slowly"]) == 1
        assert run(["greet", "--nope"]) == 2
        assert "(see `gtm greet --help`)" in capsys.readouterr().err
        assert run(["--help"]) == 0
        listed = [line.split()[0] for line in capsys.readouterr().out.partition("Commands:\n")[2].splitlines()]
        assert listed.index("collect") < listed.index("greet") < listed.index("stream"), "in the place it declares"
        assert "wave" in listed and "slowly" not in listed
    finally:
        sys.modules.pop("gtm_dagster.commands.greet", None)
    monkeypatch.undo()
    assert run(["greet"]) == 2, "gone with its file"


def test_the_help_lists_every_command_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    first = [line for line in lines[lines.index("Commands:") + 1 :] if not line.startswith(" " * 3)]
    listed = dict(line.strip().split(maxsplit=1) for line in first)
    assert set(listed) == {each.words for each in declared() if " " not in each.words}
    assert all(len(summary) >= len("Pseudonyms.") for summary in listed.values())


def test_listing_the_commands_imports_no_library() -> None:
    code = "import sys; from gtm_dagster.cli import run; run(['--help']); sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"}
    )
    loaded = set(done.stderr.split())
    assert not {name for name in loaded if name.partition(".")[0] in HEAVY}
    assert {name.split(".")[1] for name in loaded if name.startswith("gtm_dagster.")} <= {
        "attribution",
        "cli",
        "commands",
    }, "the models are part of a help text"
