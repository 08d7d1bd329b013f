"""Settings may name only what the plan has: events, their aliases, and properties that can be a value or a currency."""

from pathlib import Path

import pytest

from gtm_dagster.settings import (
    Conversion,
    Funnel,
    FunnelStep,
    Guard,
    Retention,
    Settings,
    SettingsError,
    read_settings,
)
from gtm_dagster.taxonomy.plan import Plan, load_plan, parse_plan
from gtm_dagster.taxonomy.settings_for_plan import deployment_of, settings_for_plan

PLAN = """\
version: 1-0-0
aliases: {Order Completed: bought}
events:
  visited:
    description: d
    stage: acquisition
    owner: o
    additional: true
  bought:
    description: d
    stage: revenue
    owner: o
    properties:
      total: {type: number}
      text_total: {type: string}
      currency: {type: string}
      gift: {type: boolean}
      buyer: {type: string, privacy: personal}
      note: {type: string, privacy: free_text}
  bare: {description: d, stage: revenue, owner: o}
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return parse_plan(PLAN)


def deployment(folder: Path, text: str, **environ: str):
    (folder / "plan.yaml").write_text(PLAN)
    (folder / "gtm.toml").write_text(f"plan_file = 'plan.yaml'\n{text}")
    settings, origin = read_settings(folder / "gtm.toml", environ)
    return deployment_of(settings, load_plan(settings.plan_file), origin)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conversions = [{event = 'bougt'}]", "conversions[0].event: 'bougt' is not an event of plan 1-0-0 (PLAN); did you mean bought? (gtm.toml line 2)"),
        ("conversions = [{event = 'xyz'}]", "conversions[0].event: 'xyz' is not an event of plan 1-0-0 (PLAN); the nearest names are "),
        ("conversions = [\n{event = 'visited'},\n{event = 'Order Complete', value = 'total'}]", "conversions[1].event: 'Order Complete' is not an event of plan 1-0-0 (PLAN); did you mean Order Completed (bought)? (gtm.toml line 4)"),
        ("conversions = [{event = 'bought', value = 'totla'}]", "conversions[0].value: 'totla' is not a property of bought in plan 1-0-0 (PLAN); did you mean total? (gtm.toml line 2)"),
        ("conversions = [{event = 'Order Completed', currency = 'curency'}]", "conversions[0].currency: 'curency' is not a property of bought"),
        ("conversions = [{event = 'bare', value = 'total'}]", "conversions[0].value: 'total' is not a property of bare in plan 1-0-0 (PLAN); bare has no properties"),
        ("conversions = [{event = 'bought', value = 'buyer'}]", "conversions[0].value: 'buyer' of bought is of privacy personal and lands as a pseudonym"),
        ("conversions = [{event = 'bought', currency = 'note'}]", "conversions[0].currency: 'note' of bought is of privacy free_text and never lands"),
        ("conversions = [{event = 'bought', value = 'gift'}]", "conversions[0].value: 'gift' of bought is a boolean"),
        ("conversions = [{event = 'bought', currency = 'total'}]", "conversions[0].currency: 'total' of bought is a number"),
        ("conversions = [{event = 'bought'}, {event = 'Order Completed'}]", "conversions[1].event: 'Order Completed' is bought, which is already entry 0"),
        ("conversions = [{event = 'bought', refunds = {event = 'Order Completed'}}]", "conversions[0].refunds.event: 'Order Completed' is the conversion itself"),
        ("[funnel]\nsteps = ['visited', {stage = 'b', events = ['bought', 'paid']}]", "funnel.steps[1].events[1]: 'paid' is not an event"),
        ("[[funnel.steps]]\nstage = 'b'\nevents = ['paid']", "funnel.steps[0].events[0]: 'paid' is not an event"),
        ("[retention]\nactivity = ['visited', 'seen']", "retention.activity[1]: 'seen' is not an event"),
    ],
)  # fmt: skip
def test_a_name_the_plan_does_not_have_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        deployment(tmp_path, text)
    assert message.replace("PLAN", str(tmp_path / "plan.yaml")) in str(raised.value)
    assert "gtm.toml line" in str(raised.value)


def test_every_problem_is_a_line_with_its_own_place(tmp_path: Path) -> None:
    text = "conversions = [\n{event = 'purchase'},\n{event = 'bought', value = 'totl', currency = 'curency'}]\n"
    with pytest.raises(SettingsError) as raised:
        deployment(tmp_path, text, GTM_FUNNEL__STEPS='["visited","seen"]', GTM_RETENTION__ACTIVITY='["seen"]')
    assert [(line.partition(":")[0], line.rpartition(" (")[2]) for line in raised.value.problems] == [
        ("conversions[0].event", "gtm.toml line 3)"),
        ("conversions[1].value", "gtm.toml line 4)"),
        ("conversions[1].currency", "gtm.toml line 4)"),
        ("funnel.steps[1].events[0]", "GTM_FUNNEL__STEPS)"),
        ("retention.activity[0]", "GTM_RETENTION__ACTIVITY)"),
    ]
    assert str(raised.value).splitlines() == list(raised.value.problems)


def test_an_alias_becomes_the_plans_own_name_everywhere(plan: Plan) -> None:
    settings = Settings(
        conversions=(Conversion("Order Completed", "total", "currency"),),
        funnel=Funnel((FunnelStep("paid", ("Order Completed", "bought")),)),
        retention=Retention(activity=("Order Completed", "visited", "bought")),
        guards=(Guard("flag", "Order Completed"),),
    )
    found = settings_for_plan(settings, plan)
    assert found.conversions == (Conversion("bought", "total", "currency"),)
    assert found.funnel.steps == (FunnelStep("paid", ("bought",)),)
    assert found.retention.activity == ("bought", "visited")
    assert [guard.key for guard in found.guards] == ["flag:bought:production"]
    assert settings_for_plan(found, plan) == found


@pytest.mark.parametrize(
    "conversion",
    [
        pytest.param(Conversion("visited", "anything", "else"), id="undeclared properties are allowed"),
        pytest.param(Conversion("bought", "text_total"), id="a text may hold a number"),
        pytest.param(Conversion("bare"), id="no value"),
    ],
)
def test_what_the_event_can_carry_passes(plan: Plan, conversion: Conversion) -> None:
    assert settings_for_plan(Settings(conversions=(conversion,)), plan).conversions == (conversion,)


def test_defaults_the_plan_has_no_event_for_are_left_out_with_a_notice(plan: Plan) -> None:
    found = deployment_of(Settings(), plan)
    assert (found.settings.conversions, found.settings.funnel.steps) == ((), ())
    assert found.notices == (
        "conversions: payment_completed, signup_completed of the defaults left out, since plan 1-0-0 (the packaged plan) does not have them; set conversions to name yours",
        "funnel.steps: acquired (page_viewed), signed_up (signup_completed), onboarded (onboarding_completed), first_value (first_value_reached), retained (feature_used)"
        " of the defaults left out, since plan 1-0-0 (the packaged plan) does not have them; set funnel.steps to name yours",
    )
    assert settings_for_plan(found.settings, plan) == found.settings


def test_of_the_defaults_what_the_plan_has_stays() -> None:
    own = parse_plan(
        "version: 1-0-0\nevents:\n  payment_completed: {properties: {amount: {type: number}}}\n  page_viewed: {}\n"
    )
    found = deployment_of(Settings(), own)
    assert found.settings.conversions == (Conversion("payment_completed", "amount", None),)
    assert [step.stage for step in found.settings.funnel.steps] == ["acquired"]
    assert "the currency currency of payment_completed, signup_completed of the defaults" in found.notices[0]


def test_a_default_that_is_written_out_is_no_default(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="payment_completed"):
        deployment(tmp_path, "conversions = [{event = 'payment_completed', value = 'amount', currency = 'currency'}, {event = 'signup_completed'}]")  # fmt: skip


def test_a_bad_guard_is_its_own_error_and_the_others_stay(tmp_path: Path) -> None:
    text = (
        "conversions = [{event = 'bought'}]\n"
        "[[guards]]\nflag = 'a'\nconversion = 'bought'\nthreshold = 9\n"
        "[[guards]]\nflag = 'b'\nconversion = 'bougt'\n"
        "[[guards]]\nflag = 'c'\nconversion = 'bought'\n"
        "[[guards]]\nflag = 'c'\nconversion = 'Order Completed'\n"
    )
    settings = deployment(tmp_path, text).settings
    assert [guard.key for guard in settings.guards] == ["c:bought:production"]
    threshold, unknown, twice = settings.guard_errors
    assert threshold.startswith("guards[0].threshold")
    assert unknown.startswith("guards[1].conversion: 'bougt' is not an event") and unknown.endswith("line 9)")
    assert twice.startswith("guards[3]: c:bought:production is guarded already") and twice.endswith("line 15)")
