"""Strings of consent platforms: what they say of the purposes, and that no text breaks the reading.

The strings were made by @iabgpp/cmpapi 3.2.0 and are what it writes for the fields named.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.privacy.consent_strings import gpp_purposes, tcf_purposes

NO_ADS = {"marketing": False}
GPC = {"marketing": False, "personalization": False}
MEASURED = {"analytics": True, "marketing": True, "personalization": False}
TC = "CQuci4AQuci4AAfAAAENAAFgAMMAAAAAAAAAAAAAAAAA.IAAA.YAAAAAAAAAAA"
"""Consent to the purposes 1, 2, 7 and 8."""
STRINGS = [
    ("national, sale", "DBABLA~CAAQAAAAAABA.QA", NO_ADS),
    ("national, sharing", "DBABLA~CAAEAAAAAABA.QA", NO_ADS),
    ("national, targeted advertising", "DBABLA~CAABAAAAAABA.QA", NO_ADS),
    ("national, did not opt out: nothing is granted", "DBABLA~CAAgAAAAAABA.QA", {}),
    ("national, Global Privacy Control", "DBABLA~CAAAAAAAAABA.YA", GPC),
    ("California, sale", "DBABBg~BAQAAABA.QA", NO_ADS),
    ("California, sharing", "DBABBg~BAEAAABA.QA", NO_ADS),
    ("California, did not", "DBABBg~BAIAAABA.QA", {}),
    ("California, Global Privacy Control", "DBABBg~BAAAAABA.YA", GPC),
    ("Virginia, sale", "DBABRg~BAQAABA", NO_ADS),
    ("Virginia, targeted advertising", "DBABRg~BAEAABA", NO_ADS),
    ("Colorado, targeted advertising", "DBABJg~BAEAAEA.QA", NO_ADS),
    ("Utah, sale", "DBABFg~BAEAAAQA", NO_ADS),
    ("Utah, targeted advertising", "DBABFg~BABAAAQA", NO_ADS),
    ("Connecticut, targeted advertising", "DBABVg~BAEAAAEA.QA", NO_ADS),
    ("Florida, sale", "DBABAw~BAQAAABA", NO_ADS),
    ("Montana, sale", "DBABQw~BAQAAABA.QA", NO_ADS),
    ("Oregon, sale", "DBABIw~BAQAAAAABAA.QA", NO_ADS),
    ("Texas, targeted advertising", "DBABEw~BAEAAAQA.QA", NO_ADS),
    ("Delaware, sale", "DBABUw~BAQAAAAABAA.QA", NO_ADS),
    ("Iowa, sale", "DBABCw~BAEAAAQA.QA", NO_ADS),
    ("Nebraska, sale", "DBABSw~BAQAAAQA.QA", NO_ADS),
    ("New Hampshire, sale", "DBABKw~BAQAAABA.QA", NO_ADS),
    ("New Jersey, sale", "DBABAYA~BAQAAAAAQA.QA", NO_ADS),
    ("Tennessee, sale", "DBABQYA~BAQAAAQA.QA", NO_ADS),
    ("Minnesota, sale", "DBABIYA~BAQAAAQA.QA", NO_ADS),
    ("Maryland, sale", "DBABEYA~BQBA.QA", NO_ADS),
    ("Maryland, did not", "DBABEYA~BQCA.QA", {}),
    ("Indiana, sale", "DBABUYA~BQBA.AAA", NO_ADS),
    ("Kentucky, targeted advertising", "DBABCYA~BQAQ.AAA", NO_ADS),
    ("Rhode Island, targeted advertising", "DBABSYA~BQAQ.AAA", NO_ADS),
    ("the text of before: opt-out of sale", "DBABTA~1YY-", NO_ADS),
    ("Europe", f"DBABMA~{TC}", MEASURED),
    ("Europe, the text of before and California", f"DBADNZg~{TC}~1-Y-~BAQAAABA.QA", MEASURED | NO_ADS),
    ("four that did not opt out, and Texas, which did", "DBACrNM~CAAgAAAAAABA.QA~BAgAAABA.QA~BAgAABA~BAgAAEA.QA~BAEAAAQA.QA", NO_ADS),
    ("no section", "DBAA", {}),
    ("fewer sections than its header names", "DBADNZg~1-Y-", {}),
    ("no header", "~BAQAAABA.QA", {}),
    ("a TC string alone", TC, {}),
    ("not base64", "DBA*~BAQAAABA.QA", {}),
    ("too long", "DBABBg~BAQAAABA" + "A" * 9_000, {}),
    ("nothing", "", {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [each[1:] for each in STRINGS], ids=[each[0] for each in STRINGS])
def test_a_gpp_string(text: str, expected: dict[str, bool]) -> None:
    assert gpp_purposes(text) == expected


def test_sections_that_are_not_in_force_do_not_count() -> None:
    text = f"DBADNZg~{TC}~1-Y-~BAQAAABA.QA"
    assert gpp_purposes(text, [2]) == MEASURED
    assert gpp_purposes(text, {6, 8}) == NO_ADS
    assert gpp_purposes(text, [99]) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [(TC, MEASURED), (TC.split(".")[0], MEASURED), ("B" + TC[1:], {}), (TC[:20], {}), ("", {}), ("ž" * 60, {})],
    ids=["whole", "its core", "version 1", "cut off", "nothing", "another alphabet"],
)
def test_a_tc_string(text: str, expected: dict[str, bool]) -> None:
    assert tcf_purposes(text) == expected


@given(st.text(max_size=80) | st.text(alphabet="ABCDEFGHabcdef019-_~.", max_size=80).map(lambda text: f"DB{text}"))
def test_no_text_breaks_the_reading(text: str) -> None:
    for found in (gpp_purposes(text), gpp_purposes(f"DBABBg~{text}"), tcf_purposes(f"C{text}")):
        assert set(found) <= {"analytics", "marketing", "personalization"}
