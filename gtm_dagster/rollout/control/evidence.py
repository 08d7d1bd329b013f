"""The evidence of a rollback as one JSON document: whoever holds it recomputes the decision offline."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import msgspec

from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.decide import ARMED, Decision, Sight, decide
from gtm_dagster.rollout.guard.detector import Rule, Verdict, detect
from gtm_dagster.rollout.providers import FlagState
from gtm_dagster.settings import Guard

FORMAT = 1


class BundleError(ValueError):
    """A document that is not a bundle of this version; the message says what is wrong."""


@dataclass(frozen=True)
class Bundle:
    """Guard, rule (planned shares included), counts and verdict of one episode, and what the provider told before."""

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


def to_json(bundle: Bundle) -> str:
    """The canonical text: sorted keys, no spaces, floats exact. `digest` is taken of it."""
    document = {
        "format": FORMAT,
        "product_version": product_version(),
        "guard": msgspec.to_builtins(bundle.guard),
        "rule": asdict(bundle.rule),
        "counts": bundle.counts.to_json(),
        "verdict": asdict(bundle.verdict),
        "provider_before": None if bundle.before is None else asdict(bundle.before),
        "episode": bundle.episode,
        "epoch": bundle.epoch,
        "decided_us": bundle.decided_us,
        "actor": bundle.actor,
        "reason": bundle.reason,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str) -> Bundle:
    """The bundle of a document. Raises BundleError."""
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise BundleError(f"format: {document['format']!r} is not {FORMAT}; use the version that wrote it")
        return Bundle(
            guard=msgspec.convert(document["guard"], Guard),
            rule=Rule(**{**document["rule"], "shares": tuple((us, part) for us, part in document["rule"]["shares"])}),
            counts=Counts.from_json(document["counts"]),
            verdict=Verdict(**document["verdict"]),
            episode=document["episode"],
            epoch=document["epoch"],
            decided_us=document["decided_us"],
            before=None if (before := document["provider_before"]) is None else FlagState(**before),
            actor=document["actor"],
            reason=document["reason"],
        )
    except BundleError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"not an evidence bundle: {type(error).__name__} {error}") from error


def digest(text: str) -> str:
    """SHA-256 of a bundle's text, 64 hex characters."""
    return hashlib.sha256(text.encode()).hexdigest()


def replay(bundle: Bundle) -> Verdict:
    """The verdict recomputed from the counts: equal in decision, log_e to 1e-9."""
    return detect(bundle.counts, bundle.rule)


def replayed_decision(bundle: Bundle) -> Decision:
    """What the guard decides on the recomputed verdict, as of the moment of the decision."""
    return decide(ARMED, replay(bundle), Sight(watermark_us=bundle.decided_us), bundle.rule)
