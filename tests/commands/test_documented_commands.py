"""Every line of README and docs that calls `gtm` is one of its commands, and does what it says on a deployment."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from gtm_dagster.commands.application import application

ROOT = Path(__file__).parents[2]
CALL = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?(gtm [a-z-].*)$")
OUTPUT_OR_SYNOPSIS = re.compile(r"\[--|\||^gtm: ")
ELSEWHERE = {
    "dev": "serves until Ctrl-C: tests/e2e",
    "dash": "serves until Ctrl-C: tests/dashboard",
    "collect": "serves until Ctrl-C: tests/collector",
    "stream": "serves until Ctrl-C: tests/stream",
    "deliver": "serves until Ctrl-C: tests/delivery",
    "micro": "serves until Ctrl-C: tests/tracking",
    "doctor": "minutes of kills: tests/chaos",
    "init": "in an empty environment: tests/commands/test_wheel.py",
    "plan publish": "needs a schema registry: tests/commands/test_plan_publish.py",
    "guard simulate": "draws traffic for minutes: tests/rollout",
    "guard drill": "runs in the demo: tests/demo",
    "guard backtest": "needs exposures that landed: tests/rollout/test_guard_backtest.py",
    "guard rollback": "needs a flag that is on: tests/sensors",
    "guard give-up": "needs a rollback that fails: tests/sensors",
    "guard ramp": "needs a ramp at a share: tests/rollout/test_ramp.py",
    "quarantine replay": "names a group of another deployment: tests/commands/test_quarantine_commands.py",
    "log accept": "needs a log that does not go on: tests/eventlog",
    "trigger run": "serves until Ctrl-C: tests/triggers/test_trigger_run.py",
    "event": "names an event of another deployment",
}
"""Commands that a page shows and other tests run, with the place."""
OWN_TESTS = {
    "import.md": "tests/importing/test_import_examples.py",
    "sdk.md": "tests/tracking/test_sdk_page.py",
    "tracking.md": "tests/tracking/test_tracking_guide.py",
}
GUARD = '\n[[guards]]\nflag = "checkout-v2"\nconversion = "payment_completed"\n'


def documented() -> list[tuple[str, str]]:
    """(page, call) of every line in a code block that calls gtm, without its comment."""
    found: list[tuple[str, str]] = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        inside = False
        for line in page.read_text().splitlines():
            if line.startswith("```"):
                inside = not inside
            elif inside and (call := CALL.match(line)):
                text = re.sub(r"\s{2,}#.*$|\s#\s.*$", "", call[1]).strip()
                if not OUTPUT_OR_SYNOPSIS.search(text) and not text.endswith(("\\", "(")):
                    found.append((page.name, text))
    return found


def words_of(call: str) -> list[str]:
    words = shlex.split(call.partition(" > ")[0])[1:]
    return [word for word in words if word != "--demo"]


@cache
def whole() -> Any:
    return typer.main.get_command(application())


def command_of(call: str) -> str:
    """Such as `guard plan`."""
    known = whole()
    names: list[str] = []
    for word in words_of(call):
        if word not in getattr(known, "commands", {}):
            break
        names.append(word)
        known = known.commands[word]
    return " ".join(names)


@pytest.mark.parametrize(("page", "call"), documented(), ids=[f"{page}: {call[:70]}" for page, call in documented()])
def test_a_documented_call_is_a_command_with_these_options(page: str, call: str) -> None:
    known, words = whole(), words_of(call)
    while getattr(known, "commands", None) is not None and words and words[0] in known.commands:
        known, words = known.commands[words[0]], words[1:]
    assert not getattr(known, "commands", None) or known.name == "flag", f"{page}: {call} names no command"
    options = {name for parameter in known.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.fullmatch(r"--[a-z-]+(=.*)?", word)}
    assert given <= options | {"--help"}, f"{page}: {call} has an option that its command lacks"


def runnable() -> dict[str, list[str]]:
    by_page: dict[str, list[str]] = {}
    for page, call in documented():
        if page not in OWN_TESTS and not any((command_of(call) + " ").startswith(f"{name} ") for name in ELSEWHERE):
            by_page.setdefault(page, []).append(call)
    return by_page


@pytest.fixture(scope="module")
def gtm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `gtm` of this checkout, as a shell finds it."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "gtm"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m gtm_dagster.cli "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def deployment(gtm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A deployment that has run its demo; its own state is a copy of the demo's, so that pages without --demo find data."""
    folder = tmp_path_factory.mktemp("deployment") / "shop"
    assert _shell(gtm, folder.parent, f"gtm init {folder}").returncode == 0
    shutil.copytree(ROOT / "examples", folder / "examples")
    demo = _shell(gtm, folder, "gtm demo --events 5000 --days 30")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    shutil.copytree(folder / ".gtm-demo", folder / ".gtm")
    (folder / "gtm.toml").write_text(_first(folder / "gtm.toml") + GUARD)
    shutil.copytree(folder / "examples/triggers", folder, dirs_exist_ok=True)
    assert _shell(gtm, folder, "gtm stream --once").returncode == 0
    yield folder


def _first(path: Path) -> str:
    """The settings with the rules of triggers named; a key of the top level stands before every table."""
    return f'triggers_file = "triggers.yaml"\n{path.read_text()}'


def _shell(gtm: Path, folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GTM_", "DAGSTER_"))}
    environment |= {"PATH": f"{gtm}:{environment['PATH']}", "HOME": str(folder)}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=180
    )


@pytest.mark.real
@pytest.mark.parametrize("page", sorted(runnable()))
def test_a_page_runs_from_its_first_call_to_its_last(page: str, gtm: Path, deployment: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(deployment, folder)
    event = {
        "event_name": "trial_started", "user_id": "u-1", "timestamp": "2026-03-01T09:30:00Z", "properties": {"plan": "pro"}
    }  # fmt: skip
    (folder / "events.ndjson").write_text(json.dumps(event) + "\n")
    conversion = _shell(gtm, folder, 'gtm query "SELECT min(conversion_id) AS id FROM core.conversions"').stdout.split()
    for call in runnable()[page]:
        if (
            call.startswith("gtm plan init") and "--out" not in call
        ):  # it replaces nothing, and the page begins without a plan
            (folder / "plan.yaml").unlink(missing_ok=True)
        done = _shell(gtm, folder, call.replace("web:1042", conversion[-1]))
        # exit 1: a guard without visitors, a plan that refuses, a person no rule has seen
        found_something = call in ("gtm guard status", "gtm plan check", "gtm trigger explain USER")
        assert done.returncode in ((0, 1) if found_something else (0,)), (
            f"{page}: {call}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )
