"""`gtm` beside the SDK alone: every command says what to install, in one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gtm_dagster import __version__
from gtm_dagster.commands.application import declared
from gtm_dagster.commands.command import Command
from gtm_dagster.commands.extras import EXTRA_OF, install_line

ROOT = Path(__file__).parents[2]
WITHOUT = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

absent, lines = set(json.loads(sys.argv[1])), json.loads(sys.argv[2])
sys.meta_path.insert(0, Absent())
from gtm_dagster.cli import run
for line in lines:
    print(f"{run(line)} {' '.join(line)}", file=sys.stderr)
"""


def answers(absent: list[str], lines: list[list[str]], folder: Path) -> tuple[list[str], list[str]]:
    """stdout and stderr, line by line, of command lines in a process that cannot import `absent`."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(absent), json.dumps(lines)],
        capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_every_command_says_what_to_install(tmp_path: Path) -> None:
    lines = [each.words.split() for each in declared() if isinstance(each, Command)]
    lines += [[], ["--help"], ["query", "SELECT 1"], ["nonsense"], ["--config", "missing.toml", "doctor"]]
    out, err = answers(sorted(EXTRA_OF), lines, tmp_path)
    assert out == []
    assert len(err) == 2 * len(lines), err
    for message, line in zip(err[::2], err[1::2], strict=True):
        assert line.startswith("2 "), line
        assert "pip install 'gtm-dagster[collector,pipeline]'" in message
        assert "make setup" in message
    assert list(tmp_path.iterdir()) == []


def test_the_version_needs_no_extra(tmp_path: Path) -> None:
    out, err = answers(sorted(EXTRA_OF), [["--version"]], tmp_path)
    assert (out, err) == ([__version__], ["0 --version"])


def test_one_missing_library_is_named_with_its_extra(tmp_path: Path) -> None:
    collector = [name for name, extra in EXTRA_OF.items() if extra == "collector"]
    _, err = answers(collector, [["collect"]], tmp_path)
    assert err[-1] == "2 collect"
    assert re.match(r"gtm: (granian|prometheus_client|jsonschema_rs|cryptography) is not installed", err[0])


def test_the_sdk_works_without_the_extras(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + "import gtm_dagster.tracking, gtm_dagster.gate", json.dumps(sorted(EXTRA_OF)), "[]"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", [ModuleNotFoundError("x"), ModuleNotFoundError("x", name="assets")])
def test_a_module_of_no_extra_has_no_install_line(missing: ModuleNotFoundError) -> None:
    assert install_line(missing) is None


def test_every_library_of_the_extras_is_known() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in ("collector", "pipeline", "postgres", "spark"):
        names = {re.split(r"[^A-Za-z0-9_-]", each)[0].replace("-", "_").lower() for each in extras[extra]}
        assert names == {module for module, known in EXTRA_OF.items() if known == extra}
