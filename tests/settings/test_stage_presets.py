"""Stage presets: what each sets, that whatever is set by hand wins, and where a value says that it comes from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gtm_dagster.settings import Settings, SettingsError, read_settings
from gtm_dagster.settings.listed import in_toml, listed
from gtm_dagster.settings.stage_presets import PRESETS, preset_keys
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.settings_for_plan import deployment_of

MODELS = {
    "pre_seed": ["first_touch", "last_touch"],
    "seed": ["first_touch", "last_touch", "linear", "position_based"],
    "series_a": ["first_touch", "last_touch", "last_non_direct", "linear", "position_based", "time_decay"],
    "plg": ["first_touch", "last_non_direct", "linear", "time_decay"],
    "sales_led": ["first_touch", "last_non_direct", "w_shaped", "full_path"],
}
ELSE: dict[str, dict[str, Any]] = {
    "pre_seed": {"funnel.steps": ["acquired", "signed_up", "first_value"]},
    "seed": {},
    "series_a": {"attribution.half_life_hours": 168.0},
    "plg": {
        "conversions": ["payment_completed", "signup_completed", "first_value_reached"],
        "attribution.half_life_hours": 72.0,
        "retention.unit": "week",
        "retention.activity": ("feature_used",),
    },
    "sales_led": {
        "conversions": ["payment_completed", "lead_created", "demo_requested"],
        "account_property": "account_id",
        "attribution.stages": ("lead_created", "demo_requested"),
        "attribution.min_history_days": 90,
        "funnel.steps": ["acquired", "lead", "demo", "trial", "customer"],
        "retention.unit": "month",
    },
}
OWN_PLAN = """
version: 1-0-0
events:
  page_viewed: {description: a page, owner: web, stage: acquisition}
"""


def value_of(settings: Settings, key: str) -> Any:
    """A setting by its key; of conversions and steps their names."""
    part: Any = settings
    for name in key.split("."):
        part = getattr(part, name)
    if key == "conversions":
        return [each.event for each in part]
    return [each.stage for each in part] if key == "funnel.steps" else part


@pytest.mark.parametrize("stage", PRESETS)
def test_a_preset(stage: str) -> None:
    settings, origin = read_settings(None, {"GTM_STAGE": stage, "GTM_CONFIG": "/dev/null"})
    assert [window.model for window in settings.attribution.windows] == MODELS[stage]
    assert {key: value_of(settings, key) for key in ELSE[stage]} == ELSE[stage]
    keys = set(preset_keys(PRESETS[stage].values))  # type: ignore[index]
    assert keys == {"attribution.windows", *ELSE[stage]} == set(origin.stage_keys)
    origins = {each.key: each.origin for each in listed(settings, origin)}
    assert {key for key, place in origins.items() if place == f"stage {stage}"} == keys
    assert deployment_of(settings, load_plan(), origin).notices == (), "its events are those of the packaged plan"


def test_what_is_set_by_hand_wins(tmp_path: Path) -> None:
    (tmp_path / "gtm.toml").write_text(
        'stage = "plg"\n[retention]\nunit = "day"\n[attribution]\nhalf_life_hours = 24\n'
    )
    settings, origin = read_settings(
        tmp_path / "gtm.toml", {"GTM_ATTRIBUTION__WINDOWS": '[{"model": "linear", "lookback_hours": 24}]'}
    )
    assert [window.model for window in settings.attribution.windows] == ["linear"]
    assert (settings.retention.unit, settings.retention.activity) == ("day", ("feature_used",))
    origins = {each.key: each.origin for each in listed(settings, origin)}
    assert origins["retention.unit"] == "gtm.toml line 3"
    assert origins["retention.activity"] == "stage plg"
    assert origins["attribution.windows"] == "GTM_ATTRIBUTION__WINDOWS"
    assert origins["attribution.max_touches"] == "default"


def test_a_variable_chooses_another_stage_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "gtm.toml").write_text('stage = "plg"\n')
    settings, _ = read_settings(tmp_path / "gtm.toml", {"GTM_STAGE": "seed"})
    assert settings.stage == "seed" and settings.retention.activity == ()


def test_a_stage_that_is_none_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"stage: 'growth' is not one of pre_seed, seed, series_a, plg, sales_led"):
        read_settings(None, {"GTM_STAGE": "growth", "GTM_CONFIG": "/dev/null"})


def test_of_a_preset_what_the_own_plan_lacks_is_left_out_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(OWN_PLAN)
    settings, origin = read_settings(None, {"GTM_STAGE": "plg", "GTM_CONFIG": "/dev/null"})
    found = deployment_of(settings, load_plan(tmp_path / "plan.yaml"), origin)
    assert found.settings.conversions == () and found.settings.retention.activity == ()
    assert any(line.startswith("retention.activity: feature_used of the defaults left out") for line in found.notices)


def test_settings_are_shown_as_toml_and_secrets_are_not(tmp_path: Path) -> None:
    environment = {"GTM_CONFIG": "/dev/null", "GTM_PRIVACY__PSEUDONYM_KEY": "geheim" * 8, "GTM_OPS_URL": "postgresql://u:geheim@h/d",
                   "GTM_NOTIFY": json.dumps([{"url": "https://hooks.example/geheim"}])}  # fmt: skip
    text = "\n".join(in_toml(each) for each in listed(*read_settings(None, environment)))
    assert "geheim" not in text
    assert "quarantine.days = 30  # default" in text and "# warehouse.threads is not set  # default" in text


@pytest.mark.parametrize("stage", PRESETS)
def test_the_page_shows_the_preset(stage: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "stages.md").read_text()
    block = page.partition(f"## {stage}\n")[2].partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(block) == PRESETS[stage].values  # type: ignore[index]
    assert " ".join(PRESETS[stage].meaning.split()) in " ".join(page.split())  # type: ignore[index]
