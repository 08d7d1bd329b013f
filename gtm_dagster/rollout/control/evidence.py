"""The evidence of a rollback as one JSON document: whoever has it recomputes the decision offline.

A document names its format for ever. A format that adds a field raises FORMAT and gives the field a default, so that
every older document is read; a field nobody knows is an error, because a decision might rest on it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import msgspec

from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.decide import ARMED, Decision, Signals, decide
from gtm_dagster.rollout.guard.hazard_detector import hazard_verdict
from gtm_dagster.rollout.guard.judge import judge
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import Verdict
from gtm_dagster.rollout.providers import FlagState
from gtm_dagster.settings import Guard

FORMAT = 6
"""The format that `to_json` writes, and the newest that `from_json` reads.

Format 2 has `counts.folded`, `guard.write_keys` and `left_out`, each only where there is something to say.
Format 3 names the `detector` that decided; documents before it rest on detector 1.
Format 4 has what belongs to several metrics (`counts.metrics`, `rule.metrics`, `verdict.metrics` and others), each only in
a guard that declares some, and `segments` where units were counted by them.
Format 5 has the cells of `counts` in columns, a third of the size of the list a cell (`counts.rows`) of those before.
Format 6 rests on detector 3, of which an older version would recompute another estimate.
"""
DETECTOR = 3
"""The detector that decides today: as detector 2, with another estimate before there is evidence."""
_KEYS = frozenset(
    {
        "format", "product_version", "guard", "rule", "counts", "verdict", "provider_before", "episode", "epoch",
        "decided_us", "actor", "reason", "left_out", "detector", "segments",
    }
)  # fmt: skip

Part = TypeVar("Part")


class EvidenceError(ValueError):
    """A document that is no evidence this version reads; the message says what is wrong and the way out."""


@dataclass(frozen=True)
class Evidence:
    """Guard, rule (planned shares included), counts and verdict of one episode, and the flag before the action.

    `left_out`: exposures and conversions of client keys that the guard does not name, so they are not in the counts.
    `segments`: (kind, segment, arm, exposed, converted), which decide nothing.
    """

    guard: Guard
    rule: Rule
    counts: Counts
    verdict: Verdict
    episode: str
    epoch: int
    decided_us: int
    before: FlagState | None
    actor: str = "conversion_guard"
    reason: str = ""
    left_out: int = 0
    detector: int = DETECTOR
    segments: tuple[tuple[str, str, str, int, int], ...] = ()

    @property
    def by_evidence(self) -> bool:
        """False for a rollback somebody asked for: there may be no breach to recompute."""
        return self.actor == "conversion_guard"


def product_version() -> str:
    """The installed version of this package."""
    try:
        return version("gtm-dagster")
    except PackageNotFoundError:
        return "unknown"


def to_json(evidence: Evidence) -> str:
    """The canonical text: sorted keys, no spaces, floats exact. `digest` is taken of it."""
    document = {
        "format": FORMAT,
        "product_version": product_version(),
        "guard": _guard(evidence.guard),
        "rule": evidence.rule.to_json(),
        "counts": evidence.counts.to_json(),
        "verdict": evidence.verdict.to_json(),
        "provider_before": None if evidence.before is None else asdict(evidence.before),
        "episode": evidence.episode,
        "epoch": evidence.epoch,
        "decided_us": evidence.decided_us,
        "actor": evidence.actor,
        "reason": evidence.reason,
        "detector": evidence.detector,
    } | ({"left_out": evidence.left_out} if evidence.left_out else {})
    document |= {"segments": [list(each) for each in evidence.segments]} if evidence.segments else {}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _guard(guard: Guard) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(guard)
    for name in ("write_keys", "metrics", "conversion_stake", "page"):
        if not document[name]:
            del document[name]
    del document["ramp"]  # a rollback does not rest on it
    return document


def from_json(text: str) -> Evidence:
    """The evidence in a document of this format or an older one.

    Raises EvidenceError for a newer format (naming the version to install), an unknown field, and anything else.
    """
    document = _document(text)
    try:
        before = document["provider_before"]
        return Evidence(
            guard=_part(Guard, document, "guard"),
            rule=_part(Rule, document, "rule"),
            counts=Counts.from_json(document["counts"]),
            verdict=_part(Verdict, document, "verdict"),
            episode=document["episode"],
            epoch=document["epoch"],
            decided_us=document["decided_us"],
            before=None if before is None else _part(FlagState, document, "provider_before"),
            actor=document["actor"],
            reason=document["reason"],
            left_out=document.get("left_out", 0),
            detector=document.get("detector", 1),
            segments=tuple(
                (str(kind), str(segment), str(arm), int(exposed), int(converted))
                for kind, segment, arm, exposed, converted in document.get("segments", ())
            ),
        )
    except EvidenceError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"not an evidence document: {type(error).__name__} {error}") from error


def _document(text: str) -> dict[str, Any]:
    """The document's keys and values, once its format is known to be readable."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise EvidenceError(f"not an evidence document: {error}") from error
    number = document.get("format") if isinstance(document, dict) else None
    if type(number) is not int or number < 1:
        raise EvidenceError("not an evidence document: it names no format")
    if number > FORMAT:
        writer = document.get("product_version")
        install = f"gtm-dagster {writer}, which wrote it" if writer not in (None, "unknown") else "a newer gtm-dagster"
        raise EvidenceError(f"format {number} is newer than {FORMAT}, the newest this version reads; install {install}")
    _refuse_unknown(document, _KEYS, "", number)
    return document


def _part(kind: type[Part], document: dict[str, Any], name: str) -> Part:
    """A part of the document as the dataclass or Struct it was written from."""
    part = document[name]
    if not isinstance(part, dict):
        raise EvidenceError(f"{name}: {part!r} is not an object")
    if not issubclass(kind, msgspec.Struct):
        known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
        _refuse_unknown(part, known, f"{name}.", document["format"])
    try:
        return msgspec.convert(part, kind)
    except msgspec.ValidationError as error:
        raise EvidenceError(f"{name}: {error}") from error


def _refuse_unknown(part: dict[str, Any], known: frozenset[str] | set[str], prefix: str, number: int) -> None:
    for name in sorted(part.keys() - known):
        raise EvidenceError(f"{prefix}{name}: there is no such field in format {number}")


def digest(text: str) -> str:
    """SHA-256 of a document's text, 64 hex characters."""
    return hashlib.sha256(text.encode()).hexdigest()


def replay(evidence: Evidence) -> Verdict:
    """The verdict recomputed from the counts: equal in decision, log_e to 1e-9."""
    if evidence.detector == 1:
        return hazard_verdict(evidence.counts, evidence.rule)
    return judge(evidence.counts, evidence.rule, same_age=evidence.detector > 2)


def replayed_decision(evidence: Evidence) -> Decision:
    """What the guard decides on the recomputed verdict, as of the moment of the decision."""
    return decide(ARMED, replay(evidence), Signals(watermark_us=evidence.decided_us), evidence.rule)
