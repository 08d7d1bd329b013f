"""host_of: one reading of hosts for referrers and pages, over a table of ugly texts; sites by the public suffix list."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.channels.hosts import host_of
from gtm_dagster.channels.sites import is_own, same_site, site_of, under_any_suffix
from gtm_dagster.channels.sources import referrer_key
from gtm_dagster.warehouse.staging.source_keys import ORIGIN

HOSTS = [
    ("https://shop.example/a?b#c", "shop.example"),
    ("HTTPS://WWW.Shop.Example:443/", "shop.example"),
    ("shop.example", "shop.example"),
    ("shop.example:8080/x", "shop.example"),
    ("//shop.example/x", "shop.example"),
    (" https://shop.example/\n", "shop.example"),
    ("https://user:secret@shop.example/", "shop.example"),
    ("https://a@b@shop.example/", "shop.example"),
    ("https://other.example\\@shop.example/", "other.example"),
    ("https://shop.example./", "shop.example"),
    ("https://shop.example...", "shop.example"),
    ("https://www.www.shop.example/", "www.shop.example"),
    ("https://www.com/", "www.com"),
    ("https://shop%2Eexample/", "shop.example"),
    ("https://bücher.example/", "xn--bcher-kva.example"),
    ("https://BÜCHER.example/", "xn--bcher-kva.example"),
    ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
    ("https://straße.example/", "xn--strae-oqa.example"),
    ("https://shop。example/", "shop.example"),
    ("https://i❤.example/", "xn--i-7iq.example"),
    ("https://my_shop.example/", "my_shop.example"),
    ("http://192.0.2.7:8080/x", "192.0.2.7"),
    ("192.0.2.7/x", "192.0.2.7"),
    ("http://[2001:DB8::0:1]:80/", "[2001:db8::1]"),
    ("https://localhost:3000/", "localhost"),
    ("https://intranet/", "intranet"),
    ("android-app://com.Example.Shop/", "com.example.shop"),
    ("ios-app://123456789/x", "123456789"),
    ("shop.example?x=https://other.example", "shop.example"),
]
NOT_URLS = [
    None, "", "   ", "-", "null", "google", "(direct)", "$direct", "(not set)", "/path/a.b", "../a.b", "?q=a.b", "#a.b",
    "about:blank", "about:srcdoc", "about://blank", "data:text/html,a.b", "javascript:void(0.5)", "mailto:a@shop.example",
    "somebody@shop.example", "tel:+49.30", "blob:https://shop.example/1", "file:///C:/x.html", "file://server/share/x.html",
    "C:\\x.html", "chrome-extension://abcdef/page.html", "moz-extension://a.b/", "chrome://newtab", "https://", "https:///x",
    "https://:80/", "https://@/", "https://shop .example/", "https://shop.example /", "https://a..b/", "https://.shop.example/",
    "https://shop.example:80:80/", "https://[::1", "https://[x]/", "https://1.2.3/", "1.5", "v1.2", "localhost:3000",
    "https://sh%20op.example/", "https://a%2Fb.example/", "https://<shop>.example/", f"https://{'a' * 250}.example/",
]  # fmt: skip


@pytest.mark.parametrize(("url", "host"), HOSTS)
def test_host_of_a_url(url, host):
    assert host_of(url) == host


@pytest.mark.parametrize("text", NOT_URLS, ids=repr)
def test_what_is_no_url_has_no_host(text):
    assert host_of(text) is None


@given(st.text(max_size=40) | st.text(alphabet="ab.:/\\?#@ \n\u2028-wé[]%2", max_size=24))
def test_what_sql_cuts_off_decides_nothing(text):
    """The warehouse hands on the beginning of a URL alone."""
    cut = re.match(ORIGIN, text)
    assert cut is not None and host_of(cut.group()) == host_of(text)


@given(st.text(alphabet="ab.:/@ -wé", max_size=24))
def test_a_host_is_read_as_itself(text):
    host = host_of(f"https://{text}")
    if host is not None and not host.startswith("www."):
        assert host_of(f"https://{host}/") == host


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("shop.acme.example", "acme.example"), ("acme.co.uk", "acme.co.uk"), ("a.b.acme.co.uk", "acme.co.uk"),
        ("one.github.io", "one.github.io"), ("a.one.github.io", "one.github.io"), ("github.io", "github.io"),
        ("192.0.2.7", "192.0.2.7"), ("[::1]", "[::1]"), ("localhost", "localhost"), ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_site_of_a_host(host, site):
    assert site_of(host) == site


def test_two_customers_of_a_hosting_domain_are_strangers():
    assert same_site("blog.acme.example", "shop.acme.example")
    assert not same_site("one.github.io", "two.github.io")
    assert not same_site("one.co.uk", "two.co.uk")
    assert not same_site("192.0.2.7", "192.0.3.7")


def test_own_hosts_take_what_lies_below_them():
    own = ("acme.example", "Bücher.example")
    assert is_own("acme.example", own) and is_own("shop.acme.example", own) and is_own("xn--bcher-kva.example", own)
    assert not is_own("notacme.example", own) and not is_own("example", own) and not is_own("acme.example", ())


def test_a_brand_under_any_suffix_is_not_a_customer_of_a_hosting_domain():
    assert [under_any_suffix(host) for host in ("mail.google.co.uk", "google.fr", "google.github.io", "google.nosuchending", "com")] == [
        "mail.google.*", "google.*", "google.github.*", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("referrer", "key"),
    [
        ("https://www.google.com/search?q=x", "google.com"), ("https://m.facebook.com/login.php", "m.facebook.com/login"),
        ("https://www.facebook.com/v19.0/dialog/oauth?x", "facebook.com/*/dialog/oauth"), ("https://a.example/login", "a.example"),
        ("about:blank", None), (None, None),
    ],
)  # fmt: skip
def test_a_referrer_is_reduced_to_what_decides(referrer, key):
    assert referrer_key(referrer) == key
    if key:
        assert referrer_key(f"https://{key}") == key
