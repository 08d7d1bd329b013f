"""`gtm plan check`: an edited plan against the one last used; and settings that name what a plan does not have."""

import json
from pathlib import Path

import pytest

from gtm_dagster.cli import run
from gtm_dagster.taxonomy import PlanError, load_plan
from gtm_dagster.taxonomy.plan_in_use import FILE, plan_in_use, record_plan

PLAN = """\
version: 1-0-0
aliases: {Order Completed: bought}
events:
  visited:
  bought:
    properties:
      total: {type: number}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with a plan of its own, which was used."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "gtm.toml").write_text(
        'plan_file = "plan.yaml"\nstate_dir = "state"\nconversions = [{event = "bought"}]\n'
    )
    record_plan(tmp_path / "state", load_plan(tmp_path / "plan.yaml"), "gtm refresh")
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    capsys.readouterr()
    code = run(["plan", "check", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_a_plan_that_is_edited_in_place_is_compared_with_the_one_in_use(folder: Path, capsys) -> None:
    assert check(capsys)[0] == 0
    (folder / "plan.yaml").write_text(PLAN.replace("type: number", "type: number, minimum: 5"))
    code, found = check(capsys)
    assert (code, found["level"], found["version_says_so"]) == (1, "MODEL", False)
    assert [change["path"] for change in found["changes"]] == ["bought.total"]
    assert "gtm refresh" in found["compared_with"]
    (folder / "plan.yaml").write_text((folder / "plan.yaml").read_text().replace("1-0-0", "2-0-0"))
    assert check(capsys)[0] == 0
    record_plan(folder / "state", load_plan(folder / "plan.yaml"), "gtm collect")
    assert check(capsys)[1]["level"] == "NONE"


def test_a_file_is_compared_with_the_plan_in_use_unless_another_is_named(folder: Path, capsys) -> None:
    (folder / "next.yaml").write_text(PLAN + "  seen:\n")
    assert check(capsys, "next.yaml")[1]["level"] == "ADDITION"
    code, found = check(capsys, "next.yaml", "--against", "next.yaml")
    assert (code, found["level"], found["compared_with"]) == (0, "NONE", "next.yaml")


def test_without_a_plan_in_use_the_answer_says_so(folder: Path, capsys) -> None:
    (folder / "state" / FILE).unlink()
    code, found = check(capsys)
    assert (code, found["level"]) == (0, "NONE") and "no refresh or collector has used a plan here" in found[
        "compared_with"
    ]


def test_every_problem_of_a_wrong_plan_is_in_the_answer(folder: Path, capsys) -> None:
    (folder / "plan.yaml").write_text("version: 1\nevents:\n  A: {}\n  b: {stag: x}\n")
    code, found = check(capsys)
    assert (code, found["ok"], len(found["problems"])) == (1, False, 3)
    assert run(["plan", "check"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith(f"gtm: {folder / 'plan.yaml'} line ") for line in lines)


def test_settings_that_the_new_plan_leaves_behind_are_named(folder: Path, capsys) -> None:
    (folder / "next.yaml").write_text("version: 2-0-0\nevents:\n  paid:\n")
    code, found = check(capsys, "next.yaml")
    assert (code, found["level"]) == (1, "MODEL")
    (problem,) = found["problems"]
    assert problem.startswith("conversions[0].event: 'bought' is not an event of plan 2-0-0 (next.yaml)")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no plan"),
        ('{"format": 1, "used_by": "x", "since": "y", "plan": {}}', "holds no plan"),
        ('{"format": 2}', "written by a newer gtm-dagster (format 2); install that version"),
    ],
)
def test_a_damaged_or_newer_record_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(PlanError, match=FILE) as error:
        plan_in_use(tmp_path)
    assert says in str(error.value)
    record_plan(tmp_path, load_plan(), "gtm refresh")
    used = plan_in_use(tmp_path)
    assert used is not None and (used.plan, used.used_by) == (load_plan(), "gtm refresh")


def test_the_same_plan_again_changes_nothing(tmp_path: Path) -> None:
    record_plan(tmp_path, load_plan(), "gtm refresh")
    before = (tmp_path / FILE).stat().st_mtime_ns
    record_plan(tmp_path, load_plan(), "gtm collect")
    assert (tmp_path / FILE).stat().st_mtime_ns == before
    assert plan_in_use(tmp_path).used_by == "gtm refresh"


@pytest.mark.parametrize(
    "command",
    [["doctor"], ["refresh"], ["collect"], ["stream", "--once"], ["dev"], ["import", "x.csv"], ["guard", "status"], ["query", "SELECT 1"]],
    ids=" ".join,
)  # fmt: skip
def test_a_setting_that_names_an_unknown_event_stops_every_command(folder: Path, capsys, command: list[str]) -> None:
    (folder / "gtm.toml").write_text(
        'plan_file = "plan.yaml"\nconversions = [{ event = "purchase" }, { event = "bought", value = "totla" }]\n'
        '[funnel]\nsteps = ["visited", "page_view_typo"]\n'
    )
    assert run(command) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["conversions[0].event", "conversions[1].value", "funnel.steps[1].events[0]"]  # fmt: skip
    assert "did you mean total? (gtm.toml line 2)" in lines[1]


@pytest.mark.parametrize("command", [["plan", "export"], ["plan", "check"], ["keys", "list"]], ids=" ".join)
def test_what_the_plan_lacks_of_the_defaults_stops_nothing(folder: Path, capsys, command: list[str]) -> None:
    (folder / "gtm.toml").write_text('plan_file = "plan.yaml"\n')
    assert run(command) == 0


def test_doctor_names_defaults_that_are_left_out_and_bad_guards(folder: Path, capsys) -> None:
    (folder / "gtm.toml").write_text('plan_file = "plan.yaml"\n')
    assert run(["doctor"]) == 0
    assert (
        "ok      settings: conversions: payment_completed, signup_completed of the defaults left out"
        in capsys.readouterr().out
    )
    (folder / "gtm.toml").write_text('plan_file = "plan.yaml"\n[[guards]]\nflag = "a"\nconversion = "buy"\n')
    assert run(["doctor"]) == 1
    assert "PROBLEM settings: guards[0].conversion: 'buy' is not an event" in capsys.readouterr().out
