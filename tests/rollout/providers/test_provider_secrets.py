"""Whatever an exchange meets is a ProviderError with a way out, and no secret stands in it."""

import pytest
from loopback import Answer, serve

from gtm_dagster.rollout.providers import ProviderError, writer_for
from gtm_dagster.rollout.providers.base.api import Api
from gtm_dagster.settings import FlagProvider

SECRET = "SECRETPW"
KINDS = ("unleash", "launchdarkly", "posthog", "growthbook", "flagsmith")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "token",
    [f"{SECRET}\r\nX-Injected: 1", f"{SECRET}\nb", f"{SECRET}\vb", f"{SECRET}\u2028b", f"{SECRET}\x00b", f"{SECRET}€", f"\ufeff{SECRET}"],
    ids=["CR LF", "LF", "VT", "line separator", "NUL", "not ASCII", "byte order mark"],
)  # fmt: skip
def test_a_token_that_no_header_can_carry_is_refused_by_the_name_of_its_variable(kind, token):
    provider = FlagProvider("main", kind, url="http://127.0.0.1:9", token_env="THE_TOKEN", project="1")
    with pytest.raises(ProviderError, match="the variable THE_TOKEN has a ") as refused:
        writer_for(provider, {"THE_TOKEN": token})
    assert SECRET not in str(refused.value)


def test_the_backend_token_is_looked_at_too():
    provider = FlagProvider("main", "unleash", url="http://127.0.0.1:9", token_env="THE_TOKEN")
    with pytest.raises(ProviderError, match="the variable THE_TOKEN_BACKEND has a line break"):
        writer_for(provider, {"THE_TOKEN": "t", "THE_TOKEN_BACKEND": "a\nb"})


def test_a_line_break_at_the_end_of_a_token_is_cut_off():
    provider = FlagProvider("main", "unleash", url="http://127.0.0.1:9", token_env="THE_TOKEN")
    assert writer_for(provider, {"THE_TOKEN": "token\n"})


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@127.0.0.1:9",
        f"http://{SECRET}@127.0.0.1:9/api",
        f"http://user:{SECRET}@127.0.0.1:9?token={SECRET}",
        f"http://user:{SECRET}@a..b",
        f"http://user:{SECRET}@.example",
        f"http://user:{SECRET}@{'a' * 70}.example",
        f"http://user:{SECRET}@%zz",
        f"http://user:{SECRET}@127.0.0.1:99999",
        f"http://user:{SECRET}@[::1",
        f"http://user:{SECRET}@127.0.0.1:port",
        f"ftp://user:{SECRET}@127.0.0.1",
        f"//user:{SECRET}@127.0.0.1",
        f"http://user:{SECRET}@127.0.0.1:9/a\r\nX-Injected: 1",
    ],
)
def test_what_stands_before_the_host_is_a_secret(url):
    with pytest.raises(ProviderError) as refused:
        Api("provider main", url, headers={}, secrets=(), wanted="a token").send("POST", "/off", what="flag f")
    assert SECRET not in str(refused.value) and "provider main" in str(refused.value)
    assert SECRET not in repr(refused.value.__cause__)


def test_a_fault_of_another_library_is_a_provider_error(monkeypatch):
    def fails(*_, **__):
        raise ValueError(f"Invalid header value b'{SECRET}'")

    api = Api("provider main", "http://127.0.0.1:9", headers={}, secrets=(SECRET,), wanted="a token")
    monkeypatch.setattr(api._exchanges, "run", fails)
    with pytest.raises(ProviderError, match=r"ValueError: Invalid header value b'\*\*\*'; look at url and token_env"):
        api.send("POST", "/off", what="flag f")


def test_an_answer_that_repeats_user_and_password_is_masked():
    with serve({("POST", "/off"): Answer(418, {"who": f"user:{SECRET}"})}) as server:
        url = server.url.replace("http://", f"http://user:{SECRET}@")
        api = Api("provider main", url, headers={}, secrets=(), wanted="a token")
        with pytest.raises(ProviderError, match=r"status 418 .*\*\*\*") as refused:
            api.send("POST", "/off", what="flag f")
        assert SECRET not in str(refused.value)
