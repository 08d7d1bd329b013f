"""The short way of a live event gives what the long way gives, or nothing."""

import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_events import ODD_EVENTS, OddEvent
from profiles import examples

from gtm_dagster.admission.admission import Sender
from gtm_dagster.admission.short_way import _LONGEST_REMEMBERED
from gtm_dagster.admission.single_event import Judge
from gtm_dagster.privacy.consent import consent_policy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.taxonomy import load_plan

NOW = 1_772_445_600_000_000
KEY = b"k" * 32
CONSENTS = [{"analytics": True}, {"analytics": False}, {"marketing": True}, {}, None]
GOOD = OddEvent("good", {"context.consent": {"analytics": True}}).event


def judge(setting: Any, *, long: bool) -> Judge:
    ids = count()
    one = Judge(
        load_plan(), Pseudonymizer(KEY), Sealer(KEY), 64_000, consent_policy(setting), lambda: f"made-{next(ids)}"
    )
    if long:
        one._short_way = lambda *_: None  # type: ignore[assignment]
    return one


JUDGES = [
    (judge(setting, long=False), judge(setting, long=True))
    for setting in ("off", "required", "opt_out", {"US": "off", "EU": "required", "default": "opt_out"})
]


def judged(one: Judge, raw: bytes, gates_consent: bool) -> tuple[Any, ...]:
    (found,) = one([raw], write_key="w", received_us=NOW, gates_consent=gates_consent)
    columns = {name: getattr(found.record, name) for name in found.record.__struct_fields__ if name != "sealed"}
    return columns, found.event_id, found.errors, found.note


CHANGES = st.lists(st.sampled_from(ODD_EVENTS), min_size=1, max_size=3).map(
    lambda odds: {name: value for odd in odds for name, value in odd.changes.items()}
)


@examples(2000)
@given(CHANGES, st.sampled_from(CONSENTS), st.sampled_from(JUDGES), st.booleans(), st.booleans())
def test_both_ways_agree(changes: dict[str, Any], consent: Any, pair: Any, gates: bool, escapes: bool) -> None:
    event = OddEvent("event-1", {"context.consent": consent} | changes).event
    try:
        raw = json.dumps(event, ensure_ascii=escapes).encode()
    except UnicodeEncodeError:
        return
    assert judged(pair[0], raw, gates) == judged(pair[1], raw, gates)


def _text(event: Any) -> bytes:
    return json.dumps(event).encode()


DEEP: Any = {}
for _ in range(40):
    DEEP = {"a": DEEP}
TEXTS = [
    pytest.param(_text(GOOD), True, id="good"),
    pytest.param(_text(GOOD | {"write_key": "w", "plan_version": "1-0-0", "received_at": "x"}), True, id="sent again"),
    pytest.param(_text(GOOD | {"properties": None, "context": None}), True, id="nulls"),
    pytest.param(_text(GOOD | {"write_key": DEEP}), False, id="deep beside"),
    pytest.param(_text(GOOD | {"context": GOOD["context"] | {"ip": DEEP}}), False, id="deep inside"),
    pytest.param(_text(GOOD)[:-1] + b',"context":{}}', False, id="context twice"),
    pytest.param(_text(GOOD)[:-1] + b',"context":{"x":1},"context":{}}', False, id="first context broken"),
    pytest.param(_text(GOOD)[:-1] + rb',"\u0063ontext":{"source":"x"}}', False, id="context by escapes"),
    pytest.param(_text(GOOD)[:-1] + b',"properties":{"title":[1]},"properties":{}}', False, id="first properties broken"),
    pytest.param(_text(GOOD)[:-1] + b',"user_id":"' + b"x" * 257 + b'","user_id":"u"}', False, id="first id too long"),
    pytest.param(_text(GOOD).replace(b"{", b"{\xff", 1), False, id="no UTF-8"),
    pytest.param(_text(GOOD)[:-1] + b',"properties":{"title":"\xff"}}', False, id="no UTF-8 in properties"),
    pytest.param(_text(GOOD) + b"}", False, id="more behind"),
    pytest.param(b"[" * 5000, False, id="too deep"),
    pytest.param(
        _text(GOOD | {"context": {"page_url": "https://a.example/" + "x" * _LONGEST_REMEMBERED}}), True, id="too long to remember"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "is_short"), TEXTS)
def test_both_ways_agree_on_odd_texts(raw: bytes, is_short: bool) -> None:
    for short, long in JUDGES:
        assert judged(short, raw, False) == judged(long, raw, False)
    assert (JUDGES[0][0]._short_way(raw, Sender("w"), NOW) is not None) is is_short
