"""The warehouse has no opinion of its own on sources: what it stores of an event is what `channels.classify` says of it."""

import json
import random
from itertools import product
from pathlib import Path

import pytest
from warehouse_cases import PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.channels import classify
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import SettingsChangedError, check_settings
from gtm_dagster.warehouse.verify import verify

REFERRERS = [
    None, "", " ", "-", "null", "google", "(direct)", "$direct", "about:blank", "about:srcdoc", "data:text/html,a.b", "file:///C:/x.html",
    "javascript:void(0.5)", "mailto:a@b.example", "blob:https://x.example/1", "chrome-extension://abc/x", "https://", "https:///x",
    "https://x.example /p", "https://x.example /", "x.example /p", " https://www.bing.com/x ", "\u2028https://www.bing.com", "https://ya.ru\n/x",
    "https:\\\\x.example", "x.example:\\\\y", "//www.bing.com/q", "https://user:pw@duckduckgo.com/", "https://other.example\\@bing.com/",
    "HTTPS://WWW.GOOGLE.COM:443", "www.google.com.", "https://www.www.x.example/", "https://google.evil.example/", "https://google.github.io/",
    "https://bücher.example/a", "https://xn--bcher-kva.example/b", "https://shop%2Eexample/", "https://a..b/", "https://[::1]:80/",
    "https://192.0.2.7/x", "1.5", "https://www.google.com/search", "https://www.google.com/finance/quote", "https://www.google.com/financed",
    "https://accounts.google.com/", "https://docs.google.com/x", "https://m.facebook.com/", "https://www.facebook.com/v1.0/dialog/oauth",
    "https://www.facebook.com/login.php?x=1", "https://github.com/acme", "https://github.com/login/oauth", "https://checkout.stripe.com/c/1",
    "https://pay.google.com/", "https://mail.google.com/", "https://webmail.partner.example/", "https://chatgpt.com/", "https://x.com/i/grok",
    "https://x.com/acme", "https://blog.acme.example/", "https://shop.acme.example/a", "https://own.example/", "https://one.github.io/",
    "android-app://com.Slack/", "android-app://com.google.android.gm", "https://partner.example/a?b=1", "https://partner.example/c",
]  # fmt: skip
PAGES = [
    None,
    "https://shop.acme.example/b?x#y",
    "https://two.github.io/",
    "https://www.bing.com /x",
    "/relative",
    "shop.acme.example:80/x",
]
CLICKS = [
    None,
    "gclid=1",
    "gclid:2",
    "GCLID",
    "fbclid=IwAR0x",
    " gclid =1",
    "abc=gclid=1",
    "abc",
    "Cj0KCQiAzZL-BRDnARIsAPCJs70",
    "Cj0KCQiAzZL-BRDn=1",
]
NAMED = [
    (None, None, None), ("fb", "CPC", "Spring"), ("direct", None, None), ("(direct)", "(none)", "(direct)"), (None, None, "spring"),
    (None, "Email", None), ("google", None, None), ("News", "(not set)", None), ("", "", ""), ("chatgpt.com", None, None),
]  # fmt: skip
OWN = ("own.example",)


def combinations() -> list[dict]:
    """Every referrer with every page, and random ones of all six inputs."""
    found = [{"referrer": referrer, "page_url": page} for referrer, page in product(REFERRERS, PAGES)]
    rng = random.Random(1)
    for _ in range(600):
        source, medium, campaign = rng.choice(NAMED)
        found.append(
            {
                "source": source, "medium": medium, "campaign": campaign, "referrer": rng.choice(REFERRERS),
                "page_url": rng.choice(PAGES), "click_id": rng.choice(CLICKS),
            }
        )  # fmt: skip
    return found


def decided(columns: dict) -> tuple:
    """(source, medium, campaign, channel, rank, rule) by the decider; without a rule for a direct visit, which has no row of its own."""
    touch = classify(
        columns.get("source"), columns.get("medium"), columns.get("campaign"), columns["referrer"], columns.get("click_id"),
        columns["page_url"], OWN,
    )  # fmt: skip
    return (*touch[1:5], touch.rank, touch.rule if touch.rank else "no source")


def test_the_warehouse_says_what_the_decider_says(tmp_path: Path):
    settings = settings_for(tmp_path, GTM_OWN_HOSTS=json.dumps(OWN))
    inputs = combinations()
    rows = [event(f"e{place}", START + place, anonymous_id="a", **columns) for place, columns in enumerate(inputs)]
    land(settings, rows[: len(rows) // 2], "one")
    refresh(settings)
    land(settings, rows[len(rows) // 2 :], "two")
    refresh(settings)
    found = rows_of(
        settings,
        """SELECT e.event_id, s.source, s.medium, s.campaign, s.channel, e.touch_rank, s.rule
        FROM staging.events e JOIN core.sources s ON s.source_key = coalesce(e.source_key, 0)""",
    )
    assert {row[0]: row[1:] for row in found} == {f"e{place}": decided(columns) for place, columns in enumerate(inputs)}
    assert len(found) > 900 and len({row[-1] for row in found}) > 20
    assert rows_of(settings, "SELECT count(*) FROM core.sources s WHERE s.touch_rank IS DISTINCT FROM (SELECT any_value(e.touch_rank) FROM staging.events e WHERE e.source_key = s.source_key)") == [(0,)]  # fmt: skip


def test_other_own_hosts_rebuild_and_differ_from_no_rebuild(tmp_path: Path):
    settings = settings_for(tmp_path)
    land(settings, [event("e", START, anonymous_id="a", referrer="https://own.example/")], "one")
    refresh(settings)
    assert rows_of(settings, "SELECT channel FROM core.sessions") == [("Referral",)]
    other = settings_for(tmp_path, GTM_OWN_HOSTS=json.dumps(OWN))
    with opened(other.warehouse_path, other) as con:
        with pytest.raises(SettingsChangedError, match=r'own_hosts: built with \[\], now \["own.example"\]'):
            check_settings(con, BuildContext(other, PLAN), allow_rebuild=False)
    refresh(other)
    assert rows_of(other, "SELECT channel FROM core.sessions") == [("Direct",)]
    assert not any(verify(other, PLAN).differences.values())


def test_another_public_suffix_list_rebuilds(tmp_path: Path, monkeypatch):
    settings = settings_for(tmp_path)
    land(settings, [event("e", START, anonymous_id="a")], "one")
    refresh(settings)
    monkeypatch.setattr("gtm_dagster.warehouse.fingerprints.suffixes_digest", lambda: "another")
    with opened(settings.warehouse_path, settings) as con:
        lines = check_settings(con, BuildContext(settings, PLAN), allow_rebuild=True)
    assert [line for line in lines if line.startswith("public suffix list: built with")]
