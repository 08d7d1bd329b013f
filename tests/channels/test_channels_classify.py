"""source, medium, campaign, referrer, click id -> touch: a table of cases and the promises around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.channels import CHANNELS, DIRECT, classify, click_kind, known_source


@pytest.mark.parametrize(
    ("source", "medium", "campaign", "channel"),
    [
        ("newsletter", "email", "spring", "Email"),
        ("E-Mail", None, None, "Email"),
        ("google", "cpc", "brand", "Paid Search"),
        ("Google", "CPC", None, "Paid Search"),
        ("bing", "ppc", None, "Paid Search"),
        ("google", None, None, "Organic Search"),
        ("metasearch.example", "organic", None, "Organic Search"),
        ("facebook", "paid_social", None, "Paid Social"),
        ("instagram", None, None, "Organic Social"),
        ("linkedin.com", "referral", None, "Organic Social"),
        ("somewhere", "social-media", None, "Organic Social"),
        ("youtube", "cpv", None, "Paid Video"),
        ("youtube", "cpm", None, "Paid Video"),
        ("vimeo.com", None, None, "Organic Video"),
        ("amazon", "cpc", None, "Paid Shopping"),
        ("etsy.com", None, None, "Organic Shopping"),
        ("x", "cpc", "winter-shopping", "Paid Shopping"),
        ("x", "cpc", "bishop", "Paid Other"),
        ("x", "cpc", "eshop", "Paid Shopping"),
        ("adnet", "banner", None, "Display"),
        ("adnet", "cpm", None, "Display"),
        ("adnet", "cpc", None, "Paid Other"),
        ("google", "cpc", "EU-Cross-Network", "Cross-network"),
        ("partner.example", "referral", None, "Referral"),
        ("partner", "affiliate", None, "Affiliates"),
        ("podcast", "audio", None, "Audio"),
        ("sms", "text", None, "SMS"),
        ("firebase", "x", None, "Mobile Push Notifications"),
        ("app", "web-push", None, "Mobile Push Notifications"),
        (None, "email", None, "Email"),
        ("x", "y", "z", "Unassigned"),
        ("x", None, None, "Unassigned"),
    ],
)
def test_channel_of_a_named_source(source, medium, campaign, channel):
    touch = classify(source, medium, campaign, None)
    assert (touch.rank, touch.channel) == (1, channel)


def test_source_is_kept_as_sent_and_a_missing_medium_says_so():
    assert classify(" Newsletter ", None, "", None) == (1, "Newsletter", "(none)", None, "Unassigned", "utm source")


@pytest.mark.parametrize(
    ("source", "medium", "referrer"),
    [
        (None, None, None), ("", "", ""), ("direct", None, None), ("(direct)", "(none)", None), ("Direct", "(not set)", None),
        (None, "(none)", None), (None, None, "about:blank"), (None, None, "https://"), (None, None, "https://checkout.stripe.com/c"),
    ],
)  # fmt: skip
def test_nothing_that_brought_the_visit_is_direct(source, medium, referrer):
    assert classify(source, medium, None, referrer)[:5] == DIRECT[:5]


@pytest.mark.parametrize(
    ("referrer", "source", "medium", "channel"),
    [
        ("https://www.google.co.uk/search", "google", "organic", "Organic Search"),
        ("https://duckduckgo.com/", "duckduckgo", "organic", "Organic Search"),
        ("android-app://com.google.android.googlequicksearchbox/", "google", "organic", "Organic Search"),
        ("https://l.facebook.com/l.php", "facebook", "referral", "Organic Social"),
        ("https://t.co/x", "twitter", "referral", "Organic Social"),
        ("https://news.ycombinator.com/item", "hacker news", "referral", "Organic Social"),
        ("https://m.youtube.com/watch", "youtube", "referral", "Organic Video"),
        ("https://mail.google.com/", "gmail", "email", "Email"),
        ("https://gmail.com/", "gmail", "email", "Email"),
        ("https://webmail.example.net/", "webmail.example.net", "email", "Email"),
        ("https://mailchimp.com/", "mailchimp.com", "referral", "Referral"),
        ("https://tpc.googlesyndication.com/", "google ads", "display", "Display"),
        ("https://chatgpt.com/", "chatgpt", "referral", "AI Assistant"),
        ("www.Partner.example/page", "partner.example", "referral", "Referral"),
        ("https://google.evil.example/", "google.evil.example", "referral", "Referral"),
        ("https://notgoogle.com/", "notgoogle.com", "referral", "Referral"),
        ("http://192.0.2.7:8080/x", "192.0.2.7", "referral", "Referral"),
    ],
)
def test_referrer_tells_when_no_source_is_named(referrer, source, medium, channel):
    assert classify(None, None, None, referrer)[:5] == (2, source, medium, None, channel)


@pytest.mark.parametrize(
    ("click_id", "source", "medium", "channel"),
    [
        ("gclid", "google", "cpc", "Paid Search"),
        ("gclid=Cj0KCQ", "google", "cpc", "Paid Search"),
        ("gclid:1", "google", "cpc", "Paid Search"),
        ("Cj0KCQiAzZL-BRDnARIsAPCJs70", "google", "cpc", "Paid Search"),
        ("dclid=1", "google", "display", "Display"),
        ("MSCLKID=1", "bing", "cpc", "Paid Search"),
        ("ttclid=1", "tiktok", "cpc", "Paid Social"),
        ("fbclid=IwAR0", "facebook", "referral", "Organic Social"),
    ],
)
def test_click_id_names_the_source(click_id, source, medium, channel):
    touch = classify(None, None, None, "https://www.google.com/", click_id)
    assert touch[:5] == (1, source, medium, None, channel)
    assert touch.rule == f"click id {click_kind(click_id)}"


def test_kind_of_a_click_id_stands_for_the_whole_id():
    assert [click_kind(i) for i in ("gclid=1", "Cj0KCQiAzZL-BRDnARIs", "", None, "abc")] == [
        "gclid",
        "gclid",
        None,
        None,
        None,
    ]


def test_unknown_click_id_says_nothing():
    assert classify(None, None, None, None, "abc123") == DIRECT


def test_named_source_wins_over_click_id_and_takes_its_medium_only_from_its_own():
    assert classify("newsletter", "email", None, None, "gclid=1")[:3] == (1, "newsletter", "email")
    assert classify("google", None, None, None, "gclid=1").channel == "Paid Search"
    assert classify("newsletter", None, None, None, "gclid=1").medium == "(none)"


def test_direct_that_carries_evidence_is_not_direct():
    assert classify("(direct)", "(none)", None, "https://www.google.com/").channel == "Organic Search"
    assert classify("direct", None, None, None, "gclid=1").rank == 1


@pytest.mark.parametrize("page", ["https://shop.example/a", "https://www.shop.example/", "https://app.shop.example/"])
def test_referrer_of_the_same_site_is_no_touch(page):
    assert classify(None, None, None, "https://shop.example/b", page_url=page) == DIRECT._replace(rule="own host")


def test_known_source_by_name_spelling_and_host():
    assert {known_source(name).name for name in ("google", "GOOGLE", "www.google.fr", "google.com")} == {"google"}
    assert known_source("somebody") is None and known_source("") is None


def test_a_sibling_subdomain_is_the_same_site_and_a_sibling_customer_is_not():
    assert (
        classify(None, None, None, "https://blog.acme.example/", page_url="https://shop.acme.example/").rule
        == "own host"
    )
    assert (
        classify(None, None, None, "https://one.github.io/", page_url="https://two.github.io/").source
        == "one.github.io"
    )


def test_own_hosts_bring_nobody_also_without_a_page():
    own = ("acme.example", "acme-shop.example")
    for referrer in ("https://blog.acme.example/", "https://www.acme-shop.example/x"):
        assert classify(None, None, None, referrer, own_hosts=own).rule == "own host"
    assert classify(None, None, None, "https://acme.example.org/", own_hosts=own).rank == 2


@pytest.mark.parametrize(
    ("source", "medium", "campaign", "referrer", "expected"),
    [
        (None, None, "spring", None, (1, "(not set)", "(not set)", "spring", "Unassigned", "utm campaign")),
        (None, None, "spring", "https://accounts.google.com/", (1, "(not set)", "(not set)", "spring", "Unassigned", "utm campaign")),
        (None, None, "spring", "https://www.google.com/", (1, "google", "organic", "spring", "Organic Search", "utm campaign + referrer search google")),
        ("(direct)", "(none)", "(direct)", None, DIRECT),
        (None, None, "(not set)", None, DIRECT),
        ("google", "organic", "(organic)", None, (1, "google", "organic", None, "Organic Search", "utm medium organic")),
    ],
)  # fmt: skip
def test_a_campaign_alone_is_kept_and_a_word_for_none_is_none(source, medium, campaign, referrer, expected):
    assert classify(source, medium, campaign, referrer) == expected


@pytest.mark.parametrize(
    ("source", "medium", "expected"),
    [
        ("fb", "CPC", ("facebook", "cpc")), ("m.facebook.com", "Social", ("facebook", "social")), ("GOOGLE", "Organic", ("google", "organic")),
        ("www.bing.com", None, ("bing", "(none)")), ("My-Newsletter", "E-Mail", ("My-Newsletter", "e-mail")),
    ],
)  # fmt: skip
def test_a_known_source_has_one_name_and_a_medium_lower_case(source, medium, expected):
    assert classify(source, medium, None, None)[1:3] == expected


WORD = (
    st.none() | st.text(max_size=12) | st.sampled_from(["google", "cpc", "direct", "https://a.b/", "gclid", "(none)"])
)


@given(WORD, WORD, WORD, WORD, WORD)
def test_every_input_has_a_channel_and_direct_has_no_rank(source, medium, campaign, referrer, click_id):
    touch = classify(source, medium, campaign, referrer, click_id)
    assert touch.channel in CHANNELS
    assert (touch.rank is None) == (touch[:5] == DIRECT[:5])
    assert touch.source and touch.medium
