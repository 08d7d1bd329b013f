import pytest

from gtm_dagster.settings.secret_text import shown_url, user_info, without_addresses, without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://flags.example.com/api", "https://flags.example.com/api"),
        ("http://user:SECRETPW@host:4242/api", "http://host:4242/api"),
        ("http://SECRETPW@host", "http://host"),
        ("http://user:SECRET@PW@host", "http://host"),
        ("http://user:SECRET/PW@host/x", "http://***"),
        ("https://host/x?token=SECRETPW#SECRETPW", "https://host/x"),
        ("ftp://user:SECRETPW@host", "ftp://host"),
        ("HTTP://user:SECRETPW@host", "HTTP://host"),
        ("postgresql+psycopg://gtm:SECRETPW@db:5432/gtm", "postgresql+psycopg://db:5432/gtm"),
        ("no address", "no address"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("POST https://hooks.slack.com/services/T0/B0/SECRET failed", "POST https://hooks.slack.com/*** failed"),
        ("'http://a/' and \"http://u:SECRET@b:1/SECRET?SECRET\"", "'http://a' and \"http://b:1/***\""),
        ("nothing here", "nothing here"),
    ],
)
def test_a_text_shows_hosts_alone(text, shown):
    assert without_addresses(text) == shown


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("a t0ken!x here", ("t0ken!x",), "a *** here"),
        ("as t0ken%21x here", ("t0ken!x",), "as *** here"),
        ("b'tok\\\\en'", ("tok\\en",), "b'***'"),
        ("t0ken-longer and t0ken", ("t0ken", "t0ken-longer"), "*** and ***"),
        ("an ordinary word", ("a",), "an ordinary word"),
    ],
    ids=["as it is", "in a URL", "in quotes", "the longer one first", "too short to be a secret"],
)
def test_a_secret_is_never_shown(text, secrets, shown):
    assert without_secrets(text, secrets) == shown


def test_user_and_password_of_an_address_are_secrets():
    assert set(user_info("http://user:password@host")) == {"user:password", "user", "password"}
    assert user_info("http://host/a@b") == user_info("host") == ()
