"""The public lists: what they make known, where our own lists win over them, and how they are renewed."""

from collections import Counter

import pytest

from gtm_dagster.channels import classify, known_source
from gtm_dagster.channels.public_lists import BOTS, GA4_SOURCES, PUBLIC_LISTS, origin_of, rows_of
from scripts.channel_lists import bot_name, bot_rows, ga4_rows

OWN = {
    "alice": "assistant",  # Yandex's assistant; Google means an Italian portal that is gone
    "email.seznam.cz": "email",
    "mail.rambler.ru": "email",
    "mail.yandex.ru": "email",
    "rakuten": "shopping",
    "rakuten.co.jp": "shopping",  # its search is websearch.rakuten.co.jp
}
"""What we put elsewhere than Google, on purpose."""


def test_at_least_95_percent_of_every_category_is_known_as_google_knows_it():
    listed = dict(rows_of(GA4_SOURCES))
    found = {name: known_source(name) for name in listed}
    other = {
        name: known.category if known else None
        for name, known in found.items()
        if not known or known.category != listed[name]
    }
    assert other == OWN
    total, missed = Counter(listed.values()), Counter(listed[name] for name in other)
    assert {category: 1 - missed[category] / total[category] >= 0.95 for category in total} == dict.fromkeys(
        total, True
    )


@pytest.mark.parametrize(
    ("referrer", "source", "channel"),
    [
        pytest.param("https://blog.goo.ne.jp/x", "blog.goo.ne.jp", "Organic Social", id="blogs of a search brand"),
        pytest.param("https://oshiete.goo.ne.jp/", "oshiete.goo.ne.jp", "Organic Social", id="its answers"),
        pytest.param("https://www.goo.ne.jp/", "goo", "Organic Search", id="the brand itself"),
        pytest.param("https://messages.google.com/", "google messages", "Organic Social", id="messages of Google"),
        pytest.param("https://bookmarks.yahoo.com/", "yahoo communities", "Organic Social", id="bookmarks of Yahoo"),
        pytest.param("https://spaces.live.com/", "windows live spaces", "Organic Social", id="spaces of Live"),
        pytest.param("https://mail.google.com/", "gmail", "Email", id="mail stays mail"),
        pytest.param("https://docs.google.com/", "docs.google.com", "Referral", id="work pages stay work pages"),
        pytest.param("https://websearch.rakuten.co.jp/", "websearch.rakuten.co.jp", "Organic Search", id="search of a shop"),
        pytest.param("https://www.rakuten.co.jp/", "rakuten", "Organic Shopping", id="the shop itself"),
        pytest.param("https://43things.com/", "43things", "Organic Social", id="a word and its host are one source"),
        pytest.param("https://m.facebook.com/", "facebook", "Organic Social", id="our canonical name stays"),
        pytest.param("https://accounts.google.com/", "direct", "Direct", id="sign-in stays no touch"),
    ],
)  # fmt: skip
def test_a_listed_host_wins_over_its_brand_and_our_list_over_the_public_one(referrer, source, channel):
    touch = classify(None, None, None, referrer)
    assert (touch.source, touch.channel) == (source, channel)


@pytest.mark.parametrize("file", PUBLIC_LISTS)
def test_every_public_list_says_whose_it_is(file):
    origin = origin_of(file)
    assert origin.repository.startswith("https://github.com/") and len(origin.commit) == 40
    assert origin.licence.startswith("MIT, Copyright") and origin.day <= origin.renewed
    assert all(len(row) == (2 if file == GA4_SOURCES else 3) and all(row) for row in rows_of(file))


def test_the_public_lists_hold_what_they_are_for():
    assert len(rows_of(GA4_SOURCES)) > 800
    assert len(rows_of(BOTS)) > 1400


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"Googlebot\/", "Googlebot"),
        ("[wW]get", "wget"),
        ("(sistrix|SISTRIX) [cC]rawler", "sistrix crawler"),
        (r"(^| )PTST\/", "PTST"),
        (r"AdsBot-Google([^-]|$)", "AdsBot-Google"),
        (r"SSL Labs \(https:\/\/www\.ssllabs\.com", "SSL Labs"),
        (r"Chirp|gotosocial", "Chirp"),
        (r"Mediapartners \(Googlebot\)", "Mediapartners (Googlebot)"),
    ],
)
def test_a_bot_is_called_by_what_its_pattern_finds(pattern, name):
    assert bot_name(pattern) == name


def test_a_renewed_list_is_sorted_and_refuses_what_it_does_not_know():
    assert ga4_rows("source,source_category\nB,SOURCE_CATEGORY_VIDEO\na,SOURCE_CATEGORY_SEARCH\n") == [
        "source,category", "a,search", "b,video",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="SOURCE_CATEGORY_MAPS"):
        ga4_rows("source,source_category\nb,SOURCE_CATEGORY_MAPS\n")
    assert bot_rows('[{"pattern": "a\\\\/", "tags": ["seo", "x"]}, {"pattern": "b"}]') == [
        "name\tpattern\tkind", "a\ta\\/\tseo", "b\tb\tother",
    ]  # fmt: skip


@pytest.mark.parametrize("pattern", ["(", ".*", "a\\tb"], ids=["no regex", "finds everything", "a tab"])
def test_a_renewed_list_of_bots_refuses_a_pattern_that_cannot_serve(pattern):
    with pytest.raises(ValueError):
        bot_rows(f'[{{"pattern": "{pattern}"}}]')
