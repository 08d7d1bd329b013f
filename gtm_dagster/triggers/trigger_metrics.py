"""What the live runner counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from gtm_dagster.triggers.live_figures import SECONDS, LiveFigures
from gtm_dagster.triggers.outcomes import REASONS

HOLDS = ("behind", "blind", "quiet")


class TriggerMetrics(Collector):
    """The families `gtm_trigger_*` of one runner, or of what one process runs of the shards; every child that a rule can have
    is there from the rule's start.
    """

    def __init__(self, figures: LiveFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """The families as they stand now."""
        now = self._figures
        yield CounterMetricFamily("gtm_trigger_events", "Records of the log that were taken.", value=now.events)
        yield CounterMetricFamily("gtm_trigger_busy_seconds", "Seconds in transactions.", value=now.busy_seconds)
        actions = CounterMetricFamily(
            "gtm_trigger_actions", "Messages put into the outbox.", labels=("rule", "channel")
        )
        for (rule, channel), n in sorted((dict.fromkeys(now.channels.items(), 0) | now.actions).items()):
            actions.add_metric((rule, channel), n)
        yield actions
        non_sends = CounterMetricFamily(
            "gtm_trigger_non_sends", "Starts that led to nothing.", labels=("rule", "reason")
        )
        never = dict.fromkeys(product(now.statuses, map(str, REASONS)), 0)
        for (rule, reason), n in sorted((never | now.non_sends).items()):
            non_sends.add_metric((rule, reason), n)
        yield non_sends
        holds = CounterMetricFamily("gtm_trigger_holds", "Decisions that were put off.", labels=("reason",))
        for hold, n in sorted((dict.fromkeys(HOLDS, 0) | now.holds).items()):
            holds.add_metric((hold,), n)
        yield holds
        faults = CounterMetricFamily("gtm_trigger_faults", "Errors a rule raised.", labels=("rule",))
        for rule, n in sorted((dict.fromkeys(now.statuses, 0) | now.faults).items()):
            faults.add_metric((rule,), n)
        yield faults
        yield GaugeMetricFamily(
            "gtm_trigger_lag_seconds", "Age of the oldest record that was not taken.", value=now.lag_seconds
        )
        yield GaugeMetricFamily(
            "gtm_trigger_lag_events", "Records in the log behind the position.", value=now.lag_events
        )
        yield GaugeMetricFamily("gtm_trigger_rules_broken", "1: the file of rules cannot be used, older ones run.", value=now.rules_error is not None)  # fmt: skip
        yield GaugeMetricFamily(
            "gtm_trigger_failing", "1: the log or the state cannot be used.", value=bool(now.error or now.part_errors)
        )
        for name, words, values in (
            ("gtm_trigger_open", "Starts that wait for their time.", now.open),
            ("gtm_trigger_held", "Messages that wait.", now.held),
            ("gtm_trigger_blind", "1: nobody is heard who would report the cancelling event.", now.blind),
            ("gtm_trigger_degraded", "1: the rule raised too often and is stopped.", {k: v == "degraded" for k, v in now.statuses.items()}),
            ("gtm_trigger_paused", "1: a person paused the rule.", {k: v == "paused" for k, v in now.statuses.items()}),
        ):  # fmt: skip
            family = GaugeMetricFamily(name, words, labels=("rule",))
            for rule in sorted(now.statuses):
                if name != "gtm_trigger_blind" or rule in values:
                    family.add_metric((rule,), float(values.get(rule, 0)))
            yield family
        buckets, total = [], 0
        for limit, n in zip((*map(str, SECONDS), "+Inf"), tuple(now.waits), strict=True):
            total += n
            buckets.append((limit, total))
        histogram = HistogramMetricFamily(
            "gtm_trigger_decision_seconds", "Seconds from the receipt of an event to the message in the outbox."
        )
        histogram.add_metric((), buckets, now.waited_seconds)
        yield histogram
