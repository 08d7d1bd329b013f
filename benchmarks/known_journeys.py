"""Known answers of small journeys: touches and payments of a few persons, imported, refreshed and queried by `gtm`.

Every scenario pays in a currency of its own: that is how its figures are found among those of the others.
"""

from __future__ import annotations

import csv
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.known_answer import Figure, KnownAnswer, compared
from benchmarks.scratch_deployment import Deployment
from gtm_dagster.settings import SettingsError, load_settings

Scenario = dict[str, Any]

_HOURS = 96
_MODELS = ("first_touch", "last_touch", "linear", "time_decay", "position_based")
_NO_DIRECT, _NEWEST_TEN = "linear_exclude_direct", "linear_of_ten"
_MOST_HOURS = 1_000_000
_SETTINGS = """
state_dir = ".gtm"
plan_file = "plan.yaml"
conversions = [{ event = "payment_completed", value = "amount", currency = "currency", where = { plan = "pro" }, count = "$count" }]

[sessions]
definition = "tracker"

[attribution]
windows = [$windows]
half_life_hours = 24
max_touches = 10
min_history_days = 0

[privacy]
consent = "off"
"""
_PLAN = """
version: 1-0-0
events:
  page_viewed:
    description: A touch.
    stage: acquisition
    owner: marketing
  payment_completed:
    description: A customer paid.
    stage: revenue
    owner: growth
    properties:
      amount: {type: number, required: true, minimum: 0}
      currency: {type: string, required: true, pattern: "[A-Z]{3}"}
      plan: {type: string, required: true}
"""
_MAPPING = """
[columns]
event_id = "event_id"
event_name = "event_name"
user_id = "person"
session_id = "session"
device_type = "device"
source = "source"
medium = "medium"
campaign = "campaign"

[timestamp]
column = "ts"
timezone = "UTC"

[properties]
amount = { column = "amount", type = "number" }
currency = { column = "currency" }
plan = { column = "plan" }
"""
_COLUMNS = (
    "event_id", "event_name", "person", "session", "device", "source", "medium", "campaign", "ts", "amount", "currency", "plan",
)  # fmt: skip
_CREDITS = (
    "SELECT conversion_id, model, session_key, channel, source, campaign, credit, value FROM marts.attribution_credits"
)
_TOUCHES = (
    "SELECT conversion_id, session_key, source, is_truncated, touch_us FROM core.touchpoints ORDER BY touch_us, tie_no"
)
_CONVERSIONS = "SELECT conversion_id, currency, conversion_us FROM core.conversions"
_CHANNELS = {"Direct": ("", ""), "Paid Search": ("google", "cpc")}


def journeys(folder: Path) -> Iterator[Figure]:
    """All scenarios: those of every conversion in one deployment, those of the first of a person in another."""
    scenarios: list[Scenario] = msgspec.json.decode((folder / "scenarios.json").read_bytes())
    with tempfile.TemporaryDirectory() as scratch:
        every = _deployment(Path(scratch) / "every", "all", scenarios)
        first = _deployment(Path(scratch) / "first", "first", scenarios)
        for scenario in scenarios:
            for what, expected, computed in _answers(scenario, every, first, Path(scratch)):
                what = f"{scenario['id']} {what}"
                if isinstance(expected, dict):
                    yield from compared(what, expected, computed, 1e-4)
                else:
                    yield Figure(what, expected, computed, 1e-4)


@dataclass(frozen=True)
class Journeys:
    """What a refreshed deployment holds: rows of credits, touches and conversions."""

    credits: list[dict[str, Any]]
    touches: list[dict[str, Any]]
    conversions: list[dict[str, Any]]

    def of(self, scenario: Scenario) -> set[str]:
        """The conversions of a scenario in the range of its report."""
        begin, end = (_us(scenario["config"][name]) for name in ("report_from", "report_to"))
        return {
            row["conversion_id"]
            for row in self.conversions
            if row["currency"] == _currency(scenario) and begin <= row["conversion_us"] <= end
        }


def _us(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1e6)


def _deployment(folder: Path, count: str, scenarios: list[Scenario]) -> Journeys:
    windows = [f'{{ model = "{model}", lookback_hours = {_HOURS} }}' for model in (*_MODELS, "participation")]
    windows += [
        f'{{ model = "linear", lookback_hours = {_HOURS}, name = "{_NO_DIRECT}", without = ["Direct"] }}',
        f'{{ model = "linear", lookback_hours = {_HOURS}, name = "{_NEWEST_TEN}", transforms = ["newest:10"] }}',
    ]
    ours = Deployment(folder, "sessions")
    ours.write("gtm.toml", _SETTINGS.replace("$windows", ", ".join(windows)).replace("$count", count))
    ours.write("plan.yaml", _PLAN)
    plain = [row for scenario in scenarios if not _spellings(scenario) for row in _rows(scenario)]
    _load(ours, "plain", plain, [])
    for scenario in scenarios:
        if spellings := _spellings(scenario):
            _load(ours, scenario["id"], list(_rows(scenario)), spellings)
    ours.gtm("refresh")
    return Journeys(ours.rows(_CREDITS), ours.rows(_TOUCHES), ours.rows(_CONVERSIONS))


def _spellings(scenario: Scenario) -> list[str]:
    """The lines of a mapping that make many spellings of a campaign one."""
    return [
        f'"{spelling}" = "{name}"'
        for names in scenario["config"].get("campaign_mapping", {}).values()
        for name, known in names.items()
        for spelling in known
    ]


