"""Unleash through its admin API.

Turning off is absolute and proven silent the second time (no second audit event). What a client is served is evaluated
by the engine inside the Unleash SDKs on what the client API answers now, when a backend token is at hand; else Unleash
is asked to evaluate in its playground.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, to_builtins

from gtm_dagster.rollout.providers._unleash_engine import evaluated
from gtm_dagster.rollout.providers.base.api import Api, segment
from gtm_dagster.rollout.providers.base.split_writer import check_unchanged, checked_share
from gtm_dagster.rollout.providers.base.writer import (
    FlagState,
    ProviderError,
    compact,
    fingerprint,
    header_token,
    nothing_to_do,
    token_of,
)
from gtm_dagster.settings import FlagProvider

BACKEND_TOKEN_SUFFIX = "_BACKEND"  # noqa: S105 - the end of a variable's name
"""`token_env` with this suffix names the variable of a backend (client) token, which clients of the product use."""


class _Strategy(Struct):
    name: str
    id: str = ""
    parameters: dict[str, Any] = {}
    constraints: list[Any] = []
    segments: list[Any] = []
    variants: list[Any] = []
    disabled: bool = False


class _Environment(Struct):
    name: str
    enabled: bool
    strategies: list[_Strategy] = []


class _Feature(Struct):
    environments: list[_Environment]
    archived: bool = False
    dependencies: list[Any] = []


class _Permission(Struct):
    permission: str
    project: str | None = None
    environment: str | None = None


class _User(Struct):
    permissions: list[_Permission]


class _ChangeRequests(Struct, rename="camel"):
    environment: str
    change_request_enabled: bool = False


class _Context(Struct, rename="camel"):
    user_id: str


class _Played(Struct, rename="camel"):
    context: _Context
    is_enabled: bool


class _PlayedFeature(Struct):
    name: str
    environments: dict[str, list[_Played]]


class _Playground(Struct):
    features: list[_PlayedFeature]


class Unleash:
    """Flags of one project of an Unleash server."""

    kind = "unleash"

    def __init__(self, admin: Api, project: str, backend: Api | None = None) -> None:
        self._admin = admin
        self._backend = backend
        self._project = project

    @classmethod
    def of(cls, provider: FlagProvider, environ: Mapping[str, str]) -> Unleash:
        """The writer of the declared provider; a backend token is optional."""
        token = token_of(provider, environ)
        base = (provider.url or "").rstrip("/").removesuffix("/api")
        name = f"provider {provider.name}"
        admin = Api(
            name,
            base,
            headers={"Authorization": token},
            secrets=(token,),
            wanted="an admin token, a service account's or a personal access token that may update the flag in this "
            "environment; backend (client) and frontend tokens cannot",
        )
        variable = f"{provider.token_env}{BACKEND_TOKEN_SUFFIX}"
        backend_token = header_token(provider.name, variable, environ)
        if not backend_token:
            return cls(admin, provider.project)
        backend = Api(
            name,
            base,
            headers={"Authorization": backend_token},
            secrets=(backend_token,),
            wanted=f"a backend (client) token, from the variable {variable}",
        )
        return cls(admin, provider.project, backend)

    def preflight(self, flag: str, environment: str) -> list[str]:
        """Problems with address, tokens, permission, flag, environment and change requests."""
        what = _what(flag, environment)
        try:
            _, here = self._here(flag, environment)
            problems = (
                [] if here.strategies else [f"{self._admin.name}, {what}: it has no strategy in this environment"]
            )
            problems += self._permission(what, environment) + self._approval(what, environment)
            if self._backend is not None:
                served = (_client_features(self._backend, what).get("query") or {}).get("environment")
                if served != environment:
                    problems.append(
                        f"{self._admin.name}, {what}: the backend token is of environment {served!r}; make one for "
                        f"{environment!r}"
                    )
        except ProviderError as error:
            return [str(error)]
        return problems

    def read_back(self, flag: str, environment: str) -> FlagState:
        """The flag in this environment; `share` where its one strategy is a plain percentage."""
        return _state(*self._here(flag, environment))

    def turn_off(self, flag: str, environment: str, *, comment: str, expected: FlagState | None) -> None:
        """Turns the flag off in the environment; its strategies stay. Unleash takes no comment: the token's name is
        what its audit log shows, so give every guard deployment a token of its own."""
        what = _what(flag, environment)
        if expected is not None and nothing_to_do(self.read_back(flag, environment), expected, f"unleash, {what}"):
            return
        self._admin.send("POST", f"{self._path(flag)}/environments/{segment(environment)}/off", what=what)

    def set_share(
        self, flag: str, environment: str, share: float, *, comment: str = "", expected: FlagState | None = None
    ) -> None:
        """Sets the rollout of the environment's one strategy, then switches the environment on where it is off.

        Whole percents alone: Unleash cuts units into a hundred. Takes no comment, as `turn_off`.
        """
        what, percent = _what(flag, environment), round(100 * share)
        feature, here = self._here(flag, environment)
        check_unchanged(_state(feature, here), expected, f"unleash, {what}")
        if checked_share(share, f"unleash, {what}") == 0:
            return self.turn_off(flag, environment, comment=comment, expected=None)
        if abs(percent - 100 * share) > 1e-6:
            raise ProviderError(
                f"unleash, {what}: {100 * share:g} % is not a whole percent, and Unleash keeps no other"
            )
        change = [{"op": "replace", "path": "/parameters/rollout", "value": str(percent)}]
        path = f"{self._path(flag)}/environments/{segment(environment)}"
        strategy = segment(_gradual(here.strategies, f"unleash, {what}").id)
        self._admin.send("PATCH", f"{path}/strategies/{strategy}", what=what, body=change)
        if not here.enabled:
            self._admin.send("POST", f"{path}/on", what=what)
        return None

    def evaluate(self, flag: str, environment: str, units: Sequence[str]) -> list[bool]:
        """What the SDK's engine (with a backend token) or the playground makes of these user ids."""
        what = _what(flag, environment)
        if self._backend is not None:
            return evaluated(_client_features(self._backend, what), flag, units)
        if any("," in unit for unit in units):
            raise ProviderError(
                f"unleash, {what}: the playground cannot evaluate ids with a comma; set a backend token"
            )
        if not units:
            return []
        context = {"appName": "gtm-guard", "userId": ",".join(units)}
        body = {"environments": [environment], "projects": [self._project], "context": context}
        answer = self._admin.ask("POST", "/api/admin/playground/advanced", _Playground, what=what, body=body)
        served = {
            played.context.user_id: played.is_enabled
            for feature in answer.features
            if feature.name == flag
            for played in feature.environments.get(environment, [])
        }
        if missing := [unit for unit in units if unit not in served]:
            raise ProviderError(f"unleash, {what}: the playground did not evaluate {len(missing)} of {len(units)} ids")
        return [served[unit] for unit in units]

    def _here(self, flag: str, environment: str) -> tuple[_Feature, _Environment]:
        what = _what(flag, environment)
        feature = self._admin.ask("GET", self._path(flag), _Feature, what=what)
        if feature.archived:
            raise ProviderError(f"{self._admin.name}, {what}: the flag is archived; revive it or remove its guard")
        for here in feature.environments:
            if here.name == environment:
                return feature, here
        there = ", ".join(sorted(other.name for other in feature.environments))
        raise ProviderError(
            f"{self._admin.name}, {what}: no such environment for this flag (there are: {there}); correct the guard's "
            "environment"
        )

    def _permission(self, what: str, environment: str) -> list[str]:
        """Whether the token's permissions, as Unleash lists them, include turning the flag off."""
        for granted in self._admin.ask("GET", "/api/admin/user", _User, what=what).permissions:
            if granted.permission == "ADMIN":
                return []
            if (
                granted.permission == "UPDATE_FEATURE_ENVIRONMENT"
                and granted.project in (None, "*", self._project)
                and granted.environment in (None, "", "*", environment)
            ):
                return []
        return [
            f"{self._admin.name}, {what}: the token may read but not turn flags off (UPDATE_FEATURE_ENVIRONMENT in project "
            f"{self._project}); give its user the role Editor or Owner, or use an admin token"
        ]

    def _approval(self, what: str, environment: str) -> list[str]:
        """Whether change requests (Unleash Enterprise) would hold the rollback up."""
        path = f"/api/admin/projects/{segment(self._project)}/change-requests/config"
        try:
            configured = self._admin.ask("GET", path, list[_ChangeRequests], what=what)
        except ProviderError as error:
            if error.status == 404:
                return []
            raise
        if any(each.environment == environment and each.change_request_enabled for each in configured):
            return [
                f"{self._admin.name}, {what}: change requests are on in this environment, so turning off waits for an "
                "approval; give the guard's token the permission to skip them"
            ]
        return []

    def _path(self, flag: str) -> str:
        return f"/api/admin/projects/{segment(self._project)}/features/{segment(flag)}"


