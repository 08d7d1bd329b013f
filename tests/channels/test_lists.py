"""The lists: each entry is readable and stands once; sign-in, payment and work pages of the brands they name."""

from importlib import resources

import pytest
import yaml

from gtm_dagster.channels import CLICK_IDS, DIRECT, classify
from gtm_dagster.channels.hosts import host_of
from gtm_dagster.channels.sources import LISTS, RETURNS, known_page, referrer_key


def entries() -> list[tuple[str, str | None, str]]:
    """(category, name, place) of every entry of every list."""
    found = []
    for file in LISTS:
        for category, sources in yaml.safe_load((resources.files("gtm_dagster.channels") / file).read_text()).items():
            named = sources.items() if isinstance(sources, dict) else [(None, sources)]
            found += [(category, name, place) for name, places in named for place in places]
    return found


def test_no_place_is_listed_twice():
    places = [place for _, _, place in entries()]
    assert sorted({place for place in places if places.count(place) > 1}) == []


def test_every_listed_host_is_spelled_as_hosts_are_read():
    for _, _, place in entries():
        host = place.partition("/")[0].removeprefix("*.")
        if "." in place:
            assert host_of(f"https://{host.replace('.*', '.com')}/") == host.replace(".*", ".com"), place


def test_every_entry_decides_as_it_stands():
    for category, name, place in entries():
        if "." not in place:
            continue
        host = place.replace("*.", "tenant.", 1) if place.startswith("*.") else place
        host, slash, path = host.replace(".*", ".com", 1).partition("/")
        found = known_page(host, slash + path)
        assert found is not None and found.category == category, (place, found)
        assert name is None or found.name == str(name), (place, found)


def test_every_listed_path_stands_for_itself():
    for _, _, place in entries():
        host, slash, path = place.replace(".*", ".com", 1).partition("/")
        if slash:
            deeper = f"https://www.{host}/{path.replace('*', 'v1')}/more?x=1"
            assert referrer_key(deeper) == f"{host}/{path}"


IDENTITY = [
    "accounts.google.com", "accounts.google.co.uk", "login.live.com", "account.live.com", "login.microsoftonline.com",
    "appleid.apple.com", "idmsa.apple.com", "id.vk.com", "oauth.vk.com", "passport.yandex.ru", "login.yahoo.com", "nid.naver.com",
    "passport.baidu.com", "account.mail.ru", "acme.auth0.com", "acme.okta.com", "acme.eu.auth0.com", "accounts.kakao.com",
    "id.atlassian.com", "signin.ebay.de", "us-east-1.signin.aws.amazon.com", "login.acme.example", "sso.university.example",
    "accounts.shop.example", "api.twitter.com/oauth/authenticate", "www.facebook.com/login.php",
    "m.facebook.com/v19.0/dialog/oauth", "github.com/login/oauth/authorize", "www.linkedin.com/oauth/v2/authorization",
    "x.com/i/oauth2/authorize", "www.amazon.de/ap/signin", "discord.com/oauth2/authorize",
    "myapp.firebaseapp.com/__/auth/handler",
]  # fmt: skip
PAYMENT = [
    "pay.google.com", "payments.google.com", "pay.amazon.com", "pay.amazon.co.jp", "payments.amazon.de", "www.paypal.com",
    "www.paypal.fr", "checkout.stripe.com", "hooks.stripe.com", "pay.klarna.com", "checkoutshopper-live.adyen.com",
    "pay.naver.com", "pay.yandex.ru", "securepay.tinkoff.ru", "centinelapi.cardinalcommerce.com", "secure5.arcot.com",
    "acs.touchtechpayments.com", "ideal.rabobank.nl", "sis.redsys.es", "checkout.shop.example", "3dsecure.bank.example",
    "onlinebanking.bank.example", "shop.myshopify.com/checkouts/c/1", "shop.app/pay/x",
]  # fmt: skip
WORKSPACES = [
    "docs.google.com", "drive.google.com", "calendar.google.com", "translate.google.com", "ads.google.com", "meet.google.com",
    "classroom.google.com", "analytics.google.com", "keep.google.com", "console.cloud.google.com", "finance.google.com",
    "www.google.com/finance/quote/X", "finance.yahoo.com", "ads.yahoo.com", "ads.bing.com", "onedrive.live.com",
    "us-east-1.console.aws.amazon.com", "sellercentral.amazon.de", "advertising.amazon.com", "aws.amazon.com",
    "translate.yandex.ru", "disk.yandex.ru", "fanyi.baidu.com", "pan.baidu.com", "papago.naver.com", "acme.sharepoint.com",
    "teams.microsoft.com", "acme.atlassian.net", "studio.youtube.com", "ads.tiktok.com", "cloud.mail.ru", "www.ebay.com/sh/ovw",
    "acme.myshopify.com/admin/orders",
]  # fmt: skip
ASSISTANTS = {
    "https://chatgpt.com/": "chatgpt", "https://chat.openai.com/": "chatgpt", "https://www.perplexity.ai/": "perplexity",
    "https://gemini.google.com/": "gemini", "https://copilot.microsoft.com/": "copilot", "https://www.bing.com/chat": "copilot",
    "https://claude.ai/": "claude", "https://chat.deepseek.com/": "deepseek", "https://grok.com/": "grok", "https://x.com/i/grok": "grok",
    "https://chat.mistral.ai/": "mistral", "https://www.meta.ai/": "meta ai", "https://poe.com/": "poe", "https://you.com/": "you.com",
    "android-app://com.openai.chatgpt/": "chatgpt",
}  # fmt: skip


