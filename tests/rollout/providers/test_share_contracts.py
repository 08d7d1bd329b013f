"""Setting a share at every HTTP provider: the calls as its documentation says, and what is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from loopback import Answer, Loopback, serve
from provider_cases import CASES, FLAG, Case, Routes, routes

from gtm_dagster.rollout.providers import Conflict, FlagState, FlagWriter, ProviderError, kinds, provider
from gtm_dagster.rollout.providers.base.split_writer import ShareWriter
from gtm_dagster.rollout.providers.flagd import Flagd, set_split

UNLEASH = f"/api/admin/projects/default/features/{FLAG}"
HERE = f"{UNLEASH}/environments/production"
LD = f"/api/v2/flags/default/{FLAG}"
POSTHOG = "/api/projects/77/feature_flags/42/"
FLAGSMITH = "/api/v1/environments/envkey/featurestates/9/"


def growthbook_rules(share: float) -> list[dict[str, Any]]:
    rule = {"id": "r", "type": "rollout", "enabled": True, "value": "true", "coverage": 0.5, "hashAttribute": "id"}
    return [
        {**rule, "environments": ["production"], "coverage": share},
        {**rule, "environments": ["dev"], "coverage": 1},
    ]


def own_rule(answers: Routes) -> None:
    answers["GET", f"/api/v2/features/{FLAG}"].body["feature"]["rules"] = growthbook_rules(0.5)


def one_option(answers: Routes) -> None:
    (state,) = answers["GET", f"/api/v1/environments/envkey/featurestates/?feature_name={FLAG}"].body["results"]
    option = {"id": 3, "multivariate_feature_option": 8, "percentage_allocation": 50.0}
    state |= {"feature_state_value": "false", "multivariate_feature_state_values": [option]}


def posthog_flag(active: bool, percent: float) -> dict[str, Any]:
    groups = [{"properties": [], "rollout_percentage": percent}]
    return {"active": active, "filters": {"groups": groups, "multivariate": None}}


def ld_body(*instructions: dict[str, Any]) -> dict[str, Any]:
    return {"environmentKey": "production", "comment": "step 2", "instructions": list(instructions)}


LD_SPLIT = {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"a": 5_000, "b": 95_000}}


@dataclass(frozen=True)
class ShareCase:
    """`calls(on)`: the writes that set a share of 5 % (method, path, body) while the flag is on or off."""

    case: Case
    calls: Callable[[bool], list[tuple[str, str, Any]]]
    as_a_share: Callable[[Routes], None] = lambda answers: None

    def answers(self, on: bool) -> Routes:
        found = routes(self.case, on)
        self.as_a_share(found)
        return found | {(method, path): Answer(200, {}) for method, path, _ in self.calls(on)}


def of(kind: str) -> Case:
    return next(case for case in CASES if case.kind == kind)


SHARES = [
    ShareCase(
        of("unleash"),
        lambda on: [
            ("PATCH", f"{HERE}/strategies/01", [{"op": "replace", "path": "/parameters/rollout", "value": "5"}]),
            *([] if on else [("POST", f"{HERE}/on", None)]),
        ],
    ),
    ShareCase(
        of("launchdarkly"), lambda on: [("PATCH", LD, ld_body(LD_SPLIT, *([] if on else [{"kind": "turnFlagOn"}])))]
    ),
    ShareCase(
        of("growthbook"),
        lambda on: [
            (
                "POST",
                f"/api/v2/features/{FLAG}",
                {"rules": growthbook_rules(0.05)} | ({} if on else {"environments": {"production": {"enabled": True}}}),
            )
        ],
        own_rule,
    ),
    ShareCase(
        of("posthog"),
        lambda on: [("PATCH", POSTHOG, {**posthog_flag(True, 5), "version": 3, "original_flag": posthog_flag(on, 50)})],
    ),
    ShareCase(
        of("flagsmith"),
        lambda on: [
            (
                "PATCH",
                FLAGSMITH,
                {
                    "enabled": True,
                    "multivariate_feature_state_values": [
                        {"id": 3, "multivariate_feature_option": 8, "percentage_allocation": 5.0}
                    ],
                },
            )
        ],
        one_option,
    ),
]
every_provider = pytest.mark.parametrize("share", SHARES, ids=lambda share: share.case.kind)


def writes(server: Loopback) -> list[tuple[str, str, Any]]:
    reading = ("playground", "evaluat", "identities")
    return [
        (asked.method, asked.path, asked.body)
        for asked in server.asked
        if asked.method != "GET" and not any(word in asked.path for word in reading)
    ]


def set_share(writer: FlagWriter, case: Case, share: float, expected: FlagState | None = None) -> None:
    assert isinstance(writer, ShareWriter)
    writer.set_share(FLAG, case.environment, share, comment="step 2", expected=expected)


def test_every_provider_can_be_ramped() -> None:
    assert {kind for kind in kinds() if hasattr(provider(kind), "set_share")} == set(kinds())
    assert {share.case.kind for share in SHARES} == set(kinds()) - {"flagd", "goff"}, "those have tests of their own"


@every_provider
@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_a_share_is_written_by_these_calls(share: ShareCase, on: bool, tmp_path: Path) -> None:
    with serve(share.answers(on)) as server:
        writer = share.case.writer(server.url, tmp_path)
        before = writer.read_back(FLAG, share.case.environment)
        assert (before.enabled, before.share) == ((True, 0.5) if on else (False, None))
        set_share(writer, share.case, 0.05, expected=before)
        assert writes(server) == share.calls(on)


@every_provider
def test_a_flag_that_changed_since_it_was_read_is_left(share: ShareCase, tmp_path: Path) -> None:
    with serve(share.answers(True)) as server:
        writer = share.case.writer(server.url, tmp_path)
        with pytest.raises(Conflict, match="somebody changed the flag"):
            set_share(writer, share.case, 0.05, expected=FlagState(True, 0.1, "0123456789abcdef", "{}"))
        assert writes(server) == []


@every_provider
def test_nothing_is_the_off_call(share: ShareCase, tmp_path: Path) -> None:
    with serve(share.answers(True)) as server:
        set_share(share.case.writer(server.url, tmp_path), share.case, 0.0)
        assert [(method, path) for method, path, _ in writes(server)] == [share.case.off]


@every_provider
@pytest.mark.parametrize("status", [403, 409, 400])
def test_a_refused_write_is_an_error(share: ShareCase, status: int, tmp_path: Path) -> None:
    answers = share.answers(True)
    method, path, _ = share.calls(True)[0]
    answers[method, path] = Answer(status, {"message": "no"})
    with serve(answers) as server, pytest.raises(ProviderError) as refused:
        monkey = share.case.writer(server.url, tmp_path)
        set_share(monkey, share.case, 0.05)
    assert refused.value.status == status


def with_answer(kind: str, path: str, change: Callable[[Any], None]) -> tuple[ShareCase, Routes]:
    share = next(share for share in SHARES if share.case.kind == kind)
    answers = deepcopy(share.answers(True))
    change(answers["GET", path].body)
    return share, answers


def strategies(body: Any) -> list[Any]:
    found: list[Any] = body["environments"][1]["strategies"]
    return found


MORE: list[tuple[str, str, Callable[[Any], None], str]] = [
    ("unleash", UNLEASH, lambda body: strategies(body)[0].update(constraints=[{"x": 1}]), "without constraints"),
    ("unleash", UNLEASH, lambda body: strategies(body).append({"name": "default"}), "flexibleRollout, default"),
    ("unleash", UNLEASH, lambda body: strategies(body)[0]["parameters"].update(stickiness="random"), "stickiness is random"),
    ("launchdarkly", f"{LD}?env=production", lambda body: body["environments"]["production"].update(rules=[{"x": 1}]), "rules"),
    ("launchdarkly", f"{LD}?env=production", lambda body: body["variations"].append({"value": 3}), "variations true and false"),
    ("growthbook", f"/api/v2/features/{FLAG}", lambda body: body["feature"]["rules"][0].update(allEnvironments=True), "other environments too"),
    ("growthbook", f"/api/v2/features/{FLAG}", lambda body: body["feature"]["rules"][0].update(condition='{"a": 1}'), "one rollout rule"),
    ("posthog", f"/api/projects/77/feature_flags/?search={FLAG}&limit=500", lambda body: body["results"][1]["filters"].update(multivariate={"variants": [1]}), "one group"),
    ("flagsmith", f"/api/v1/environments/envkey/featurestates/?feature_name={FLAG}", lambda body: body["results"][0].update(multivariate_feature_state_values=[]), "one multivariate option"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path", "change", "words"), MORE, ids=[f"{row[0]}: {row[3]}" for row in MORE])
def test_a_flag_whose_rules_are_more_than_a_share_is_refused(
    kind: str, path: str, change: Callable[[Any], None], words: str, tmp_path: Path
) -> None:
    share, answers = with_answer(kind, path, change)
    with serve(answers) as server:
        with pytest.raises(ProviderError, match=words):
            set_share(share.case.writer(server.url, tmp_path), share.case, 0.05)
        assert writes(server) == []


def test_unleash_keeps_whole_percents_alone(tmp_path: Path) -> None:
    share = SHARES[0]
    with serve(share.answers(True)) as server, pytest.raises(ProviderError, match="not a whole percent"):
        set_share(share.case.writer(server.url, tmp_path), share.case, 0.005)


def test_launchdarkly_keeps_the_context_that_units_are_split_by(tmp_path: Path) -> None:
    def by_account(body: Any) -> None:
        rollout = body["environments"]["production"]["fallthrough"]["rollout"]
        rollout |= {"contextKind": "account", "bucketBy": "tenant"}

    share, answers = with_answer("launchdarkly", f"{LD}?env=production", by_account)
    with serve(answers) as server:
        set_share(share.case.writer(server.url, tmp_path), share.case, 0.05)
        kept = {**LD_SPLIT, "rolloutContextKind": "account", "rolloutBucketBy": "tenant"}
        assert writes(server) == [("PATCH", LD, ld_body(kept))]


def test_flagsmith_tells_units_by_the_value_they_are_served(tmp_path: Path) -> None:
    share = SHARES[-1]
    answers = share.answers(True)
    for value, served in (("false", False), (False, False), ("true", True), (True, True), (None, True)):
        answers["POST", "/api/v1/identities/"].body["flags"][0]["feature_state_value"] = value
        with serve(answers) as server:
            writer = share.case.writer(server.url, tmp_path)
            assert writer.evaluate(FLAG, "envkey", ["u1"]) == [served]


def test_a_flagd_file_that_changed_since_it_was_read_is_left(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    set_split(path, FLAG, 0.5)
    before = Flagd(path).read_back(FLAG, "")
    set_split(path, FLAG, 0.1)
    with pytest.raises(Conflict, match="somebody changed the flag"):
        Flagd(path).set_share(FLAG, "", 0.2, expected=before)
    assert Flagd(path).read_back(FLAG, "").share == 0.1
