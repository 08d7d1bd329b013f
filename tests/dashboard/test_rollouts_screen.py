"""The pages of guards: live from the ops store, the same verdict as the sensor's."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from acting_cases import GUARD, armed, broken, settings_for, through
from dashboard_cases import dashboard, publish, small

from gtm_dagster.dashboard import guard_view
from gtm_dagster.dashboard.guard_view import arm, guard_views
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.settings import Guard

PAGE = "/rollouts/checkout-v2%3Apayment_completed%3Aproduction"


def test_a_broken_flow_shows_both_arms_the_loss_and_the_evidence_before_anything_is_done(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with OpsStore.of(settings) as store:
        armed(settings, store, broken())
    with dashboard(settings) as client:
        overview, page = client.get("/rollouts").text, client.get(PAGE).text
    for text in (overview, page):
        assert "BREACH" in text and "95 %" in text
    assert '<svg xmlns="http://www.w3.org/2000/svg" class="chart evidence"' in page
    for text in (overview, page):  # the loss has a range of its own, beside the rates of the whole epoch
        assert re.search(r"exposed since [\d: -]+ UTC whose outcome is known: control [\d,]+ of [\d,]+, treated", text)
    assert "When will we know?" in page and "dead flow" in page and "minutes</td>" in page
    assert "release 12" in page  # the history says why it was armed


@pytest.mark.parametrize("is_blind", [False, True], ids=["a breach", "nobody is heard"])
def test_the_first_page_shows_the_state_that_the_page_of_rollouts_shows(tmp_path: Path, is_blind: bool) -> None:
    settings = settings_for(tmp_path)
    publish(settings.serving_path, small(3))
    with OpsStore.of(settings) as store:
        if is_blind:
            store.ensure(GUARD.key, GUARD.flag, GUARD.conversion, GUARD.environment)
            store.new_epoch(
                GUARD.key, 0, 1_000, actor="ann", reason="launch", fingerprint=None, at_us=1_764_000_000_000_000
            )
        else:
            armed(settings, store, broken())
    with dashboard(settings) as client:
        pages = [client.get(path).text for path in ("/", "/rollouts")]
    kind, state = ("bad", "BLIND") if is_blind else ("bad", "BREACH")
    assert all(f'<span class="state {kind}">{state}</span>' in page for page in pages)
    assert all(">ARMED<" not in page for page in pages)


@pytest.mark.parametrize(
    ("seconds", "later", "changes", "evaluations"),
    [
        pytest.param(0.01, 0.05, False, 2, id="a cheap one is of this moment"),
        pytest.param(0.5, 4.9, False, 1, id="a dear one serves the next pages"),
        pytest.param(0.5, 5.1, False, 2, id="for ten times what it took"),
        pytest.param(0.5, 0.1, True, 2, id="not after the guard has moved"),
    ],
)
def test_a_dear_evaluation_serves_several_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, later: float, changes: bool, evaluations: int
) -> None:
    settings, now, evaluate, asked = settings_for(tmp_path), [100.0], guard_view.evaluate, []

    class Clock:
        time_ns = staticmethod(guard_view.time.time_ns)

        def monotonic(self) -> float:
            return now[0]

    def counted(*given: object) -> object:
        asked.append(given)
        now[0] += seconds
        return evaluate(*given)

    monkeypatch.setattr(guard_view, "time", Clock())
    monkeypatch.setattr(guard_view, "evaluate", counted)
    with OpsStore.of(settings) as store:
        armed(settings, store, broken())
        assert guard_views(store, settings, [GUARD])[0].state == "BREACH"
        now[0] += later
        if changes:
            row = store.guard(GUARD.key)
            store.new_epoch(
                GUARD.key, row.version, row.epoch_since_us + 1, actor="ann", reason="again", fingerprint=None, at_us=row.changed_us + 1
            )  # fmt: skip
        assert (guard_views(store, settings, [GUARD])[0].state == "BREACH") != changes
    assert len(asked) == evaluations


def test_after_a_rollback_the_page_says_so_and_how_to_replay_it(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with OpsStore.of(settings) as store:
        context, watermark_us = armed(settings, store, broken())
        through(context, watermark_us)
        episode = store.rollbacks(evidence=False)[0].episode
    with dashboard(settings) as client:
        overview, page = client.get("/rollouts").text, client.get(PAGE).text
    assert "ROLLED BACK" in page and "rolled back, verified" in overview
    assert f"gtm guard replay {episode}" in page


def test_of_many_rollbacks_the_newest_stand_first(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with OpsStore.of(settings) as store:
        for number in range(40):
            store.insert_rollback(
                episode=f"episode-{number}", guard=GUARD.key, flag=GUARD.flag, environment=GUARD.environment,
                provider="flagd", intent_us=1_000_000 * (number + 1), decided_us=1_000_000 * number, outcome="rolled_back",
                epoch=1,
            )  # fmt: skip
    with dashboard(settings) as client:
        page = client.get("/rollouts").text
    assert page.index("episode-39") < page.index("episode-38")
    assert "episode-0<" not in page


def test_a_guard_that_was_never_armed_has_no_figures(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, GUARD, Guard("other", "signup_completed"))
    with OpsStore.of(settings) as store:
        armed(settings, store, broken(factor=1.0))
    with dashboard(settings) as client:
        page = client.get("/rollouts/other%3Asignup_completed%3Aproduction").text
    assert "NEVER ARMED" in page and "gtm guard rearm other" in page
    assert "Evidence over time" not in page and '<div class="value">0' not in page


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/rollouts/nope", 404, "there are: checkout-v2:payment_completed:production"),
        (PAGE, 503, "There is no ops store yet."),
        ("/rollouts", 200, "There is no ops store yet."),
    ],
    ids=["no such guard", "a guard without an ops store", "all guards without an ops store"],
)
def test_what_is_missing_is_named(tmp_path: Path, path: str, status: int, words: str) -> None:
    with dashboard(settings_for(tmp_path)) as client:
        answer = client.get(path)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text


def test_without_a_declared_guard_the_page_says_how_to_declare_one(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(settings_for(tmp_path), guards=())
    with OpsStore.of(settings), dashboard(settings) as client:
        assert "No guard is declared" in client.get("/rollouts").text


# Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
@pytest.mark.parametrize(
    ("exposed", "converted", "low", "high"),
    [(263, 81, 0.2553, 0.3662), (148, 15, 0.0624, 0.1605), (20, 0, 0.0, 0.1611), (29, 1, 0.0061, 0.1718)],
)
def test_the_interval_of_a_rate_is_wilsons(exposed: int, converted: int, low: float, high: float) -> None:
    found = arm("control", exposed, converted)
    assert (round(found.low or 0, 4), round(found.high or 0, 4)) == (low, high)
