"""Settings of a guard's metrics: what is taken, and what is refused with its place and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtm_dagster.settings import GuardPage, Settings, load_settings, read_settings, stakes
from gtm_dagster.settings.guard_metrics import GuardMetric
from gtm_dagster.taxonomy.plan import load_plan
from gtm_dagster.taxonomy.settings_for_plan import settings_for_plan

GUARD = '[[guards]]\nflag = "f"\nconversion = "payment_completed"\n'


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "gtm.toml").write_text(text)
    return load_settings(folder / "gtm.toml", {})


def metric(**fields: object) -> str:
    given = {"name": "errors", "kind": "error", "event": "trial_expired"} | fields
    lines = [f"{name} = {value!r}".replace("'", '"') for name, value in given.items() if value is not None]
    return "[[guards.metrics]]\n" + "\n".join(lines) + "\n"


def value(**fields: object) -> str:
    return metric(**({"name": "revenue", "kind": "value", "event": "payment_completed", "value": "amount"} | fields))


def test_metrics_and_the_page_line_are_read(tmp_path):
    settings = settings_of(tmp_path, GUARD + metric(stake=0.2) + value(cap=200) + "[guards.page]\nbudget_hours = 100\n")
    (guard,) = settings.guards
    assert not settings.guard_errors
    assert [each.name for each in guard.metrics] == ["errors", "revenue"]
    assert guard.page == GuardPage(budget_hours=100.0)
    assert stakes(guard.conversion_stake, guard.metrics) == pytest.approx((0.4, 0.2, 0.4))


REFUSED = [
    (metric(kind="eror"), "guards[0].metrics[0].kind: 'eror' is not one of conversion, error, value (gtm.toml line 6)", "kind"),
    (metric(name="Errors"), "guards[0].metrics[0].name: 'Errors' is not a name of at most 40 small letters", "name"),
    (metric(name="conversion"), "guards[0].metrics[0].name: 'conversion' is the guard's own conversion; give another name (gtm.toml line 5)", "the conversion is there already"),
    (metric() + metric(), "guards[0].metrics[1].name: 'errors' is another metric of this guard; give another name (gtm.toml line 9)", "twice"),
    (metric(limit=2), "guards[0].metrics[0].limit: belongs to kind value; error asks only whether trial_expired was sent (gtm.toml line 8)", "an error has no limit"),
    (value(), "guards[0].metrics[0].cap: give one of cap (the most a unit counts for) and limit (over it is bad), and not both", "neither cap nor limit"),
    (value(cap=200, limit=2), "guards[0].metrics[0].cap: give one of cap", "both"),
    (value(cap=200, value=None), "guards[0].metrics[0].value: is missing: the property of payment_completed that holds the number", "no property"),
    (value(cap=0), "guards[0].metrics[0].cap: 0 is not a number above 0", "no cap"),
    (value(cap=9, threshold=1.5), "guards[0].metrics[0].threshold: 1.5 is not a loss from 0.02 to 0.9; only a rise may be larger", "more than all cannot be lost"),
    (metric(stake=0.6) + value(cap=9, stake=0.5), "guards[0].metrics: the stakes sum to 1.1 and leave nothing to the 1 without one", "stakes over 1"),
    (metric(treshold=0.2), "guards[0].metrics[0].treshold: there is no such setting; known here:", "a misspelt setting"),
    ("[guards.page]\nmargin = 1\n", "guards[0].page.margin: 1 is not a number of at least 0 and below 1", "all is margin"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "reason"), REFUSED, ids=[row[-1] for row in REFUSED])
def test_what_is_refused_names_its_place_and_what_is_allowed(tmp_path, text, message, reason):
    settings = settings_of(tmp_path, GUARD + text)
    assert settings.guards == (), reason
    assert any(message in error for error in settings.guard_errors), settings.guard_errors


def test_a_stake_of_the_conversion_alone_is_refused_and_all_have_to_sum_to_one(tmp_path):
    refused = settings_of(tmp_path, GUARD + "conversion_stake = 0.5\n")
    assert "conversion_stake: there is no other metric to share with" in refused.guard_errors[0]
    short = settings_of(tmp_path, GUARD + "conversion_stake = 0.5\n" + metric(stake=0.2))
    assert "the stakes sum to 0.7; let them sum to 1, or leave one out" in short.guard_errors[0]


def test_metrics_belong_to_the_guard_above_them(tmp_path):
    other = '[[guards]]\nflag = "g"\nconversion = "payment_completed"\n'
    settings = settings_of(tmp_path, GUARD + metric() + other + metric(name="slow") + metric(kind="x"))
    assert [each.name for each in settings.guards[0].metrics] == ["errors"]
    assert settings.guard_errors == (
        "guards[1].metrics[1].kind: 'x' is not one of conversion, error, value (gtm.toml line 17)",
    )


PLAN = [
    (metric(event="trial_expird"), "guards[0].metrics[0].event: 'trial_expird' is not an event of plan", "did you mean"),
    (value(cap=9, value="amout"), "guards[0].metrics[0].value: 'amout' is not a property of payment_completed", "did you mean amount?"),
    (value(cap=9, value="currency"), "guards[0].metrics[0].value: 'currency' of payment_completed is a string", "a value is a number"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "way_out"), PLAN, ids=["event", "property", "type"])
def test_an_event_or_property_the_plan_does_not_have_is_refused_with_the_nearest(tmp_path, text, message, way_out):
    (tmp_path / "gtm.toml").write_text(GUARD + text)
    settings, origin = read_settings(tmp_path / "gtm.toml", {})
    fitted = settings_for_plan(settings, load_plan(), origin)
    assert fitted.guards == ()
    assert message in fitted.guard_errors[0] and way_out in fitted.guard_errors[0]


def test_the_usual_direction_of_harm():
    usual = {
        "conversion": GuardMetric("a", "conversion", "e").bad,
        "error": GuardMetric("a", "error", "e").bad,
        "cap": GuardMetric("a", "value", "e", value="v", cap=1.0).bad,
        "limit": GuardMetric("a", "value", "e", value="v", limit=1.0).bad,
        "turned": GuardMetric("a", "value", "e", value="v", cap=1.0, direction="up").bad,
    }
    assert usual == {"conversion": "down", "error": "up", "cap": "down", "limit": "up", "turned": "up"}
