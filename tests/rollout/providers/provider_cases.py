"""Every HTTP provider as a row: how it is declared, what it answers to reads, and the one call that turns a flag off."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopback import Answer

from gtm_dagster.rollout.providers import FlagWriter, writer_for
from gtm_dagster.settings import FlagProvider

FLAG = "checkout-v2"
TOKEN = "s3cret-token-value"

Routes = dict[tuple[str, str], Any]


@dataclass(frozen=True)
class Case:
    """`routes(on)`: answers to everything but the off call, with the flag on or off. `half`: how it tells a 50 % share."""

    kind: str
    environment: str
    off: tuple[str, str]
    body: Any
    headers: dict[str, str]
    routes: Callable[[bool], Routes]
    share: float | None
    project: str = "default"
    conflict_is_busy: bool = False
    """409 means that another change was being written: tried again."""
    done: dict[str, Any] = field(default_factory=dict)
    """The answer to a successful off call; any JSON or none will do where it is empty."""

    def writer(self, url: str, folder: Path) -> FlagWriter:
        path = folder / "flags.json"
        if self.kind == "goff":
            path.write_text(json.dumps(goff_file(True)))
        provider = FlagProvider(
            name="main",
            kind=self.kind,
            url=url,
            project=self.project,
            token_env="FLAG_TOKEN",
            file=path if self.kind == "goff" else None,
        )
        return writer_for(provider, {"FLAG_TOKEN": TOKEN})


def unleash(on: bool) -> Routes:
    strategy = {
        "id": "01", "name": "flexibleRollout", "title": None, "disabled": False, "constraints": [], "variants": [],
        "parameters": {"groupId": FLAG, "rollout": "50", "stickiness": "userId"}, "segments": [], "sortOrder": 0,
    }  # fmt: skip
    flag = {
        "name": FLAG,
        "archived": False,
        "dependencies": [],
        "environments": [
            {"name": "development", "enabled": False, "strategies": []},
            {"name": "production", "enabled": on, "strategies": [strategy]},
        ],
    }
    played = [{"context": {"userId": unit, "appName": "g"}, "isEnabled": on and unit == "u1"} for unit in ("u1", "u2")]
    return {
        ("GET", f"/api/admin/projects/default/features/{FLAG}"): Answer(200, flag),
        ("GET", "/api/admin/user"): Answer(200, {"user": {"secret": TOKEN}, "permissions": [{"permission": "ADMIN"}]}),
        ("POST", "/api/admin/playground/advanced"): Answer(
            200, {"features": [{"name": FLAG, "environments": {"production": played}}]}
        ),
    }


def launchdarkly(on: bool) -> Routes:
    flag = {
        "key": FLAG,
        "variations": [{"_id": "a", "value": True}, {"_id": "b", "value": False}],
        "environments": {
            "production": {
                "on": on,
                "offVariation": 1,
                "fallthrough": {
                    "rollout": {"variations": [{"variation": 0, "weight": 50000}, {"variation": 1, "weight": 50000}]}
                },
                "rules": [],
                "targets": [],
                "contextTargets": [],
                "prerequisites": [],
                "salt": "x",
                "version": 7,
            }
        },
    }
    item = {"name": FLAG, "key": FLAG, "_value": on, "reason": {"kind": "FALLTHROUGH" if on else "OFF"}}
    other = {"name": "x", "key": f"{FLAG}-old", "_value": True}
    evaluate = "/api/v2/projects/default/environments/production/flags/evaluate?filter=query%20equals%20checkout-v2"
    return {
        ("GET", f"/api/v2/flags/default/{FLAG}?env=production"): Answer(200, flag),
        ("POST", evaluate): Answer(200, {"items": [other, item], "totalCount": 2}),
        ("PATCH", f"/api/v2/flags/default/{FLAG}?ignoreConflicts=true&dryRun=true"): Answer(200, flag),
    }


def growthbook(on: bool) -> Routes:
    rule = {"id": "r", "type": "rollout", "enabled": True, "value": "true", "coverage": 0.5, "hashAttribute": "id"}
    feature = {
        "id": FLAG,
        "archived": False,
        "defaultValue": "false",
        "environments": {"production": {"enabled": on}, "dev": {"enabled": True}},
        "rules": [{**rule, "allEnvironments": True}, {**rule, "environments": ["dev"], "coverage": 1}],
    }
    result = {"environment": "production", "enabled": on, "value": True if on else None, "source": "force"}
    return {
        ("GET", f"/api/v2/features/{FLAG}"): Answer(200, {"feature": feature}),
        ("POST", f"/api/v2/features/{FLAG}/evaluate"): Answer(200, {"results": [result]}),
    }


def posthog(on: bool) -> Routes:
    flag = {
        "id": 42,
        "key": FLAG,
        "active": on,
        "deleted": False,
        "version": 3,
        "filters": {"groups": [{"properties": [], "rollout_percentage": 50}], "multivariate": None},
    }
    other = {**flag, "id": 41, "key": f"{FLAG}-old", "active": True}
    evaluated = {FLAG: {"value": on, "evaluation": {"reason": "condition_match" if on else "disabled"}}}
    path = "/api/projects/77/feature_flags/"
    return {
        ("GET", f"{path}?search={FLAG}&limit=500"): Answer(200, {"count": 2, "results": [other, flag]}),
        ("GET", "/api/personal_api_keys/@current/"): Answer(200, {"scopes": ["feature_flag:write"]}),
        ("GET", f"{path}evaluation_reasons?distinct_id=u1"): Answer(200, evaluated),
        ("GET", f"{path}evaluation_reasons?distinct_id=u2"): Answer(200, evaluated),
    }


def flagsmith(on: bool) -> Routes:
    state = {
        "id": 9,
        "feature": 5,
        "environment": 12,
        "enabled": on,
        "feature_state_value": None,
        "feature_segment": None,
        "identity": None,
    }
    served = {"flags": [{"enabled": on, "feature": {"id": 5, "name": FLAG}}], "traits": []}
    return {
        ("GET", f"/api/v1/environments/envkey/featurestates/?feature_name={FLAG}"): Answer(200, {"results": [state]}),
        ("GET", "/api/v1/features/feature-segments/?environment=12&feature=5"): Answer(200, {"results": []}),
        ("POST", "/api/v1/identities/"): Answer(200, served),
    }


def goff_file(on: bool) -> dict[str, Any]:
    split = {"percentage": {"on": 50, "off": 50}}
    return {
        FLAG: {"variations": {"on": True, "off": False}, "defaultRule": split if on else {"variation": "off"}},
        "other": {"variations": {"a": True}, "defaultRule": {"variation": "a"}},
    }


def goff(on: bool) -> Routes:
    return {
        ("POST", f"/ofrep/v1/evaluate/flags/{FLAG}"): Answer(200, {"key": FLAG, "value": on, "reason": "SPLIT"}),
        ("POST", "/admin/v1/retriever/refresh"): Answer(200, {"refreshed": True}),
    }


BEARER = {"Authorization": f"Bearer {TOKEN}"}
CASES = [
    Case(
        "unleash",
        "production",
        ("POST", f"/api/admin/projects/default/features/{FLAG}/environments/production/off"),
        None,
        {"Authorization": TOKEN},
        unleash,
        0.5,
    ),
    Case(
        "launchdarkly",
        "production",
        ("PATCH", f"/api/v2/flags/default/{FLAG}?ignoreConflicts=true"),
        {"environmentKey": "production", "comment": "drop of 60 %", "instructions": [{"kind": "turnFlagOff"}]},
        {"Authorization": TOKEN, "Content-Type": "application/json; domain-model=launchdarkly.semanticpatch"},
        launchdarkly,
        0.5,
        conflict_is_busy=True,
    ),
    Case(
        "growthbook",
        "production",
        ("POST", f"/api/v2/features/{FLAG}/toggle"),
        {"reason": "drop of 60 %", "environments": {"production": False}},
        BEARER,
        growthbook,
        0.5,
        conflict_is_busy=True,
    ),
    Case(
        "posthog",
        "production",
        ("PATCH", "/api/projects/77/feature_flags/42/"),
        {"active": False, "version": 3, "original_flag": {"active": True}},
        BEARER,
        posthog,
        0.5,
        project="77",
    ),
    Case(
        "flagsmith",
        "envkey",
        ("PATCH", "/api/v1/environments/envkey/featurestates/9/"),
        {"enabled": False},
        {"Authorization": f"Api-Key {TOKEN}"},
        flagsmith,
        1.0,
    ),
    Case(
        "goff",
        "production",
        ("POST", "/admin/v1/retriever/refresh"),
        None,
        BEARER,
        goff,
        0.5,
        done={"refreshed": True},
    ),
]


def routes(case: Case, on: bool) -> Routes:
    """All answers of a healthy provider, the off call's too."""
    return {case.off: Answer(200, case.done), **deepcopy(case.routes(on))}
