"""GO Feature Flag: the file its relay proxy retrieves is rewritten, then the relay is asked to fetch it.

The relay has no API that writes flags. It is asked over OFREP what it serves now. Where the file is only a copy of what
a repository or a bucket holds, rewriting it here changes nothing for long: declare the file the relay reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from gtm_dagster.rollout.providers.base.api import Api, each, segment
from gtm_dagster.rollout.providers.base.flag_file import Document, FlagFile, Snapshot
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
from gtm_dagster.settings.nearest import did_you_mean

_DECIDING = ("variations", "targeting", "defaultRule", "scheduledRollout", "experimentation", "disable")
_RULES = ("targeting", "scheduledRollout", "experimentation")
_DROPPED = (*_RULES, "disable")


class _Served(Struct):
    value: Any = None


class _Refreshed(Struct):
    refreshed: bool


class GoFeatureFlag:
    """Flags of one retriever file behind one relay proxy. `environment` chooses nothing: a relay serves one."""

    kind = "goff"

    def __init__(self, path: Path, relay: Api, refresh: Api) -> None:
        self._path = path
        self._file = FlagFile(path)
        self._relay = relay
        self._refresh = refresh

    @classmethod
    def of(cls, provider: FlagProvider, environ: Mapping[str, str]) -> GoFeatureFlag:
        """`url` is the relay that clients ask, `refresh_url` the one asked to refresh (default: the same)."""
        name = f"provider {provider.name}"
        if provider.file is None:
            raise ProviderError(f"{name}: kind goff needs file = the flag file that the relay retrieves")
        address = provider.url or provider.refresh_url
        if address is None:
            raise ProviderError(f"{name}: kind goff needs url = the address of the relay proxy")
        token = token_of(provider, environ)

        def api(base: str) -> Api:
            return Api(
                name,
                base,
                headers={"Authorization": f"Bearer {token}"},
                secrets=(token,),
                wanted="one of the relay's authorizedKeys.admin; without such a key the relay refuses to refresh",
            )

        return cls(provider.file, api(address), api(provider.refresh_url or address))

    def preflight(self, flag: str, environment: str) -> list[str]:
        """Problems with the file, the flag, and the relay's two answers (a refresh changes no flag)."""
        try:
            rule = _rule(self._file.read().document, flag, self._path)
            _off_variation(rule, flag, self._path)
            self.evaluate(flag, environment, ["preflight"])
            self._refresh_now(flag)
        except ProviderError as error:
            return [str(error)]
        return self._file.unwritable()

    def read_back(self, flag: str, environment: str) -> FlagState:
        """The flag as it stands in the file."""
        return _state(self._file.read().document, flag, self._path)

    def turn_off(self, flag: str, environment: str, *, comment: str, expected: FlagState | None) -> None:
        """Makes the variation whose value is false the only rule, then refreshes the relay (also when the file is off
        already: an earlier refresh may have failed)."""

        def change(snapshot: Snapshot) -> Document | None:
            rule = _rule(snapshot.document, flag, self._path)
            off = _off_variation(rule, flag, self._path)
            done = nothing_to_do(_state(snapshot.document, flag, self._path), expected, f"goff, flag {flag}")
            if done and not rule.get("disable"):
                return None
            for name in _DROPPED:
                rule.pop(name, None)
            rule["defaultRule"] = {"variation": off}
            return snapshot.document

        self._file.rewrite(change)
        self._refresh_now(flag)

    def create(self, flag: str, environment: str, share: float) -> None:
        """Makes the flag in the file, which has to be there: it is the one the relay retrieves. Refreshes the relay."""
        checked_share(share, f"goff, flag {flag}")

        def change(snapshot: Snapshot) -> Document:
            if flag in snapshot.document:
                raise ProviderError(
                    f"flag file {self._path}: there is a flag {flag!r} already; `gtm flag split {flag} SHARE` sets its share"
                )
            snapshot.document[flag] = {"variations": {"on": True, "off": False}}
            _split(snapshot.document[flag], flag, self._path, share)
            return snapshot.document

        self._file.rewrite(change)
        self._refresh_now(flag)

    def set_share(
        self, flag: str, environment: str, share: float, *, comment: str = "", expected: FlagState | None = None
    ) -> None:
        """Writes the percentage of the default rule, at 0 the variation off; then refreshes the relay."""
        checked_share(share, f"goff, flag {flag}")

        def change(snapshot: Snapshot) -> Document:
            rule = _rule(snapshot.document, flag, self._path)
            check_unchanged(_state(snapshot.document, flag, self._path), expected, f"goff, flag {flag}")
            if (others := [name for name in _RULES if rule.get(name)]) or _share(rule) is None:
                what = f"has {', '.join(others)}" if others else "has another default rule"
                raise ProviderError(
                    f"flag file {self._path}, flag {flag}: it {what}, which a plain share would override; change it in the file"
                )
            _split(rule, flag, self._path, share)
            return snapshot.document

        self._file.rewrite(change)
        self._refresh_now(flag)

    def evaluate(self, flag: str, environment: str, units: Sequence[str]) -> list[bool]:
        """What the relay serves to these targeting keys now (OFREP)."""
        path = f"/ofrep/v1/evaluate/flags/{segment(flag)}"

        def served(unit: str) -> bool:
            body = {"context": {"targetingKey": unit}}
            return self._relay.ask("POST", path, _Served, what=f"flag {flag}", body=body).value is True

        return each(units, served)

    def _refresh_now(self, flag: str) -> None:
        answer = self._refresh.ask("POST", "/admin/v1/retriever/refresh", _Refreshed, what=f"flag {flag}")
        if not answer.refreshed:
            raise ProviderError(
                f"{self._refresh.name}, flag {flag}: the relay could not fetch its flag file; its log says why",
                retry=True,
            )


