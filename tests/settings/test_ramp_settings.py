"""`[guards.ramp]`: what is allowed, and what a bad one says; the other guards go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gtm_dagster.settings import Ramp, load_settings

GUARD = '[[guards]]\nflag = "a"\nconversion = "payment_completed"\n'


def declared(folder: Path, text: str):
    (folder / "gtm.toml").write_text(text)
    return load_settings(folder / "gtm.toml", {})


def test_a_ramp_is_declared_by_its_header_alone(tmp_path: Path) -> None:
    (guard,) = declared(tmp_path, f"{GUARD}[guards.ramp]\n").guards
    assert guard.ramp == Ramp() and Ramp().steps == (0.01, 0.05, 0.25, 0.5, 1.0)
    assert all(Ramp().approved_by_person(i) for i in range(5)) and Ramp().loss_at(0, 0.15) == 0.15


def test_without_it_nothing_is_ever_raised(tmp_path: Path) -> None:
    assert declared(tmp_path, GUARD).guards[0].ramp is None


def test_a_value_is_of_all_steps_and_a_list_has_one_a_step(tmp_path: Path) -> None:
    text = "[guards.ramp]\nsteps = [0.1, 0.9]\nmin_hours = [2, 24]\nloss = [0.5, 0.15]\nauto = true\napproval = [true, false]\n"
    ramp = declared(tmp_path, GUARD + text).guards[0].ramp
    assert ramp is not None
    assert [ramp.hours_at(i) for i in (0, 1)] == [2, 24]
    assert [ramp.loss_at(i, 0.15) for i in (0, 1)] == [0.5, 0.15]
    assert [ramp.approved_by_person(i) for i in (0, 1)] == [True, False]


BAD = [
    ("steps = []", "steps: the list is empty"),
    ("steps = [0.05, 0.01]", "steps[1]: 0.01 is not above the step before it, 0.05 (gtm.toml line 5)"),
    ("steps = [0.05, 0.05]", "steps[1]: 0.05 is not above"),
    ("steps = [0, 0.05]", "steps[0]: 0 is not a number above 0 and of at most 1"),
    ("steps = [0.5, 1.5]", "steps[1]: 1.5 is not a number above 0 and of at most 1"),
    ("steps = [0.1, 1]\nmin_hours = [1]", "min_hours: has 1 entries for 2 steps"),
    ("min_hours = -1", "min_hours: -1 is not a number of at least 0"),
    ("loss = 0.1", "loss: 0.1 is below the guard's threshold of 0.15"),
    ("approval = false", "approval: a step that no person approves needs auto = true"),
    ("auto = 3", "auto: 3 is not true or false (gtm.toml line 5)"),
    ("step = [1]", "step: there is no such setting; known here: approval, auto, loss, metric_loss, min_hours, steps"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[row[0].replace("\n", ", ") for row in BAD])
def test_a_bad_ramp_says_what_is_allowed_and_where_it_stands(tmp_path: Path, text: str, message: str) -> None:
    other = '[[guards]]\nflag = "b"\nconversion = "payment_completed"\n'
    settings = declared(tmp_path, f"{GUARD}[guards.ramp]\n{text}\n{other}")
    (error,) = settings.guard_errors
    assert error.startswith("guards[0].ramp.") and message in error
    assert [guard.flag for guard in settings.guards] == ["b"]


METRICS = (
    'metrics = [{ name = "errors", kind = "error", event = "churn_flagged" },\n'
    '  { name = "paid", kind = "value", event = "payment_completed", value = "amount", cap = 200.0, threshold = 0.2 }]\n'
)
BAD_METRIC_LOSSES = [
    (
        "errrors = 2.0",
        "metric_loss.errrors: the guard has no further metric of this name; did you mean errors? (known: errors, paid)",
    ),
    ("conversion = 0.5", "metric_loss.conversion: the guard has no further metric of this name"),
    ("errors = 0.4", "metric_loss.errors: 0.4 is below the metric's threshold of 0.5, from which on the guard acts"),
    ("paid = 0.15", "metric_loss.paid: 0.15 is below the metric's threshold of 0.2"),
    ("paid = 1.5", "metric_loss.paid: 1.5 is more than all of it"),
    ("errors = [2.0]", "metric_loss.errors: has 1 entries for 5 steps"),
    ("errors = 200.0", "metric_loss.errors: 200.0 is not a number of at least 0.02 and of at most 99 or a list"),
]


def test_a_ramp_names_what_has_to_be_visible_of_further_metrics(tmp_path: Path) -> None:
    text = "[guards.ramp]\nsteps = [0.1, 0.9]\nmetric_loss = { errors = [9.0, 1.0] }\n"
    ramp = declared(tmp_path, GUARD + METRICS + text).guards[0].ramp
    assert ramp is not None
    assert [ramp.metric_loss_at(i, "errors", 0.5) for i in (0, 1)] == [9.0, 1.0]
    assert ramp.metric_loss_at(0, "paid", 0.2) == 0.2, "not named: its threshold"


@pytest.mark.parametrize(("text", "message"), BAD_METRIC_LOSSES, ids=[row[0] for row in BAD_METRIC_LOSSES])
def test_a_bad_loss_of_a_metric_names_metric_value_and_way_out(tmp_path: Path, text: str, message: str) -> None:
    (error,) = declared(tmp_path, f"{GUARD}{METRICS}[guards.ramp]\nmetric_loss = {{ {text} }}\n").guard_errors
    assert f"guards[0].ramp.{message}" in error


def test_a_flag_has_one_ramp(tmp_path: Path) -> None:
    other = GUARD.replace("payment_completed", "signup_completed")
    settings = declared(tmp_path, f"{GUARD}[guards.ramp]\n{other}[guards.ramp]\n")
    assert len(settings.guards) == 1
    assert "guards[1].ramp: a:payment_completed:production has a ramp of this flag already" in settings.guard_errors[0]


def test_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    guards = [{"flag": "a", "conversion": "payment_completed", "ramp": {"steps": [0.5, 1]}}]
    assert load_settings(None, {"GTM_GUARDS": json.dumps(guards)}).guards[0].ramp == Ramp(steps=(0.5, 1))
