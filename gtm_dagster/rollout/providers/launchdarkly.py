"""LaunchDarkly through its REST API (semantic patch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

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

SEMANTIC_PATCH = {"Content-Type": "application/json; domain-model=launchdarkly.semanticpatch"}
# A scheduled change or a pending approval must not hold a rollback up: without it such a flag answers 400.
_IGNORE = "ignoreConflicts=true"
_DECIDING = ("on", "offVariation", "fallthrough", "rules", "targets", "contextTargets", "prerequisites", "salt")
_FULL = 100_000
_RULES = ("rules", "targets", "contextTargets", "prerequisites")
_OFF, _ON = {"kind": "turnFlagOff"}, {"kind": "turnFlagOn"}


class _Variation(Struct):
    value: Any = None
    id: str = field(default="", name="_id")


class _Flag(Struct):
    variations: list[_Variation]
    environments: dict[str, dict[str, Any]]


class _Evaluated(Struct):
    key: str
    value: Any = field(default=None, name="_value")


class _Evaluations(Struct):
    items: list[_Evaluated]


class LaunchDarkly:
    """Flags of one project."""

    kind = "launchdarkly"

    def __init__(self, api: Api, project: str) -> None:
        self._api = api
        self._project = project

    @classmethod
    def of(cls, provider: FlagProvider, environ: Mapping[str, str]) -> LaunchDarkly:
        """The writer of the declared provider."""
        token = token_of(provider, environ)
        api = Api(
            f"provider {provider.name}",
            provider.url or "https://app.launchdarkly.com",
            headers={"Authorization": token, "LD-API-Version": "20240415"},
            secrets=(token,),
            wanted="an API access token of role Writer (or a custom role with updateOn); SDK keys cannot",
        )
        return cls(api, provider.project)

    def preflight(self, flag: str, environment: str) -> list[str]:
        """Problems with token, permission (by a dry run that saves nothing), flag and its off variation."""
        what = _what(flag, environment)
        try:
            variations, here = self._read(flag, environment)
            self._patch(flag, environment, "gtm guard: dry run, nothing is saved", [_OFF], f"{_IGNORE}&dryRun=true")
        except ProviderError as error:
            return [str(error)]
        if _value(_values(variations), here.get("offVariation")) is not False:
            return [f"{self._api.name}, {what}: the off variation does not serve false; set it in the flag's settings"]
        return []

    def read_back(self, flag: str, environment: str) -> FlagState:
        """The flag in this environment; `share` where only the default rule decides."""
        return _state(*self._read(flag, environment))

    def turn_off(self, flag: str, environment: str, *, comment: str, expected: FlagState | None) -> None:
        """Turns targeting off, so that everybody is served the off variation; rules stay."""
        what = _what(flag, environment)
        if expected is not None and nothing_to_do(self.read_back(flag, environment), expected, f"launchdarkly, {what}"):
            return
        self._patch(flag, environment, comment, [_OFF], _IGNORE)

    def set_share(
        self, flag: str, environment: str, share: float, *, comment: str = "", expected: FlagState | None = None
    ) -> None:
        """Sets the weights of the default rule and turns targeting on, in one patch. Scheduled changes and approvals hold
        it up, as they should."""
        what = f"launchdarkly, {_what(flag, environment)}"
        variations, here = self._read(flag, environment)
        check_unchanged(_state(variations, here), expected, what)
        if checked_share(share, what) == 0:
            self.turn_off(flag, environment, comment=comment, expected=None)
            return
        rollout = (here.get("fallthrough") or {}).get("rollout") or {}
        if sorted(map(repr, _values(variations))) != ["False", "True"] or rollout.get("kind") == "experiment":
            raise ProviderError(
                f"{what}: a share needs the variations true and false, and no experiment; change it there"
            )
        if others := [name for name in _RULES if here.get(name)]:
            raise ProviderError(
                f"{what}: it has {', '.join(others)}, beside which a share is not the flag's; remove them"
            )
        new = round(_FULL * share)
        weights = {variation.id: new if variation.value is True else _FULL - new for variation in variations}
        split = {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": weights}
        split |= {
            ours: rollout[theirs]
            for ours, theirs in (("rolloutContextKind", "contextKind"), ("rolloutBucketBy", "bucketBy"))
            if rollout.get(theirs)
        }
        self._patch(flag, environment, comment, [split] if here.get("on") else [split, _ON])

    def evaluate(self, flag: str, environment: str, units: Sequence[str]) -> list[bool]:
        """What LaunchDarkly evaluates for contexts of kind user with these keys."""
        what = _what(flag, environment)
        path = (
            f"/api/v2/projects/{segment(self._project)}/environments/{segment(environment)}/flags/evaluate"
            f"?filter={segment(f'query equals {flag}')}"
        )

        def served(unit: str) -> bool:
            answer = self._api.ask("POST", path, _Evaluations, what=what, body={"kind": "user", "key": unit})
            values = [evaluated.value for evaluated in answer.items if evaluated.key == flag]
            if not values:
                raise ProviderError(f"{self._api.name}, {what}: not among the evaluated flags; check flag and project")
            return values[0] is True

        return each(units, served)

    def _read(self, flag: str, environment: str) -> tuple[list[_Variation], dict[str, Any]]:
        """The flag's variations, and its settings in the environment."""
        path = f"/api/v2/flags/{segment(self._project)}/{segment(flag)}?env={segment(environment)}"
        found = self._api.ask("GET", path, _Flag, what=_what(flag, environment))
        if environment not in found.environments:
            raise ProviderError(
                f"{self._api.name}, {_what(flag, environment)}: no such environment; correct the guard's environment"
            )
        return found.variations, found.environments[environment]

    def _patch(
        self, flag: str, environment: str, comment: str, instructions: list[dict[str, Any]], query: str = ""
    ) -> None:
        body = {"environmentKey": environment, "comment": comment, "instructions": instructions}
        self._api.send(
            "PATCH",
            f"/api/v2/flags/{segment(self._project)}/{segment(flag)}" + (f"?{query}" if query else ""),
            what=_what(flag, environment),
            body=body,
            headers=SEMANTIC_PATCH,
            retry_conflict=True,
        )


def _what(flag: str, environment: str) -> str:
    return f"flag {flag} in {environment}"


def _values(variations: list[_Variation]) -> list[Any]:
    return [variation.value for variation in variations]


def _state(variations: list[_Variation], here: dict[str, Any]) -> FlagState:
    values = _values(variations)
    deciding = {name: here.get(name) for name in _DECIDING} | {"variations": values}
    on = bool(here.get("on"))
    share = _share(here, values) if on else float(_value(values, here.get("offVariation")) is True)
    enabled = share != 0
    return FlagState(enabled, share if enabled else None, fingerprint(deciding), compact(deciding))


def _value(values: list[Any], index: Any) -> Any:
    """A variation's value; None where no variation is set (clients then get their own default)."""
    return values[index] if isinstance(index, int) and 0 <= index < len(values) else None


def _share(here: dict[str, Any], values: list[Any]) -> float | None:
    if any(here.get(name) for name in _RULES):
        return None
    try:
        default = here["fallthrough"]
        if "rollout" not in default:
            return float(_value(values, default["variation"]) is True)
        parts = default["rollout"]["variations"]
        return float(sum(part["weight"] for part in parts if _value(values, part["variation"]) is True) / _FULL)
    except (KeyError, TypeError):
        return None


PROVIDER = LaunchDarkly
