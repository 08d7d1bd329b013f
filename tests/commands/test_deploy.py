"""The units and the Procfile of deploy/: every command in them exists and takes its options, and none leaves the fence off."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from gtm_dagster.commands.application import application
from gtm_dagster.orchestration import daemon, web_ui

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
FENCE = {
    "User": "gtm", "StateDirectoryMode": "0700", "UMask": "0077", "Restart": "always", "ProtectSystem": "strict",
    "NoNewPrivileges": "yes", "ProtectHome": "yes", "PrivateTmp": "yes", "CapabilityBoundingSet": "",
}  # fmt: skip


def values(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def commands() -> list[tuple[str, str]]:
    in_units = [
        (unit.stem, line)
        for unit in UNITS
        for key in ("ExecStartPre", "ExecStart")
        for line in values(unit).get(key, [])
    ]
    lines = [line for line in (DEPLOY / "Procfile").read_text().splitlines() if line and not line.startswith("#")]
    return in_units + [
        (f"Procfile-{name}", command.strip()) for name, _, command in (each.partition(":") for each in lines)
    ]


@pytest.mark.parametrize(("where", "command"), commands(), ids=lambda value: value.split()[0].rpartition("/")[2])
def test_each_command_exists_and_takes_its_options(where, command):
    program, *arguments = shlex.split(command)
    if program.endswith("/gtm"):
        app: Any = typer.main.get_command(application())
        app.commands[arguments[0]].make_context(arguments[0], arguments[1:])
        return
    assert program.endswith("/python") and arguments[0] == "-m"
    module, *options = arguments[1:]
    if module == "dagster":
        from dagster._cli.code_server import start_command

        assert options[:2] == ["code-server", "start"]
        start_command.make_context("start", options[2:])
    elif module.endswith((".web_ui", ".daemon")):
        given = {"web_ui": web_ui, "daemon": daemon}[module.rpartition(".")[2]].parser().parse_args(options)
        assert (ROOT / "deploy" / given.workspace.name).exists()
        assert getattr(given, "host", "127.0.0.1") == "127.0.0.1", "the UI has no login"
    else:
        assert (module, options) == ("gtm_dagster.orchestration.list_runs", [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_each_unit_is_fenced_and_starts_again(unit):
    found = values(unit)
    assert {name: found.get(name, [None])[-1] for name in FENCE} == FENCE
    assert found["StartLimitIntervalSec"] == ["0"]


def test_the_target_names_every_unit():
    (wanted,) = values(DEPLOY / "systemd" / "gtm.target")["Wants"]
    assert sorted(wanted.split()) == [unit.name for unit in UNITS]


def test_web_ui_and_daemon_find_the_code_location_where_its_unit_listens():
    (entry,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    variable = entry["grpc_server"]["socket"]["env"]
    (socket,) = re.findall(r"--socket (\S+)", values(DEPLOY / "systemd" / "gtm-code.service")["ExecStart"][0])
    for unit in UNITS:
        assert f"{variable}={socket}" in " ".join(values(unit)["Environment"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_takes_the_units(tmp_path):
    """With the programs of this checkout in place of those that are installed."""
    for path in (DEPLOY / "systemd").iterdir():
        text = path.read_text().replace("/opt/gtm-dagster/.venv/bin/python", sys.executable)
        (tmp_path / path.name).write_text(text.replace("/opt/gtm-dagster/.venv/bin/gtm", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "gtm.target"), *(str(tmp_path / u.name) for u in UNITS)],
        capture_output=True, text=True, check=False, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "gtm" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
