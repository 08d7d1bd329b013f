"""The context of a web request: what is taken from it, in every form a framework hands it on, and what never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.taxonomy import EventValidator, load_plan
from gtm_dagster.taxonomy.validator import Accepted
from gtm_dagster.tracking import context_from_request

URL = "https://shop.example/?utm_source=news&gclid=abc"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
DESK = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PLAN = load_plan()


@pytest.mark.parametrize(
    ("url", "referrer", "headers", "expected"),
    [
        pytest.param(URL, None, None, {"page_url": URL, "device_type": "web"}, id="the query stays, the door reads it"),
        pytest.param(None, None, None, {"device_type": "web"}, id="nothing known"),
        pytest.param("", "", {}, {"device_type": "web"}, id="empty texts are absent"),
        pytest.param(
            URL, "https://a.example/", {"Referer": "https://b.example/"},
            {"page_url": URL, "referrer": "https://a.example/", "device_type": "web"}, id="the argument wins over the header",
        ),
        pytest.param(
            URL, None, {"REFERER": "https://b.example/"},
            {"page_url": URL, "referrer": "https://b.example/", "device_type": "web"}, id="header names in any case",
        ),
        pytest.param(
            URL, None, [(b"referer", b"https://b.example/"), (b"sec-gpc", b"1")],
            {"page_url": URL, "referrer": "https://b.example/", "device_type": "web",
             "consent": {"marketing": False, "personalization": False}}, id="pairs of bytes: ASGI",
        ),
        pytest.param(
            URL, None, {"HTTP_ACCEPT_LANGUAGE": "de-AT", "HTTP_SEC_GPC": "1", "wsgi.input": object(), "SERVER_PORT": "80"},
            {"page_url": URL, "locale": "de-AT", "device_type": "web",
             "consent": {"marketing": False, "personalization": False}}, id="a WSGI environ",
        ),
    ],
)  # fmt: skip
def test_the_context_of_a_request(url, referrer, headers, expected):
    assert context_from_request(url, referrer, headers) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"User-Agent": PHONE}, "mobile", id="a phone"),
        pytest.param({"User-Agent": DESK}, "web", id="a desk"),
        pytest.param({"User-Agent": DESK, "Sec-CH-UA-Mobile": "?1"}, "mobile", id="the hint wins over the agent"),
        pytest.param({"User-Agent": PHONE, "Sec-CH-UA-Mobile": "?0"}, "web", id="desktop site asked for"),
        pytest.param({"User-Agent": PHONE, "Sec-CH-UA-Mobile": "yes"}, "mobile", id="a hint of another form is none"),
    ],
)
def test_the_device_type(headers, expected):
    assert context_from_request(URL, headers=headers)["device_type"] == expected


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("de", "de"),
        ("de-DE,de;q=0.9,en;q=0.8", "de-DE"),
        ("en;q=0.5, fr-CH ;q=0.9", "fr-CH"),
        ("*", None),
        ("*, pt-BR;q=0.1", "pt-BR"),
        ("en;q=high, nl;q=0.2", "nl"),
        ("", None),
        ("a@b.example", None),
    ],
)
def test_the_locale_is_the_language_of_most_weight(accepted, expected):
    assert context_from_request(URL, headers={"Accept-Language": accepted}).get("locale") == expected


@pytest.mark.parametrize("value", ["0", "", "true", "11"])
def test_only_the_signal_1_refuses(value):
    assert "consent" not in context_from_request(URL, headers={"Sec-GPC": value})


def test_neither_address_nor_user_agent_is_taken():
    headers = {
        "User-Agent": PHONE,
        "X-Forwarded-For": "203.0.113.9",
        "Cookie": "sid=secret",
        "Authorization": "Basic x",
    }
    assert "203.0.113.9" not in str(context_from_request(URL, headers=headers))
    assert set(context_from_request(URL, headers=headers)) == {"page_url", "device_type"}


texts = st.text(alphabet=st.characters(exclude_categories=()))  # halves of surrogate pairs too
texts |= texts.map(lambda text: text * 9000)


@examples(40)
@given(url=st.none() | texts, referrer=st.none() | texts, headers=st.dictionaries(
    st.sampled_from(["referer", "accept-language", "user-agent", "sec-gpc", "sec-ch-ua-mobile"]), texts))  # fmt: skip
def test_whatever_a_browser_sends_the_event_is_taken(url, referrer, headers):
    event = {
        "event_id": "e1", "event_name": "page_viewed", "timestamp": "2026-01-01T00:00:00Z", "anonymous_id": "a",
        "context": context_from_request(url, referrer, headers),
    }  # fmt: skip
    assert isinstance(EventValidator(PLAN).validate(event), Accepted)
