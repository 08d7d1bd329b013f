"""What a setting may be because a file of that name exists."""

import subprocess
import sys
from pathlib import Path

import pytest

import gtm_dagster
from gtm_dagster import attribution
from gtm_dagster.settings.choices import module_names

ROOT = Path(__file__).parents[2]


def test_the_names_are_those_of_the_files() -> None:
    assert set(module_names("attribution/models")) == set(attribution.MODELS)
    for folder in ("rollout/providers", "delivery/sinks"):
        files = {file.stem for file in (ROOT / "gtm_dagster" / folder).glob("[!_]*.py")}
        assert set(module_names(folder)) == files


def test_modules_are_named_and_what_they_share_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("b.py", "a.py", "_shared.py", "__init__.py", "base/__init__.py", "notes.txt"):
        place = tmp_path / "kinds" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("raise AssertionError('imported')")
    monkeypatch.setattr(gtm_dagster, "__path__", [*gtm_dagster.__path__, str(tmp_path)])
    assert module_names("kinds") == ("a", "b")
    assert module_names("no/such/folder") == ()


def test_settings_import_nothing_of_what_they_name() -> None:
    code = "import sys, gtm_dagster.settings; print(*[name for name in sys.modules if name.startswith('gtm_dagster.')])"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert output and {name.split(".")[1] for name in output} == {"settings"}