def _load(ours: Deployment, name: str, rows: list[Mapping[str, object]], spellings: list[str]) -> None:
    with ours.write(f"{name}.csv", "").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    ours.write("mapping.toml", _MAPPING + ("[values.campaign]\n" + "\n".join(spellings) if spellings else ""))
    ours.load(ours.folder / f"{name}.csv", "mapping.toml")


def _rows(scenario: Scenario) -> Iterable[Mapping[str, object]]:
    """The events of a scenario: a page view a touch, in a session of its own unless it names one, and the payments."""
    for number, touch in enumerate(scenario["touches"]):
        source, medium = _CHANNELS.get(touch.get("channel", ""), (touch.get("source", ""), ""))
        yield {
            "event_id": f"{scenario['id']}-touch-{number}",
            "event_name": "page_viewed",
            "person": f"{scenario['id']}-{touch['person']}",
            "session": f"{scenario['id']}-{touch.get('session', number)}",
            "device": "web",
            "source": source or ("(not set)" if touch.get("campaign") else ""),
            "medium": medium,
            "campaign": touch.get("campaign", ""),
            "ts": touch["ts"],
        }
    for number, payment in enumerate(scenario["conversions"]):
        yield {
            "event_id": f"{scenario['id']}-payment-{number}",
            "event_name": "payment_completed",
            "person": f"{scenario['id']}-{payment['person']}",
            "device": "api",
            "ts": payment["ts"],
            "amount": payment["revenue"],
            "currency": _currency(scenario),
            "plan": payment.get("plan", "pro"),
        }


def _currency(scenario: Scenario) -> str:
    number = int(scenario["id"].removeprefix("PH"))
    return "X" + chr(65 + number // 26) + chr(65 + number % 26)


def _answers(scenario: Scenario, every: Journeys, first: Journeys, scratch: Path) -> Iterator[tuple[str, object, Any]]:
    """(what, expected, computed) of one scenario."""
    ours = every if scenario["config"]["multiple_conversions"] else first
    by = scenario["expected"].get("by", "source")
    for what, expected in scenario["expected"].items():
        if what in (*_MODELS, _NO_DIRECT):
            yield what, expected, _credit(ours, scenario, what, by)
        elif what in ("last_touch_multiple_on", "last_touch_multiple_off"):
            all_or_first = every if what.endswith("on") else first
            yield what, expected, _credit(all_or_first, scenario, "last_touch", by)
        elif what == "sum_every_model":
            for model in _MODELS:
                yield f"sum of {model}", float(expected), sum(_credit(ours, scenario, model, by).values())
        elif what == "absent":
            earned = {name for model in _MODELS for name, credit in _credit(ours, scenario, model, by).items() if credit}  # fmt: skip
            yield what, [], sorted(earned & set(expected))
        elif what in ("influenced", "influenced_value"):
            column = "value" if what.endswith("value") else "credit"
            yield what, expected, _credit(ours, scenario, "participation", by, column)
        elif what in ("total_conversions", "unattributed_conversions"):
            yield what, expected, _conversions(ours, scenario, what.startswith("unattributed"))
        elif what == "error_for_lookback_days":
            for days in expected:
                yield f"lookback of {days} days", True, _refused(scratch, days)
        elif what == "paths":
            yield what, expected, _paths(ours, scenario)
        elif what == "paths_ranked":
            yield what, expected, [list(each) for each in sorted(_paths(ours, scenario).items(), key=lambda each: -each[1])]  # fmt: skip
        elif what == "path":
            mine = ours.of(scenario)
            counted = {row["session_key"] for row in ours.credits if row["model"] == _NEWEST_TEN and row["conversion_id"] in mine}  # fmt: skip
            yield what, expected, [row["source"] for row in ours.touches if row["conversion_id"] in mine and row["session_key"] in counted]  # fmt: skip
        elif what == "truncated":
            mine = ours.of(scenario)
            yield what, expected, any(row["is_truncated"] for row in ours.touches if row["conversion_id"] in mine)
        elif what != "by":
            raise ValueError(f"{scenario['id']}: no answer to {what}")


def _credit(ours: Journeys, scenario: Scenario, model: str, by: str, column: str = "credit") -> dict[str, float]:
    mine, found = ours.of(scenario), defaultdict[str, float](float)
    for row in ours.credits:
        if row["model"] == model and row["conversion_id"] in mine and row["channel"] != "(unattributed)":
            found[row[by]] += row[column]
    return dict(found)


def _conversions(ours: Journeys, scenario: Scenario, unattributed: bool) -> int:
    mine = ours.of(scenario)
    rows = [row for row in ours.credits if row["model"] == "linear" and row["conversion_id"] in mine]
    return len({row["conversion_id"] for row in rows if not unattributed or row["channel"] == "(unattributed)"})


def _paths(ours: Journeys, scenario: Scenario) -> dict[str, int]:
    mine, sources = ours.of(scenario), defaultdict[str, list[str]](list)
    for row in ours.touches:
        if row["conversion_id"] in mine:
            sources[row["conversion_id"]].append(row["source"])
    return dict(Counter(" > ".join(names) for names in sources.values()))


def _refused(scratch: Path, days: int | str) -> bool:
    """Whether a deployment with such a lookback does not start."""
    hours = _MOST_HOURS + 24 if days == "max+1" else int(days) * 24
    file = scratch / "refused.toml"
    file.write_text(f'[attribution]\nwindows = [{{ model = "linear", lookback_hours = {hours} }}]\n', encoding="utf-8")
    try:
        load_settings(file)
    except SettingsError:
        return True
    return False


CASES = (KnownAnswer("09_posthog_scenarios", "sixteen journeys through import and refresh", journeys),)
