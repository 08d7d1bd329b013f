"""Flagsmith through its admin API. `environment` is the environment's key, which its SDKs use too."""

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

_OLD = (False, "false", "False")
"""Values that mean the old flow where a feature has a value at all."""
CLOUD, CLOUD_EDGE = "https://api.flagsmith.com", "https://edge.api.flagsmith.com"


class _FeatureId(Struct):
    id: int


class _State(Struct):
    id: int
    enabled: bool
    feature: int | _FeatureId
    environment: int
    feature_state_value: Any = None
    multivariate_feature_state_values: Any = None
    feature_segment: Any = None
    identity: Any = None


class _States(Struct):
    results: list[_State]


class _Overrides(Struct):
    results: list[Any]


class _Named(Struct):
    name: str


class _Served(Struct):
    enabled: bool
    feature: _Named
    feature_state_value: Any = None


class _Identity(Struct):
    flags: list[_Served]


class Flagsmith:
    """Features of one environment. Segment and identity overrides are separate in Flagsmith and stay as they are."""

    kind = "flagsmith"

    def __init__(self, admin: Api, sdk: Api) -> None:
        self._admin = admin
        self._sdk = sdk

    @classmethod
    def of(cls, provider: FlagProvider, environ: Mapping[str, str]) -> Flagsmith:
        """The writer of the declared provider. Flagsmith's cloud serves SDKs from an address of its own."""
        token = token_of(provider, environ)
        base = (provider.url or CLOUD).rstrip("/").removesuffix("/api/v1")
        name = f"provider {provider.name}"
        hint = "an organisation API key (sent as Api-Key) that may update the environment's feature states"
        admin = Api(name, base, headers={"Authorization": f"Api-Key {token}"}, secrets=(token,), wanted=hint)
        sdk = Api(
            name,
            CLOUD_EDGE if base == CLOUD else base,
            headers={},
            secrets=(),
            wanted="the environment's client-side key as the guard's environment",
        )
        return cls(admin, sdk)

    def preflight(self, flag: str, environment: str) -> list[str]:
        """Problems with key, environment, flag, and overrides that would outlive turning off."""
        what = _what(flag, environment)
        try:
            state = self._read(flag, environment)
            feature = state.feature if isinstance(state.feature, int) else state.feature.id
            path = f"/api/v1/features/feature-segments/?environment={state.environment}&feature={feature}"
            overrides = len(self._admin.ask("GET", path, _Overrides, what=what).results)
        except ProviderError as error:
            return [str(error)]
        if overrides:
            return [
                f"{self._admin.name}, {what}: {overrides} segment overrides keep their own state when the feature is "
                "turned off; remove them, or turn them off by hand"
            ]
        return []

    def read_back(self, flag: str, environment: str) -> FlagState:
        """The feature's default in this environment: on for everybody or for nobody, but for one whose value is false and that
        has one multivariate option, whose percentage is the share."""
        return _flag_state(self._read(flag, environment))

    def turn_off(self, flag: str, environment: str, *, comment: str, expected: FlagState | None) -> None:
        """Disables the environment's feature state."""
        what = _what(flag, environment)
        state = self._read(flag, environment)
        if nothing_to_do(_flag_state(state), expected, f"flagsmith, {what}"):
            return
        path = f"/api/v1/environments/{segment(environment)}/featurestates/{state.id}/"
        self._admin.send("PATCH", path, what=what, body={"enabled": False})

    def set_share(
        self, flag: str, environment: str, share: float, *, comment: str = "", expected: FlagState | None = None
    ) -> None:
        """Sets the percentage of the feature's one multivariate option and enables it, in one call. Takes no comment."""
        what = f"flagsmith, {_what(flag, environment)}"
        state = self._read(flag, environment)
        check_unchanged(_flag_state(state), expected, what)
        if checked_share(share, what) == 0:
            self.turn_off(flag, environment, comment=comment, expected=None)
            return
        option = _option(state)
        if option is None:
            raise ProviderError(
                f"{what}: a plain feature is on for everybody; a share needs the value false and one multivariate option, "
                "true (docs/providers.md)"
            )
        path = f"/api/v1/environments/{segment(environment)}/featurestates/{state.id}/"
        options = [{**option, "percentage_allocation": round(100 * share, 4)}]
        self._admin.send("PATCH", path, what=what, body={"enabled": True, "multivariate_feature_state_values": options})

    def evaluate(self, flag: str, environment: str, units: Sequence[str]) -> list[bool]:
        """What Flagsmith serves these identities, which are not stored (transient)."""
        what, headers = _what(flag, environment), {"X-Environment-Key": environment}

        def served(unit: str) -> bool:
            body = {"identifier": unit, "traits": [], "transient": True}
            identity = self._sdk.ask("POST", "/api/v1/identities/", _Identity, what=what, body=body, headers=headers)
            found = [served for served in identity.flags if served.feature.name == flag]
            return bool(found) and found[0].enabled and found[0].feature_state_value not in _OLD

        return each(units, served)

    def _read(self, flag: str, environment: str) -> _State:
        what = _what(flag, environment)
        path = f"/api/v1/environments/{segment(environment)}/featurestates/?feature_name={segment(flag)}"
        for state in self._admin.ask("GET", path, _States, what=what).results:
            if state.identity is None and state.feature_segment is None:
                return state
        raise ProviderError(f"{self._admin.name}, {what}: no such feature here; check the guard's flag", status=404)


def _what(flag: str, environment: str) -> str:
    return f"flag {flag} in {environment}"


def _flag_state(state: _State) -> FlagState:
    deciding = [state.enabled, state.feature_state_value, state.multivariate_feature_state_values]
    option = _option(state)
    share = 1.0 if option is None else float(option["percentage_allocation"]) / 100
    enabled = state.enabled and share != 0
    return FlagState(enabled, share if enabled else None, fingerprint(deciding), compact(deciding))


def _option(state: _State) -> dict[str, Any] | None:
    """The one multivariate option beside the value false; None for any other feature."""
    options = state.multivariate_feature_state_values
    if state.feature_state_value not in _OLD or not isinstance(options, list) or len(options) != 1:
        return None
    return options[0] if isinstance(options[0], dict) and "percentage_allocation" in options[0] else None


PROVIDER = Flagsmith
