"""What the dashboard counts of itself: answers by page and status, and how long each took."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram

from gtm_dagster.dashboard.screen import screens
from gtm_dagster.monitoring.process_registry import process_registry

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OTHERS = ("chart", "query", "other")


class RequestMetrics:
    """The dashboard's registry, `process_*` among it, with every page at 0 from the start."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = process_registry("dashboard")
        self._answers = Histogram(
            "gtm_dashboard_answer_seconds", "Seconds from a request to its answer, by page and status class.",
            ["page", "status"], buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._pages = frozenset({*(screen.name for screen in screens()), *_OTHERS})
        for page in self._pages:
            for status in ("2xx", "4xx", "5xx"):
                self._answers.labels(page, status)

    def answered(self, page: str | None, status: int, seconds: float) -> None:
        """Count an answer. `page`: the name of its route; one that is no page counts as `other`."""
        name = page if page in self._pages else "other"
        kind = f"{status // 100}xx" if status >= 400 else "2xx"
        self._answers.labels(name, kind).observe(seconds)
