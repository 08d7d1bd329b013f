"""PostHog feature flags through its private API. A project is an environment there, so `environment` chooses nothing."""

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

WRITE_SCOPES = {"*", "feature_flag:write"}


class _Flag(Struct):
    id: int
    key: str
    active: bool
    filters: dict[str, Any] = {}
    version: int | None = None
    deleted: bool = False


class _Flags(Struct):
    results: list[_Flag]


class _Key(Struct):
    scopes: list[str] | None = None


class _Evaluation(Struct):
    value: bool | str = False


class PostHog:
    """Flags of one project; `project` is its number."""

    kind = "posthog"

    def __init__(self, api: Api, project: str) -> None:
        self._api = api
        self._project = project

    @classmethod
    def of(cls, provider: FlagProvider, environ: Mapping[str, str]) -> PostHog:
        """The writer of the declared provider."""
        token = token_of(provider, environ)
        if not provider.project.isdigit():
            raise ProviderError(
                f"provider {provider.name}: project {provider.project!r} is not a project number; PostHog shows it in the "
                "address /project/NUMBER"
            )
        api = Api(
            f"provider {provider.name}",
            provider.url or "https://us.posthog.com",
            headers={"Authorization": f"Bearer {token}"},
            secrets=(token,),
            wanted="a personal API key (phx_...) with the scope feature_flag:write; a project's key (phc_...) cannot",
        )
        return cls(api, provider.project)

    def preflight(self, flag: str, environment: str) -> list[str]:
        """Problems with key, its scopes, and the flag."""
        try:
            self._read(flag)
            key = self._api.ask("GET", "/api/personal_api_keys/@current/", _Key, what=f"flag {flag}")
        except ProviderError as error:
            return [str(error)]
        if WRITE_SCOPES.isdisjoint(key.scopes or []):
            return [
                f"{self._api.name}: the key's scopes are {', '.join(key.scopes or []) or 'none'}; turning off "
                "needs feature_flag:write"
            ]
        return []

    def read_back(self, flag: str, environment: str) -> FlagState:
        """The flag; `share` where one group without conditions decides."""
        return _state(self._read(flag))

    def turn_off(self, flag: str, environment: str, *, comment: str, expected: FlagState | None) -> None:
        """Makes the flag inactive, for the version just read: PostHog answers 409 when somebody was faster."""
        found = self._read(flag)
        if nothing_to_do(_state(found), expected, f"posthog, flag {flag}"):
            return
        body: dict[str, Any] = {"active": False}
        if found.version is not None:
            body |= {"version": found.version, "original_flag": {"active": True}}
        self._api.send("PATCH", f"{self._path()}{found.id}/", what=f"flag {flag}", body=body)

    def set_share(
        self, flag: str, environment: str, share: float, *, comment: str = "", expected: FlagState | None = None
    ) -> None:
        """Sets the percentage of the one group and makes the flag active, for the version just read. Takes no comment."""
        what = f"posthog, flag {flag}"
        found = self._read(flag)
        check_unchanged(_state(found), expected, what)
        if checked_share(share, what) == 0:
            self.turn_off(flag, environment, comment=comment, expected=None)
            return
        if _share(found.filters) is None:
            raise ProviderError(
                f"{what}: a share needs one group without conditions and no variants; change its release conditions there"
            )
        (group,) = found.filters["groups"]
        filters = {**found.filters, "groups": [{**group, "rollout_percentage": round(100 * share, 4)}]}
        body: dict[str, Any] = {"active": True, "filters": filters}
        if found.version is not None:
            before = {"active": found.active, "filters": found.filters}
            body |= {"version": found.version, "original_flag": before}
        self._api.send("PATCH", f"{self._path()}{found.id}/", what=f"flag {flag}", body=body)

    def evaluate(self, flag: str, environment: str, units: Sequence[str]) -> list[bool]:
        """What PostHog evaluates for these distinct ids; any variant counts as the new flow."""

        def served(unit: str) -> bool:
            path = f"{self._path()}evaluation_reasons?distinct_id={segment(unit)}"
            evaluations = self._api.ask("GET", path, dict[str, _Evaluation], what=f"flag {flag}")
            return flag in evaluations and bool(evaluations[flag].value)

        return each(units, served)

    def _read(self, flag: str) -> _Flag:
        """The flag with this key; the API finds by number only, so it is searched for."""
        path = f"{self._path()}?search={segment(flag)}&limit=500"
        for found in self._api.ask("GET", path, _Flags, what=f"flag {flag}").results:
            if found.key == flag and not found.deleted:
                return found
        raise ProviderError(
            f"{self._api.name}, flag {flag}: project {self._project} has no such flag; check the guard's flag",
            status=404,
        )

    def _path(self) -> str:
        return f"/api/projects/{self._project}/feature_flags/"


def _state(found: _Flag) -> FlagState:
    deciding = {"active": found.active, "filters": found.filters}
    share = _share(found.filters)
    enabled = found.active and share != 0
    return FlagState(enabled, share if enabled else None, fingerprint(deciding), compact(deciding))


def _share(filters: dict[str, Any]) -> float | None:
    """The percentage of the one group without conditions; None for several groups or for variants."""
    try:
        (group,) = filters["groups"]
        if group.get("properties") or filters.get("multivariate"):
            return None
        percentage = group.get("rollout_percentage")
        return 1.0 if percentage is None else float(percentage) / 100
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


PROVIDER = PostHog
