"""The flag file of flagd, which is also the embedded provider: no server, clients watch the file.

Off is the variant `off` for everybody, written out (`state: DISABLED` would return whatever default the caller
passes). Evaluation is that of openfeature-flagd-core, the evaluator inside the flagd clients. flagd keeps one file an
environment, so `environment` chooses nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gtm_dagster.rollout.providers.base.flag_file import Document, FlagFile, Snapshot
from gtm_dagster.rollout.providers.base.split_writer import check_unchanged, checked_share
from gtm_dagster.rollout.providers.base.writer import (
    FlagState,
    ProviderError,
    compact,
    fingerprint,
    nothing_to_do,
)
from gtm_dagster.settings import FlagProvider
from gtm_dagster.settings.nearest import did_you_mean

SCHEMA = "https://flagd.dev/schema/v0/flags.json"
WEIGHTS = 10_000
"""Sum of the weights of a split: 0.01 % steps, and raising the share keeps every treated unit treated."""


class Flagd:
    """Flags of one file."""

    kind = "flagd"

    def __init__(self, path: Path) -> None:
        self._file = FlagFile(path)

    @classmethod
    def of(cls, provider: FlagProvider, environ: Mapping[str, str]) -> Flagd:
        """The writer of the declared provider. JSON only: of a YAML file the Python clients of flagd read the variants
        on and off as true and false, its server does not."""
        if provider.file is None or provider.file.suffix in (".yaml", ".yml"):
            raise ProviderError(
                f'provider {provider.name}: kind flagd needs file = a JSON file like "flags.json" under [[providers]]'
            )
        return cls(provider.file)

    def preflight(self, flag: str, environment: str) -> list[str]:
        """Problems with the file, the flag, or this process's right to write."""
        try:
            snapshot = self._file.read()
            rule = _rule(snapshot.document, flag, self._file.path)
            _off_variant(rule, flag, self._file.path)
            self._served(snapshot.document, flag, ["preflight"])
        except ProviderError as error:
            return [str(error)]
        problems = self._file.unwritable()
        if snapshot.stale:
            problems.append(
                f"flag file {self._file.path}: its mtime is older than the one written last, so running clients ignore "
                "it; touch it"
            )
        return problems

    def read_back(self, flag: str, environment: str) -> FlagState:
        """The flag as it stands in the file."""
        return _state(self._file.read().document, flag, self._file.path)

    def turn_off(self, flag: str, environment: str, *, comment: str, expected: FlagState | None) -> None:
        """Serves the variant whose value is false to everybody; the flag's other keys and other flags stay."""

        def change(snapshot: Snapshot) -> Document | None:
            rule = _rule(snapshot.document, flag, self._file.path)
            off = _off_variant(rule, flag, self._file.path)
            done = nothing_to_do(_state(snapshot.document, flag, self._file.path), expected, f"flagd, flag {flag}")
            # An off file with an old mtime is off on disk only.
            if done and rule.get("state") == "ENABLED" and not snapshot.stale:
                return None
            rule["state"], rule["defaultVariant"] = "ENABLED", off
            rule.pop("targeting", None)
            return snapshot.document

        self._file.rewrite(change)

    def evaluate(self, flag: str, environment: str, units: Sequence[str]) -> list[bool]:
        """What the evaluator of the flagd clients makes of the file for these targeting keys, without other context."""
        document = self._file.read().document
        _rule(document, flag, self._file.path)
        return self._served(document, flag, units)

    def create(self, flag: str, environment: str, share: float) -> None:
        """Makes the flag, and the file where there is none."""
        checked_share(share, f"flagd, flag {flag}")

        def change(snapshot: Snapshot) -> Document:
            flags = snapshot.document.setdefault("flags", {})
            if flag in flags:
                raise ProviderError(
                    f"flag file {self._file.path}: there is a flag {flag!r} already; `gtm flag split {flag} SHARE` sets its share"
                )
            flags[flag] = {"variants": {"on": True, "off": False}}
            _split(flags[flag], flag, self._file.path, share)
            return snapshot.document

        self._file.rewrite(change, create={"$schema": SCHEMA, "flags": {}})

    def set_share(
        self, flag: str, environment: str, share: float, *, comment: str = "", expected: FlagState | None = None
    ) -> None:
        """Writes the fractional rule, at 0 none; the flag's other keys and other flags stay."""
        checked_share(share, f"flagd, flag {flag}")

        def change(snapshot: Snapshot) -> Document:
            rule = _rule(snapshot.document, flag, self._file.path)
            check_unchanged(_state(snapshot.document, flag, self._file.path), expected, f"flagd, flag {flag}")
            targeting = rule.get("targeting")
            if targeting and _share(targeting, rule.get("variants") or {}) is None:
                raise ProviderError(
                    f"flag file {self._file.path}, flag {flag}: its targeting is more than a share ({compact(targeting)}) "
                    "and would be lost; change it in the file"
                )
            _split(rule, flag, self._file.path, share)
            return snapshot.document

        self._file.rewrite(change)

    def _served(self, document: Document, flag: str, units: Sequence[str]) -> list[bool]:
        try:
            from openfeature.contrib.tools.flagd.core import FlagdCore
        except ImportError as error:
            raise ProviderError("flagd: its evaluator is not installed; pip install 'gtm-dagster[flagd]'") from error
        from openfeature.evaluation_context import EvaluationContext
        from openfeature.exception import OpenFeatureError

        core = FlagdCore()
        try:
            core.set_flags(json.dumps(document))
            return [
                bool(core.resolve_boolean_value(flag, False, EvaluationContext(targeting_key=unit)).value)
                for unit in units
            ]
        except (OpenFeatureError, ReferenceError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = getattr(error, "error_message", None) or f"{type(error).__name__} {error}".strip()
            raise ProviderError(
                f"flag file {self._file.path}, flag {flag}: clients cannot evaluate it ({reason}); correct the file"
            ) from error


def set_split(path: Path, flag: str, treated_share: float, epoch: int | None = None) -> None:
    """Serves the new flow to `treated_share` of the targeting keys (share of 1); creates file and flag where missing.

    The same units stay treated while the share grows. `epoch` goes into the flag's metadata, where gates read it.
    Raises ProviderError for a share outside 0 to 1 and for what FlagFile raises.
    """
    if not 0 <= treated_share <= 1:
        raise ProviderError(f"flagd, flag {flag}: {treated_share} is not a share; give one from 0 to 1")

    def change(snapshot: Snapshot) -> Document:
        flags = snapshot.document.setdefault("flags", {})
        rule = flags.setdefault(flag, {"variants": {"on": True, "off": False}})
        _split(rule, flag, path, treated_share, always=True)
        if epoch is not None:
            rule.setdefault("metadata", {})["epoch"] = epoch
        return snapshot.document

    FlagFile(path).rewrite(change, create={"$schema": SCHEMA, "flags": {}})


def _split(rule: dict[str, Any], flag: str, path: Path, share: float, *, always: bool = False) -> None:
    """The rule with the new flow for `share`; at a weight of 0 no split is left, unless `always`."""
    on, off = _variant(rule, True, flag, path), _off_variant(rule, flag, path)
    weight = round(share * WEIGHTS)
    rule["state"], rule["defaultVariant"] = "ENABLED", off
    rule.pop("targeting", None)
    if weight or always:
        rule["targeting"] = {"fractional": [[on, weight], [off, WEIGHTS - weight]]}


def _rule(document: Document, flag: str, path: Path) -> dict[str, Any]:
    flags = document.get("flags")
    rule = flags.get(flag) if isinstance(flags, dict) else None
    if not isinstance(rule, dict):
        known = ", ".join(sorted(flags)[:10]) if isinstance(flags, dict) else ""
        near = did_you_mean(flag, flags) if isinstance(flags, dict) else ""
        raise ProviderError(
            f"flag file {path}: no flag {flag!r}{near} (there are: {known or 'none'}); check its name, or make it: `gtm flag create {flag}`",
            status=404,
        )
    return rule


def _variant(rule: dict[str, Any], value: bool, flag: str, path: Path) -> str:
    variants = rule.get("variants")
    names = [name for name, served in variants.items() if served is value] if isinstance(variants, dict) else []
    if not names:
        raise ProviderError(f"flag file {path}, flag {flag}: no variant has the value {str(value).lower()}; add one")
    preferred = "on" if value else "off"
    return preferred if preferred in names else str(names[0])


def _off_variant(rule: dict[str, Any], flag: str, path: Path) -> str:
    return _variant(rule, False, flag, path)


def _state(document: Document, flag: str, path: Path) -> FlagState:
    rule = _rule(document, flag, path)
    deciding = {name: rule.get(name) for name in ("state", "variants", "defaultVariant", "targeting")}
    if "$ref" in json.dumps(deciding["targeting"]):
        deciding["$evaluators"] = document.get("$evaluators")
    variants = rule["variants"] if isinstance(rule.get("variants"), dict) else {}
    default = rule.get("defaultVariant")
    default_on = variants.get(str(default).lower() if isinstance(default, bool) else str(default)) is True
    split = rule.get("targeting") or None
    share = _share(split, variants) if split else float(default_on)
    enabled = rule.get("state") == "ENABLED" and (default_on or share != 0)
    return FlagState(enabled, share if enabled else None, fingerprint(deciding), compact(deciding))


def _share(targeting: Any, variants: dict[str, Any]) -> float | None:
    """The treated share of a plain `fractional` rule; None for any other rule."""
    parts = targeting.get("fractional") if isinstance(targeting, dict) and len(targeting) == 1 else None
    if not isinstance(parts, list):
        return None
    if parts and not isinstance(parts[0], list):
        parts = parts[1:]
    on = total = 0
    for part in parts:
        weight = part[1] if isinstance(part, list) and len(part) == 2 else 1
        if not isinstance(part, list) or not part or not isinstance(weight, int) or not isinstance(part[0], str):
            return None
        total += weight
        on += weight if variants.get(part[0]) is True else 0
    return on / total if total else None


PROVIDER = Flagd
