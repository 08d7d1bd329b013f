"""The writers that make and split flags: only the share changes, and the other writers say that they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loopback import Answer, Loopback, serve
from provider_cases import CASES

from gtm_dagster.rollout.providers import ProviderError, kinds, provider, writer_for
from gtm_dagster.rollout.providers.base.split_writer import SplitWriter
from gtm_dagster.settings import FlagProvider

FLAG = "checkout-v2"
REFRESH = ("POST", "/admin/v1/retriever/refresh")
BOTH = {"on": True, "off": False}


def test_the_kinds_whose_flags_lie_in_a_file_are_those_that_split() -> None:
    methods = ("create", "set_share")
    assert {kind for kind in kinds() if all(hasattr(provider(kind), name) for name in methods)} == {"flagd", "goff"}
    assert {case.kind for case in CASES} >= {"goff", "unleash"}


@pytest.fixture
def relay():
    with serve({REFRESH: Answer(200, {"refreshed": True})}) as server:
        yield server


def writer(folder: Path, relay: Loopback, document: dict[str, Any]) -> Any:
    path = folder / "flags.json"
    path.write_text(json.dumps(document))
    declared = FlagProvider("relay", "goff", file=path, url=relay.url, token_env="T")
    found = writer_for(declared, {"T": "secret"})
    assert isinstance(found, SplitWriter)
    return found


@pytest.mark.parametrize(
    ("share", "rule"),
    [
        (0.0, {"variation": "off"}),
        (0.0125, {"percentage": {"on": 1.25, "off": 98.75}}),
        (1.0, {"percentage": {"on": 100.0, "off": 0.0}}),
    ],
)
def test_goff_makes_and_splits_a_flag_and_refreshes_the_relay(tmp_path, relay, share, rule) -> None:
    other = {"variations": {"a": True}, "defaultRule": {"variation": "a"}}
    goff = writer(tmp_path, relay, {"other": other})
    goff.create(FLAG, "", 0.5)
    goff.set_share(FLAG, "", share)
    document = json.loads((tmp_path / "flags.json").read_text())
    assert document == {"other": other, FLAG: {"variations": BOTH, "defaultRule": rule}}
    state = goff.read_back(FLAG, "")
    assert (state.enabled, state.share) == (share > 0, share or None)
    assert len(relay.calls(*REFRESH)) == 2


RULES: list[tuple[str, dict[str, Any], str]] = [
    ("targeting", {"targeting": [{"query": "plan eq 'pro'", "variation": "on"}]}, "it has targeting"),
    ("a schedule", {"scheduledRollout": [{"date": "2026-12-01"}]}, "it has scheduledRollout"),
    ("a progressive rollout", {"defaultRule": {"progressiveRollout": {}}}, "it has another default rule"),
]


@pytest.mark.parametrize(("rule", "words"), [case[1:] for case in RULES], ids=[case[0] for case in RULES])
def test_goff_leaves_rules_that_are_more_than_a_share(tmp_path, relay, rule, words) -> None:
    goff = writer(tmp_path, relay, {FLAG: {"variations": BOTH, "defaultRule": {"variation": "off"}} | rule})
    before = (tmp_path / "flags.json").read_bytes()
    with pytest.raises(ProviderError, match=words):
        goff.set_share(FLAG, "", 0.5)
    assert (tmp_path / "flags.json").read_bytes() == before and not relay.asked


def test_goff_makes_no_flag_twice(tmp_path, relay) -> None:
    goff = writer(tmp_path, relay, {FLAG: {"variations": BOTH, "defaultRule": {"variation": "off"}}})
    with pytest.raises(ProviderError, match="gtm flag split"):
        goff.create(FLAG, "", 0.5)
    assert not relay.asked
