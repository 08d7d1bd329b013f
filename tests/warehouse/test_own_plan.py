"""A plan of one's own: aliases in the settings count, and where a default is left out the tables are built all the same."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gtm_dagster.cli import run
from gtm_dagster.settings import Settings, SettingsError, load_settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.settings_for_plan import settings_for_plan
from gtm_dagster.warehouse.build import build_all
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.verify import verify

PLAN = "version: 1-0-0\naliases: {Order Completed: bought}\nevents:\n  seen:\n  bought: {properties: {total: {type: number}}}\n"
EVENTS = [
    {"event_name": "seen", "timestamp": "2026-01-01T09:00:00Z"},
    {"event_name": "Order Completed", "timestamp": "2026-01-01T10:00:00Z", "properties": {"total": 12.5}},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with two imported events."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    monkeypatch.delenv("GTM_STATE_DIR", raising=False)
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "gtm.toml").write_text('plan_file = "plan.yaml"\nstate_dir = "state"\n')
    common = {"user_id": "u", "context": {"consent": {"analytics": True}}}
    (tmp_path / "e.ndjson").write_text("\n".join(json.dumps({**event, **common}) for event in EVENTS))
    assert run(["import", "e.ndjson"]) == 0
    return tmp_path


def built(settings: Settings, *queries: str, full: bool = False) -> list[Any]:
    """The answers after a build with these settings as the plan has them."""
    plan = load_plan(settings.plan_file)
    with opened(settings.warehouse_path, settings) as con:
        ctx = BuildContext(settings_for_plan(settings, plan), plan, full)
        check_settings(con, ctx, allow_rebuild=True)
        build_all(con, ctx)
        return [con.execute(query).fetchall() for query in queries]


def test_without_any_default_the_tables_are_empty_and_built(folder: Path) -> None:
    settings = load_settings(folder / "gtm.toml", {})
    answers = built(settings, "SELECT count(*) FROM core.conversions", "SELECT count(*) FROM marts.funnel", "SELECT count(*) FROM staging.events")  # fmt: skip
    assert answers == [[(0,)], [(0,)], [(2,)]]


def test_an_alias_of_the_plan_counts_like_its_event(folder: Path) -> None:
    (folder / "gtm.toml").write_text(
        'plan_file = "plan.yaml"\nstate_dir = "state"\nconversions = [{event = "Order Completed", value = "total"}]\n'
        'funnel.steps = ["seen", {stage = "paid", events = ["Order Completed"]}]\nretention.activity = ["Order Completed"]\n'
    )
    settings = load_settings(folder / "gtm.toml", {})
    answers = built(
        settings,
        "SELECT conversion_type, value FROM core.conversions",
        "SELECT stage, persons FROM marts.funnel ORDER BY stage_no",
        "SELECT sum(persons) FROM marts.retention",
    )
    assert answers == [[("bought", 12.5)], [("seen", 1), ("paid", 1)], [(1,)]]
    plan = load_plan(settings.plan_file)
    assert verify(settings, plan).ok
    with pytest.raises(SettingsError, match="retention"):
        verify(
            msgspec.structs.replace(settings, retention=msgspec.structs.replace(settings.retention, activity=("x",))),
            plan,
        )


def test_an_event_that_was_renamed_counts_under_its_new_name(folder: Path) -> None:
    conversions = 'plan_file = "plan.yaml"\nstate_dir = "state"\nconversions = [{event = "%s", value = "total"}]\n'
    (folder / "gtm.toml").write_text(conversions % "bought")
    query = "SELECT conversion_type, value FROM core.conversions"
    assert built(load_settings(folder / "gtm.toml", {}), query) == [[("bought", 12.5)]]
    (folder / "gtm.toml").write_text(conversions % "paid")
    (folder / "plan.yaml").write_text(PLAN.replace("1-0-0", "1-1-0").replace("bought", "paid").replace("{Order", "{bought: paid, Order"))  # fmt: skip
    settings = load_settings(folder / "gtm.toml", {})
    assert built(settings, query) == [[("paid", 12.5)]]
    required = "total: {type: number, required: true}, order: {type: string, required: true}"
    (folder / "plan.yaml").write_text((folder / "plan.yaml").read_text().replace("1-1-0", "2-0-0").replace("total: {type: number}", required))  # fmt: skip
    assert built(settings, query) == [[("paid", 12.5)]]  # by the version it carries
    assert verify(settings, load_plan(settings.plan_file)).ok
    assert built(settings, query, full=True) == [[]]
    assert verify(settings, load_plan(settings.plan_file)).ok
