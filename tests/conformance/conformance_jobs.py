"""Which of the recorded statements Spark runs, and the wrong ones among them that have to be seen."""

from __future__ import annotations

from pathlib import Path

from conformance_engines import case_id
from conformance_mutants import boundary

from gtm_dagster.warehouse.engines.dialects import translate

SPAN = ("first_no", "last_no", "open_no")
"""How far retention counts: the data's, and no set of parameters of its own."""


def is_core(statement: str) -> bool:
    """Sessions in every form, touchpoints and credits: what is promised for another engine in any deployment."""
    return statement.startswith("sessions") or statement in ("touchpoints", "credits")


def recorded_jobs(locked: dict) -> list[dict]:
    """Every statement once with each set of parameters; sessions, touchpoints and credits over the late landing's scope,
    because the bundle computes them whole, and each of those once more with one thing wrong."""
    jobs: list[dict] = []
    kinds, planted = set(), set()
    for scenario, recordings in locked["scenarios"].items():
        for number, told in enumerate(recordings):
            home, name = Path(told["folder"]), told["statement"]
            kind = (name, str({key: value for key, value in told["params"].items() if key not in SPAN}))
            if kind in kinds or (is_core(name) and home.parent.name != "late"):
                continue
            kinds.add(kind)
            inputs = {one: str(home / f"{one}.parquet") for one in told["inputs"]}
            job = {"sql": translate(told["sql"], "spark"), "inputs": inputs, "out": str(home / "spark")}
            jobs.append({"id": case_id(scenario, number, told), **job})
            if is_core(name) and name not in planted:
                planted.add(name)
                wrong = boundary(told)
                sql = translate(wrong.filled(told["params"]), "spark")
                planted_job = {**job, "sql": sql, "out": str(home / "planted")}
                jobs.append({"id": f"planted/{name}", "change": wrong.change, **planted_job})
    return jobs