@pytest.mark.parametrize("page", IDENTITY)
def test_who_comes_back_from_a_sign_in_page_was_not_brought_by_it(page):
    assert classify(None, None, None, f"https://{page}") == DIRECT._replace(rule="sign-in page")


@pytest.mark.parametrize("page", PAYMENT)
def test_who_comes_back_from_a_payment_page_was_not_brought_by_it(page):
    assert classify(None, None, None, f"https://{page}") == DIRECT._replace(rule="payment page")


@pytest.mark.parametrize("page", WORKSPACES)
def test_a_work_page_of_a_brand_is_a_referral(page):
    touch = classify(None, None, None, f"https://{page}")
    assert (touch.rank, touch.medium, touch.channel) == (2, "referral", "Referral")
    host, slash, path = touch.source.partition("/")
    assert (touch.rule, host) == (f"referrer workspace {touch.source}", host_of(f"https://{page}"))
    assert (slash + path).replace("*", "") in page


@pytest.mark.parametrize("place", [place for category, _, place in entries() if category == "workspace"])
def test_every_work_page_is_named_by_the_host_it_is_on(place):
    host, slash, path = place.removeprefix("*.").replace(".*", ".com").partition("/")
    for front in ("", "eu-west-1.", "a.b-9."):
        if front or not place.startswith("*."):
            touch = classify(None, None, None, f"https://{front}{host}{slash}{path.replace('*', 'x')}")
            named = f"{front}{host}{slash}{path}".removeprefix("www.")
            assert touch[:5] == (2, named, "referral", None, "Referral"), touch


@pytest.mark.parametrize(("referrer", "source"), ASSISTANTS.items())
def test_chatbots_have_a_channel_of_their_own(referrer, source):
    assert classify(None, None, None, referrer)[:5] == (2, source, "referral", None, "AI Assistant")


@pytest.mark.parametrize(
    ("source", "medium", "channel"),
    [
        ("chatgpt.com", None, "AI Assistant"), ("Perplexity", "referral", "AI Assistant"), ("anything", "ai-assistant", "AI Assistant"),
        ("chatgpt.com", "cpc", "Paid Other"), ("chatgpt.com", "email", "Email"),
    ],
)  # fmt: skip
def test_a_named_chatbot_counts_as_one_unless_its_medium_says_otherwise(source, medium, channel):
    assert classify(source, medium, None, None).channel == channel


@pytest.mark.parametrize(
    ("page", "source", "channel"),
    [
        ("https://news.google.com/", "google", "Organic Search"), ("https://id.search.yahoo.com/", "yahoo", "Organic Search"),
        ("https://mail.google.com/", "gmail", "Email"), ("https://mail.yandex.by/", "yandex mail", "Email"),
        ("https://smile.amazon.de/", "amazon", "Organic Shopping"), ("https://m.search.naver.com/", "naver", "Organic Search"),
        ("https://www.facebook.com/loginsville", "facebook", "Organic Social"), ("https://auth0.com/", "auth0.com", "Referral"),
        ("https://login.example/", "login.example", "Referral"), ("https://www.google.com/mapsco", "google", "Organic Search"),
    ],
)  # fmt: skip
def test_what_only_resembles_such_a_page_counts(page, source, channel):
    touch = classify(None, None, None, page)
    assert (touch.source, touch.channel) == (source, channel)


def test_a_named_company_counts_although_its_sign_in_or_payment_pages_do_not():
    assert classify("paypal", "email", None, None)[:5] == (1, "paypal", "email", None, "Email")
    assert classify("id.twitch.tv", None, None, None).channel == "Organic Video"


@pytest.mark.parametrize("kind", CLICK_IDS)
def test_every_click_id_names_a_source_by_its_canonical_name(kind):
    source, medium = CLICK_IDS[kind]
    assert classify(None, None, None, None, f"{kind}=1")[:3] == (1, source, medium)


def test_categories_of_pages_that_send_back_are_those_of_their_list():
    assert set(yaml.safe_load((resources.files("gtm_dagster.channels") / "returns.yaml").read_text())) == set(RETURNS)
