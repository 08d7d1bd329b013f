"""The line of a guard that only notifies people: asked for by the sensor, sent and recorded by a run. Never a rollback."""

from __future__ import annotations

import dagster as dg

from gtm_dagster.opsstore import GuardRow
from gtm_dagster.orchestration.guard_jobs import PAGE, URGENT
from gtm_dagster.rollout.control.evaluation import Evaluation
from gtm_dagster.rollout.control.harm_pages import HARM
from gtm_dagster.rollout.guard.decide import ARMED, BREACH, SUSPECT
from gtm_dagster.rollout.guard.judge import page_reason

Asked = dict[str, tuple[str, int, bool]]
"""As the sensor's cursor: under `KEY page`, HARM and the epoch that a page was asked for."""


def harm_request(asked: Asked, key: str, row: GuardRow, evaluation: Evaluation) -> tuple[Asked, dg.RunRequest | None]:
    """The cursor after this look, and the request for the one page of an epoch, once harm is proven and has lasted."""
    name = f"{key} {HARM.lower()}"
    if asked.get(name) == (HARM, row.epoch, True):
        return asked, None
    others = {each: value for each, value in asked.items() if each != name}
    decision, verdict = evaluation.decision, evaluation.page
    if verdict is None or not verdict.fires or decision.act or decision.state not in (ARMED, SUSPECT, BREACH):
        return others, None
    config = {
        "guard": key, "state": HARM, "since_us": verdict.above_since_us or decision.decided_us or 0,
        "reason": page_reason(verdict, evaluation.rule), "epoch": row.epoch,
    }  # fmt: skip
    request = dg.RunRequest(
        run_key=f"page-{key}-{HARM}-{row.epoch}",
        job_name=PAGE,
        run_config={"ops": {"page": {"config": config}}},
        tags={**URGENT, "gtm/guard": key},
    )
    return {**others, name: (HARM, row.epoch, True)}, request
