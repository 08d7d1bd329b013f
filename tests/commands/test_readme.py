"""README's own events: what it says to send arrives in the marts, by its own commands."""

from __future__ import annotations

import json
import shlex
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from gtm_dagster.cli import run
from gtm_dagster.demo.live import collector
from gtm_dagster.settings import load_settings

README = (Path(__file__).parents[2] / "README.md").read_text()
OWN = README.partition("## Your own events\n")[2].partition("\n## ")[0]


def block(language: str) -> str:
    return OWN.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_first_queries_of_the_tour_name_why_a_model_may_be_absent() -> None:
    tour = README.partition("## Five minutes\n")[2].partition("\n## ")[0]
    queries = [line for line in tour.splitlines() if "gtm query" in line]
    assert "marts.attribution_status" in queries[0]
    assert all("gtm query --demo" in line for line in queries), "the demo lies apart"


@pytest.mark.slow
def test_ones_own_first_events_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / ".gtm"))
    monkeypatch.delenv("GTM_PRIVACY__CONSENT", raising=False)
    (tmp_path / ".gtm" / "demo").mkdir(parents=True)  # the collector's output
    with collector(load_settings(), nullcontext()) as url:
        script = block("sh").replace("http://127.0.0.1:8377", url)
        answer = json.loads(subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True).stdout)
        assert answer["accepted"] == 1, answer
        exec(block("python").replace("http://127.0.0.1:8377", url), {"__name__": "shop"})
    assert run(["refresh"]) == 0
    capsys.readouterr()
    (line,) = [line for line in OWN.splitlines() if "gtm query" in line]
    assert run(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["Paid Search\tsignup_completed\t1.0"]
