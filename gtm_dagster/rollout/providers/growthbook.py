"""GrowthBook through its REST API, version 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from gtm_dagster.rollout.providers.base.api import Api, each, segment
from gtm_dagster.rollout.providers.base.split_writer import check_unchanged, checked_share
from gtm_dagster.rollout.providers.base.writer import (
    FlagState,
    ProviderError,
    compact,
    fingerprint,
    nothing_to_do,
    token_of,
)
from gtm_dagster.settings import FlagProvider


class _Environment(Struct, rename="camel"):
    enabled: bool
    default_value: Any = None


class _Feature(Struct, rename="camel"):
    environments: dict[str, _Environment]
    rules: list[dict[str, Any]] = []
    default_value: Any = None
    archived: bool = False
    prerequisites: Any = None


class _Answer(Struct):
    feature: _Feature


class _Result(Struct):
    environment: str
    enabled: bool
    value: Any = None


class _Results(Struct):
    results: list[_Result]


class GrowthBook:
    """Features of one organisation. A disabled environment serves null, which the gate reads as the old flow."""

    kind = "growthbook"

    def __init__(self, api: Api) -> None:
        self._api = api

    @classmethod
    def of(cls, provider: FlagProvider, environ: Mapping[str, str]) -> GrowthBook:
        """The writer of the declared provider."""
        token = token_of(provider, environ)
        api = Api(
            f"provider {provider.name}",
            provider.url or "https://api.growthbook.io",
            headers={"Authorization": f"Bearer {token}"},
            secrets=(token,),
            wanted="a secret key or personal access token that may publish in this environment, with 'REST API always "
            "bypasses approval requirements' on where approvals are required",
        )
        return cls(api)

    def preflight(self, flag: str, environment: str) -> list[str]:
        """Problems with token, flag and environment. Permission to publish shows only when publishing."""
        try:
            self.read_back(flag, environment)
        except ProviderError as error:
            return [str(error)]
        return []

    def read_back(self, flag: str, environment: str) -> FlagState:
        """The feature in this environment; `share` where one rule without condition decides."""
        return _state(*self._read(flag, environment), environment)

    def turn_off(self, flag: str, environment: str, *, comment: str, expected: FlagState | None) -> None:
        """Disables the feature in the environment; rules stay."""
        what = _what(flag, environment)
        if expected is not None and nothing_to_do(self.read_back(flag, environment), expected, f"growthbook, {what}"):
            return
        body = {"reason": comment, "environments": {environment: False}}
        self._api.send("POST", f"{_path(flag)}/toggle", what=what, body=body, retry_conflict=True)

    def set_share(
        self, flag: str, environment: str, share: float, *, comment: str = "", expected: FlagState | None = None
    ) -> None:
        """Sets the coverage of the environment's one rollout rule, and switches the environment on where it is off.

        The rules are sent whole, in one revision: GrowthBook replaces them all, and keeps their seeds. Takes no comment.
        """
        what = f"growthbook, {_what(flag, environment)}"
        feature, here = self._read(flag, environment)
        check_unchanged(_state(feature, here, environment), expected, what)
        if checked_share(share, what) == 0:
            self.turn_off(flag, environment, comment=comment, expected=None)
            return
        live = [rule for rule in feature.rules if _applies(rule, environment) and rule.get("enabled", True)]
        if len(live) != 1 or live[0].get("type") != "rollout" or _share(live, _default(feature, here)) is None:
            raise ProviderError(
                f"{what}: a share needs one rollout rule of the value true without condition, beside the default false; "
                "change the rules there"
            )
        if live[0].get("allEnvironments") or live[0].get("environments") != [environment]:
            raise ProviderError(f"{what}: its rule is of other environments too; give this one a rule of its own there")
        rules = [{**rule, "coverage": share} if rule is live[0] else rule for rule in feature.rules]
        body: dict[str, Any] = {"rules": rules}
        if not here.enabled:
            body["environments"] = {environment: {"enabled": True}}
        self._api.send("POST", _path(flag), what=what, body=body)

    def evaluate(self, flag: str, environment: str, units: Sequence[str]) -> list[bool]:
        """What GrowthBook evaluates for these values of the attribute `id`."""
        what = _what(flag, environment)

        def served(unit: str) -> bool:
            body = {"attributes": {"id": unit}, "environments": [environment]}
            answer = self._api.ask("POST", f"{_path(flag)}/evaluate", _Results, what=what, body=body)
            here = [result for result in answer.results if result.environment == environment]
            return bool(here) and here[0].enabled and here[0].value in (True, "true")

        return each(units, served)

    def _read(self, flag: str, environment: str) -> tuple[_Feature, _Environment]:
        what = _what(flag, environment)
        feature = self._api.ask("GET", _path(flag), _Answer, what=what).feature
        if environment not in feature.environments:
            raise ProviderError(
                f"{self._api.name}, {what}: no such environment (there are: {', '.join(sorted(feature.environments))}); "
                "correct the guard's environment"
            )
        return feature, feature.environments[environment]


def _what(flag: str, environment: str) -> str:
    return f"flag {flag} in {environment}"


def _path(flag: str) -> str:
    return f"/api/v2/features/{segment(flag)}"


def _default(feature: _Feature, here: _Environment) -> Any:
    return feature.default_value if here.default_value is None else here.default_value


def _state(feature: _Feature, here: _Environment, environment: str) -> FlagState:
    rules, default = [rule for rule in feature.rules if _applies(rule, environment)], _default(feature, here)
    deciding = {
        "enabled": here.enabled,
        "archived": feature.archived,
        "defaultValue": default,
        "rules": rules,
        "prerequisites": feature.prerequisites,
    }
    share = _share(rules, default)
    enabled = here.enabled and not feature.archived and share != 0
    return FlagState(enabled, share if enabled else None, fingerprint(deciding), compact(deciding))


def _applies(rule: dict[str, Any], environment: str) -> bool:
    return bool(rule.get("allEnvironments")) or environment in (rule.get("environments") or [])


def _share(rules: list[dict[str, Any]], default: Any) -> float | None:
    live = [rule for rule in rules if rule.get("enabled", True)]
    if not live:
        return float(default in (True, "true"))
    if len(live) > 1 or live[0].get("condition") not in (None, "", "{}") or default not in (False, "false"):
        return None
    if live[0].get("value") not in (True, "true"):
        return None
    if live[0].get("type") == "force":
        return 1.0
    coverage = live[0].get("coverage")
    return float(coverage) if live[0].get("type") == "rollout" and isinstance(coverage, int | float) else None


PROVIDER = GrowthBook
