"""One guard: both arms, the evidence against its bar, what it would take, its metrics, segments, ramp and history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from gtm_dagster.dashboard.charts.svg_parts import HALF
from gtm_dagster.dashboard.guard_view import Arm, GuardView, arm, guard_view
from gtm_dagster.dashboard.live_store import TROUBLE
from gtm_dagster.dashboard.notices import NotFoundError
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.view import View
from gtm_dagster.reports.names_in_text import isolated


def context(view: View) -> dict[str, Any]:
    """The guard of the path. Raises NotFoundError for one that is not declared, UnavailableError without an ops store."""
    key = view.path["key"]
    guard = next((each for each in view.settings.watched if each.key == key), None)
    if guard is None:
        there = ", ".join(isolated(each.key) for each in view.settings.guards)
        raise NotFoundError(
            f"no guard {isolated(key[:200])} is declared; {f'there are: {there}' if there else 'there is none'}"
        )
    with view.live.reading() as store:
        shown = guard_view(store, view.settings, guard)
    return {
        "each": shown,
        "picture": Markup(shown.picture()),  # noqa: S704 - charts/ escape every text
        "picture_small": Markup(shown.picture(HALF)),  # noqa: S704 - as above
        "times": shown.times_to_proof(),
        "metrics": _metrics(shown),
        "segments": _segments(shown.segments),
        "trouble": TROUBLE,
    }


def _metrics(shown: GuardView) -> list[dict[str, Any]]:
    """A row a metric of a guard of several, with what is bad and how it stands."""
    seen = shown.evaluation
    if seen is None or not seen.verdict.metrics:
        return []
    return [{"rule": metric, "verdict": seen.verdict.of_metric(metric.name)} for metric in seen.rule.metrics]


def _segments(rows: Sequence[tuple[str, str, str, int, int]]) -> dict[str, list[tuple[str, Arm, Arm]]]:
    """By kind: segment, control and treated, the largest first."""
    found: dict[str, dict[str, dict[str, tuple[int, int]]]] = {}
    for kind, name, which, exposed, converted in rows:
        found.setdefault(kind, {}).setdefault(name, {})[which] = (exposed, converted)
    return {
        kind: [
            (name, arm("control", *arms.get("control", (0, 0))), arm("treated", *arms.get("treatment", (0, 0))))
            for name, arms in sorted(names.items(), key=lambda each: -sum(n for n, _ in each[1].values()))
        ]
        for kind, names in found.items()
    }


SCREEN = Screen(
    name="rollout",
    path="/rollouts/{key:path}",
    title="Rollout",
    context=context,
    order=None,
    controls=(),
    needs_tables=False,
)
