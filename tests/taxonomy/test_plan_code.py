"""`gtm plan export --format typescript | python`: what is written compiles, refuses what the plan refuses, and tracks."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gtm_dagster.cli import run
from gtm_dagster.micro.running_micro import running_micro
from gtm_dagster.privacy.consent import OFF
from gtm_dagster.taxonomy import EventValidator, Plan, load_plan
from gtm_dagster.taxonomy.plan import parse_plan
from gtm_dagster.taxonomy.plan_python import to_python
from gtm_dagster.taxonomy.plan_typescript import to_typescript
from gtm_dagster.tracking import AsyncGtmTracker

ROOT = Path(__file__).parents[2]
TSC = ROOT / ".cache" / "typescript" / "package" / "lib" / "tsc.js"
ODD = parse_plan(r"""
version: 1-0-0
aliases: {Bought: bought}
events:
  constructor: {}
  import: {properties: {class: {type: string, required: true}, from: {type: integer, allowed: [1, 2]}}}
  a_b: {description: 'Ends */ here, says "so" and \d\n'}
  a__b: {additional: true, properties: {title: {type: string, description: 'A "title" */ `x` \'}}}
  events: {}
  bought:
    description: |
      Somebody paid.
      Twice.
    properties:
      amount: {type: number, required: true, minimum: 0, allowed: [0.5, 1.5]}
      period: {type: string, allowed: [month, "it's \"odd\""]}
      first: {type: boolean, allowed: [true]}
      code: {type: string, pattern: '[A-Z]{3}\*/'}
""")
GOOD_PYTHON = """
from plan_events import Events
from gtm_dagster.tracking import AsyncGtmTracker, GtmTracker

def work(tracker: GtmTracker) -> str:
    events = Events(tracker)
    events.page_viewed({"title": "x"}, anonymous_id="a")
    events.page_viewed(anonymous_id="a", more={"n": 1})
    return events.payment_completed({"amount": 49.0, "currency": "EUR", "billing_period": "month"}, user_id="u")

async def works(tracker: AsyncGtmTracker) -> str:
    return await Events(tracker).payment_completed({"amount": 49, "currency": "EUR"}, user_id="u")
"""
GOOD_TYPESCRIPT = """
import { Events, Event } from "./plan_events";
const sent: Event[] = [];
const events = new Events((event) => sent.push(event));
events.paymentCompleted({ amount: 49, currency: "EUR", billing_period: "month" }, { user_id: "u" });
events.pageViewed({ anonymous_id: "a", context: { consent: { analytics: true } } }, { title: "x", n: 1 });
console.log(JSON.stringify(sent));
"""


def test_the_command_writes_both(tmp_path: Path) -> None:
    for form, written in (("typescript", to_typescript), ("python", to_python)):
        assert run(["plan", "export", "--format", form, "--out", str(tmp_path / form)]) == 0
        assert (tmp_path / form).read_text() == written(load_plan())
    assert run(["plan", "export", "--format", "java"]) == 2


def module_of(plan: Plan) -> Any:
    module = ModuleType("plan_events")
    exec(compile(to_python(plan), "plan_events.py", "exec"), vars(module))
    return module


def mypy(folder: Path, *files: str) -> str:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir",
        str(folder / "cache"),
        *files,
    ]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--follow-imports", "silent"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.slow
def test_python_keeps_to_mypy_strict(tmp_path: Path) -> None:
    (tmp_path / "packaged.py").write_text(to_python(load_plan()))
    (tmp_path / "odd.py").write_text(to_python(ODD))
    assert mypy(tmp_path, "packaged.py", "odd.py") == ""


@pytest.mark.slow
def test_mypy_takes_what_the_plan_takes_and_names_what_it_refuses(tmp_path: Path) -> None:
    (tmp_path / "plan_events.py").write_text(to_python(load_plan()))
    (tmp_path / "good.py").write_text(GOOD_PYTHON)
    wrong = {
        "misspelt": ('"currency": "EUR"', '"curency": "EUR"'),
        "missing": (', "currency": "EUR", "billing_period": "month"', ""),
        "not_allowed": ('"month"', '"decade"'),
        "of_another_type": ("49.0", '"49"'),
        "no_event": ("payment_completed({", "payment_done({"),
    }
    for name, (old, new) in wrong.items():
        assert old in GOOD_PYTHON
        (tmp_path / f"{name}.py").write_text(GOOD_PYTHON.replace(old, new, 1))
    complaints = mypy(tmp_path, "good.py", *(f"{name}.py" for name in wrong))
    assert {line.partition(".py:")[0] for line in complaints.splitlines() if ": error:" in line} == set(wrong)


def test_python_tracks_by_either_tracker() -> None:
    events_of = module_of(load_plan()).Events
    with running_micro(consent=OFF) as micro:
        events = events_of(micro.tracker())
        first = events.payment_completed({"amount": 49.0, "currency": "EUR"}, user_id="u")
        events.page_viewed({"title": "x"}, more={"n": 1}, anonymous_id="a", context={"locale": "de"})

        async def track() -> str:
            async with AsyncGtmTracker(micro.url, "micro") as tracker:
                return await events_of(tracker).signup_completed(user_id="u")

        second = asyncio.run(track())
        good = {event["event_id"]: event for event in micro.good(count=3)}
    assert good[first]["properties"] == {"amount": 49.0, "currency": "EUR"}
    assert good[second]["event_name"] == "signup_completed"
    assert [event["properties"] for event in good.values() if event["event_name"] == "page_viewed"] == [
        {"title": "x", "n": 1}
    ]


def test_every_event_of_an_odd_plan_has_a_method() -> None:
    class Recorder:
        def track(self, event_name: str, *, properties: Any, **_: Any) -> str:
            return f"{event_name} {properties}"

    events = module_of(ODD).Events(Recorder())
    assert events.import_({"class": "x"}) == "import {'class': 'x'}"
    assert events.a__b({"title": "t"}, more={"n": 1}) == "a__b {'title': 't', 'n': 1}"
    assert (events.a_b(), events.constructor(), events.events()) == ("a_b {}", "constructor {}", "events {}")


def compiled(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    command = [
        "node",
        str(TSC),
        "--strict",
        "--target",
        "es2022",
        "--module",
        "commonjs",
        "--lib",
        "es2022,dom",
        *files,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def typescript() -> None:
    if not TSC.exists():
        pytest.skip("the TypeScript compiler is not here; `make install-typescript` installs it")


@pytest.mark.real
@pytest.mark.usefixtures("typescript")
def test_what_typescript_sends_keeps_to_the_plan(tmp_path: Path) -> None:
    (tmp_path / "plan_events.ts").write_text(to_typescript(load_plan()))
    (tmp_path / "good.ts").write_text(GOOD_TYPESCRIPT)
    (tmp_path / "odd.ts").write_text(to_typescript(ODD))
    assert compiled(tmp_path, "good.ts", "odd.ts").stdout == ""
    done = subprocess.run(["node", "good.js"], cwd=tmp_path, capture_output=True, text=True, check=True)
    sent = json.loads(done.stdout)
    assert [event["event_name"] for event in sent] == ["payment_completed", "page_viewed"]
    validator = EventValidator(load_plan())
    for event in sent:
        assert type(validator.validate(event, live=True, make_id=lambda: "e-1")).__name__ == "Accepted"


WRONG = {
    "misspelt property": ('currency: "EUR"', 'curency: "EUR"', "'curency' does not exist"),
    "property that is needed": (', currency: "EUR"', "", "'currency' is missing"),
    "value that is not allowed": ('"month"', '"decade"', '"decade"'),
    "another type": ("amount: 49", 'amount: "49"', "Type 'string' is not assignable to type 'number'"),
    "event of nobody": ('{ user_id: "u" }', "{}", "is not assignable to parameter of type 'Options'"),
    "no event of the plan": ("paymentCompleted", "paymentDone", "'paymentDone' does not exist"),
    "consent that is none": ("analytics: true", "analytics: 1", "Type 'number' is not assignable"),
}


@pytest.mark.real
@pytest.mark.usefixtures("typescript")
def test_typescript_refuses_what_the_plan_refuses(tmp_path: Path) -> None:
    (tmp_path / "plan_events.ts").write_text(to_typescript(load_plan()))
    for name, (old, new, _) in WRONG.items():
        assert old in GOOD_TYPESCRIPT
        (tmp_path / f"{name}.ts").write_text(GOOD_TYPESCRIPT.replace(old, new, 1) + "export {};\n")
    complaints = compiled(tmp_path, "--noEmit", *(f"{name}.ts" for name in WRONG)).stdout
    for name, (_, _, message) in WRONG.items():
        assert any(line.startswith(f"{name}.ts(") for line in complaints.splitlines()), complaints
        assert message in complaints