def _rule(document: Document, flag: str, path: Path) -> dict[str, Any]:
    rule = document.get(flag)
    if not isinstance(rule, dict):
        raise ProviderError(
            f"flag file {path}: no flag {flag!r}{did_you_mean(flag, document)} (there are: {', '.join(sorted(document)[:10]) or 'none'}); check its name, "
            f"or make it: `gtm flag create {flag}`",
            status=404,
        )
    return rule


def _split(rule: dict[str, Any], flag: str, path: Path, share: float) -> None:
    on, off = _variation(rule, True, flag, path), _off_variation(rule, flag, path)
    rule.pop("disable", None)
    percent = round(100 * share, 4)
    rule["defaultRule"] = {"percentage": {on: percent, off: round(100 - percent, 4)}} if percent else {"variation": off}


def _off_variation(rule: dict[str, Any], flag: str, path: Path) -> str:
    return _variation(rule, False, flag, path)


def _variation(rule: dict[str, Any], value: bool, flag: str, path: Path) -> str:
    variations = rule.get("variations")
    names = [name for name, served in variations.items() if served is value] if isinstance(variations, dict) else []
    if not names:
        raise ProviderError(f"flag file {path}, flag {flag}: no variation has the value {str(value).lower()}; add one")
    return str(names[0])


def _state(document: Document, flag: str, path: Path) -> FlagState:
    rule = _rule(document, flag, path)
    deciding = {name: rule[name] for name in _DECIDING if name in rule}
    share = None if any(rule.get(name) for name in _DROPPED) else _share(rule)
    enabled = not rule.get("disable") and share != 0
    return FlagState(enabled, share if enabled else None, fingerprint(deciding), compact(deciding))


def _share(rule: dict[str, Any]) -> float | None:
    """The treated share of the default rule; None when it is of another shape."""
    try:
        variations, default = rule["variations"], rule["defaultRule"]
        if "percentage" not in default:
            return float(variations[default["variation"]] is True)
        weights = default["percentage"]
        return float(sum(weights[name] for name in weights if variations[name] is True) / sum(weights.values()))
    except (KeyError, TypeError, AttributeError, ArithmeticError):
        return None


PROVIDER = GoFeatureFlag