def _what(flag: str, environment: str) -> str:
    return f"flag {flag} in {environment}"


def _client_features(backend: Api, what: str) -> dict[str, Any]:
    """All a client of the token's environment gets, as Unleash answers it now."""
    return backend.ask("GET", "/api/client/features", dict[str, Any], what=what)


def _state(feature: _Feature, here: _Environment) -> FlagState:
    strategies = [to_builtins(each) for each in here.strategies]
    for each in strategies:
        del each["id"]  # decides nothing
    deciding = {**to_builtins(here), "strategies": strategies, "dependencies": feature.dependencies}
    share = _share(here.strategies) if here.enabled else None
    return FlagState(here.enabled, share, fingerprint(deciding), compact(deciding))


def _share(strategies: list[_Strategy]) -> float | None:
    """The percentage of the one strategy without constraints; None for several, or for other kinds."""
    live = [each for each in strategies if not each.disabled]
    if len(live) != 1 or live[0].constraints or live[0].segments:
        return None
    if live[0].name == "default":
        return 1.0
    try:
        return float(live[0].parameters["rollout"]) / 100 if live[0].name == "flexibleRollout" else None
    except (KeyError, TypeError, ValueError):
        return None


def _gradual(strategies: list[_Strategy], what: str) -> _Strategy:
    """The one strategy whose rollout is the flag's share. Raises ProviderError where there is none such."""
    live = [each for each in strategies if not each.disabled]
    if len(live) != 1 or live[0].name != "flexibleRollout" or _share(live) is None:
        raise ProviderError(
            f"{what}: a share needs one gradual rollout (flexibleRollout) without constraints as the only strategy here "
            f"(there are: {', '.join(each.name for each in live) or 'none'}); change the strategies there"
        )
    if live[0].parameters.get("stickiness") == "random":
        raise ProviderError(f"{what}: its stickiness is random, so units would change their flow; make it userId there")
    return live[0]


PROVIDER = Unleash
