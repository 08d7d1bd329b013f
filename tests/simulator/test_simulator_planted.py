"""The warehouse finds what the simulator planted: every figure of the truth, exactly, also in two batches."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from gtm_dagster.admission.record import record_from_event, record_from_rejection
from gtm_dagster.attribution import models
from gtm_dagster.attribution.models import TOUCH_MODELS
from gtm_dagster.demo.comparison import compare
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.simulator import Traffic, simulate
from gtm_dagster.simulator.traffic import as_event
from gtm_dagster.taxonomy import EventValidator, load_plan
from gtm_dagster.taxonomy.validator import Accepted
from gtm_dagster.warehouse.build import build_all
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing
from gtm_dagster.warehouse.publishing import publish

END = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
PLAN = load_plan()
HOURS = {"first_touch": 72, "last_touch": 24, "inverse_age": 96, "last_non_direct": 720}
# The simulator plants no stages, and a data-driven model has no shares of one conversion.
PLANTED = [name for name in TOUCH_MODELS if not models.model(name).needs_stages]
WINDOWS = json.dumps([{"model": model, "lookback_hours": HOURS.get(model, 168)} for model in PLANTED])


def land(settings: Settings, traffic: Traffic, begin: int, end: int) -> None:
    """Rows [begin, end) as the collector would have recorded them, in one batch."""
    validator, pseudonymize = EventValidator(PLAN), Pseudonymizer(b"k" * 32)
    part = traffic.events.slice(begin, end - begin)
    received = pc.cast(part["received_at"], pa.int64()).to_pylist()
    rows = []
    for number, (row, received_us) in enumerate(zip(part.to_pylist(), received, strict=True)):
        common = {"write_key": "dev", "received_us": received_us, "plan_version": PLAN.version}
        verdict = validator.validate(as_event(row))
        if isinstance(verdict, Accepted):
            record = record_from_event(verdict.event, pseudonymize=pseudonymize, **common)
        else:
            who = {"event_id": verdict.event_id, "event_name": verdict.event_name}
            record = record_from_rejection(verdict.errors, raw="{}", sealed=None, **who, **common)
        rows.append(
            {name: getattr(record, name) for name in ARROW_SCHEMA.names} | {"row_no": number, "origin": "import"}
        )
    Landing(settings.landing_dir).write(pa.Table.from_pylist(rows, schema=ARROW_SCHEMA), f"import-{begin}")


def refresh(settings: Settings) -> None:
    """Build every table and publish."""
    context = BuildContext(settings, PLAN, False)
    with opened(settings.warehouse_path, settings) as con:
        check_settings(con, context, True)
        build_all(con, context)
        publish(con, settings)


@pytest.mark.parametrize(
    "cuts", [(), pytest.param((0.6, 0.95), marks=pytest.mark.slow)], ids=["whole", "three-batches"]
)
def test_every_planted_figure_is_found_again(tmp_path: Path, cuts):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path), "GTM_ATTRIBUTION__WINDOWS": WINDOWS})
    windows = [(window.model, window.lookback_hours) for window in settings.attribution.windows]
    traffic = simulate(8_000, 32, 3, END, windows=windows)
    edges = [0, *(int(8_000 * cut) for cut in cuts), 8_000]
    for begin, end in pairwise(edges):
        land(settings, traffic, begin, end)
        refresh(settings)
    assert differences(settings, traffic.truth) == []
    assert differences(settings, {**traffic.truth, "persons": 1}) == ["persons"], "the comparison can fail"


def differences(settings: Settings, truth: dict) -> list[str]:
    """Names of the figures that were not found again."""
    return [comparison.name for comparison in compare(settings, truth, 0) if not comparison.ok]


def test_the_comparison_sees_credit_that_moved_to_another_channel(tmp_path: Path):
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path)})
    traffic = simulate(2_000, 10, 3, END)
    land(settings, traffic, 0, 2_000)
    refresh(settings)
    moved = [
        {**row, "channel": "Email" if row["channel"] == "Paid Search" else row["channel"]}
        for row in traffic.truth["credit"]
    ]
    assert "first_touch 72 h, conversions by channel" in differences(settings, {**traffic.truth, "credit": moved})
