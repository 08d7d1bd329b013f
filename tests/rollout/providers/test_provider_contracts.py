"""The calls to every HTTP provider as its documentation says, and what the guard makes of every answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lateness import Lateness
from loopback import HUNG, Answer, Loopback, serve
from provider_cases import CASES, FLAG, TOKEN, Case, goff_file, routes

from gtm_dagster.rollout.providers import Conflict, FlagState, FlagWriter, ProviderError, writer_for
from gtm_dagster.rollout.providers.base import api
from gtm_dagster.settings import FlagProvider

pytestmark = pytest.mark.usefixtures("quick")

every_provider = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
COMMENT = "drop of 60 %"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits; their real lengths are measured in test_provider_http.py."""
    monkeypatch.setattr(api, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(api, "ATTEMPT_SECONDS", 0.3)
    monkeypatch.setattr(api, "BUDGET_SECONDS", 2.0)


@dataclass
class Talk:
    case: Case
    server: Loopback
    writer: FlagWriter

    def off(self, expected: FlagState | None = None) -> None:
        self.writer.turn_off(FLAG, self.case.environment, comment=COMMENT, expected=expected)

    @property
    def offs(self) -> int:
        return len(self.server.calls(*self.case.off))


@pytest.fixture
def talk(case: Case, tmp_path: Path) -> Iterator[Talk]:
    with serve(routes(case, on=True)) as server:
        yield Talk(case, server, case.writer(server.url, tmp_path))


@every_provider
def test_off_is_one_call_with_method_path_headers_and_body(talk: Talk) -> None:
    talk.off()
    (asked,) = talk.server.calls(*talk.case.off)
    assert asked.body == talk.case.body
    for name, value in talk.case.headers.items():
        assert asked.headers[name] == value


@every_provider
def test_nobody_else_gets_the_token(talk: Talk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    talk.off()
    (asked,) = talk.server.calls(*talk.case.off)
    assert asked.headers["Authorization"] == talk.case.headers["Authorization"]


DONE = object()
"""The provider's own answer to a successful off call."""
ANSWERS = [
    # what the provider answers to the off call; calls it gets; None or (exception, retry, status, words of the message)
    ("200", [DONE], 1, None),
    ("401: token unknown", [Answer(401, {"e": TOKEN})], 1, (ProviderError, False, 401, "token is not accepted")),
    ("403: token may not", [Answer(403, {"e": TOKEN})], 1, (ProviderError, False, 403, "token may not do this")),
    ("404: no such flag", [Answer(404, {"e": "?"})], 1, (ProviderError, False, 404, "not found; check flag")),
    ("400: refused", [Answer(400, {"message": "bad"})], 1, (ProviderError, False, 400, "refuses this")),
    ("429 for a minute", [Answer(429, {}, {"Retry-After": "60"})], 1, (ProviderError, True, 429, "status 429")),
    ("429 for now", [Answer(429, {}, {"Retry-After": "0"}), DONE], 2, None),
    ("500, then 200", [Answer(500, b"oops"), DONE], 2, None),
    ("503 for good", [Answer(503)] * 9, 3, (ProviderError, True, 503, "could not answer now")),
    ("no answer, then 200", [HUNG, DONE], 2, None),
    ("no answer for good", [HUNG] * 9, 3, (ProviderError, True, None, "no answer within")),
    ("a login page", [Answer(200, b"<html>log in</html>")], 1, (ProviderError, False, None, "cannot be read")),
    ("a redirect", [Answer(302, None, {"Location": "http://x/"})], 1, (ProviderError, False, 302, "into url")),
]


@every_provider
@pytest.mark.parametrize(("answers", "calls", "fails"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_every_answer_to_off(talk: Talk, answers: list[Any], calls: int, fails: Any) -> None:
    talk.server.once[talk.case.off] = [Answer(200, talk.case.done) if one is DONE else one for one in answers]
    if fails is None:
        talk.off()
    else:
        kind, retry, status, words = fails
        with pytest.raises(kind) as caught:
            talk.off()
        assert (caught.value.retry, caught.value.status) == (retry, status)
        assert words in str(caught.value) and FLAG in str(caught.value) and "main" in str(caught.value)
        assert TOKEN not in str(caught.value)
    assert talk.offs == calls


@pytest.mark.parametrize("case", [case for case in CASES if not case.done], ids=lambda case: case.kind)
@pytest.mark.parametrize("answer", [Answer(200), Answer(204), Answer(202, [])], ids=["200 empty", "204", "202"])
def test_off_needs_no_words_in_the_answer(talk: Talk, answer: Answer) -> None:
    talk.server.once[talk.case.off] = [answer]
    talk.off()
    assert talk.offs == 1


@every_provider
def test_409_is_a_conflict_or_a_busy_provider(talk: Talk) -> None:
    talk.server.once[talk.case.off] = [Answer(409, {"message": "conflict"})] * 9
    with pytest.raises(ProviderError) as caught:
        talk.off()
    assert isinstance(caught.value, Conflict) is not talk.case.conflict_is_busy
    assert caught.value.retry is talk.case.conflict_is_busy
    assert talk.offs == (3 if talk.case.conflict_is_busy else 1)


@every_provider
def test_connection_refused_is_an_error_at_once(case: Case, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    writer = case.writer(url, tmp_path)
    began = time.monotonic()
    with Lateness() as late, pytest.raises(ProviderError, match="cannot reach") as caught:
        writer.turn_off(FLAG, case.environment, comment=COMMENT, expected=None)
    assert caught.value.retry and time.monotonic() - began < 1 + late.lost


@every_provider
def test_a_second_off_writes_nothing_new(case: Case, tmp_path: Path) -> None:
    with serve(routes(case, on=True)) as server:
        talk = Talk(case, server, case.writer(server.url, tmp_path))
        before = talk.writer.read_back(FLAG, case.environment)
        talk.off(before)
        written = (tmp_path / "flags.json").read_bytes() if case.kind == "goff" else b""
        server.always |= routes(case, on=False)
        calls = talk.offs
        talk.off(before)
        if case.kind == "goff":  # the relay is refreshed again, the file stays
            assert (tmp_path / "flags.json").read_bytes() == written
        else:
            assert talk.offs == calls == 1


@every_provider
def test_a_flag_that_somebody_changed_is_left_alone(talk: Talk) -> None:
    now = talk.writer.read_back(FLAG, talk.case.environment)
    seen = FlagState(True, 0.1, "0123456789abcdef", "{}")
    with pytest.raises(Conflict, match="somebody changed the flag") as caught:
        talk.off(expected=seen)
    assert not caught.value.retry and now.fingerprint in str(caught.value)
    assert talk.offs == 0


@every_provider
def test_read_back_tells_on_off_share_and_fingerprint(case: Case, tmp_path: Path) -> None:
    with serve(routes(case, on=True)) as server:
        writer = case.writer(server.url, tmp_path)
        on = writer.read_back(FLAG, case.environment)
        assert (on.enabled, on.share) == (True, case.share)
        assert writer.read_back(FLAG, case.environment) == on
        server.always |= routes(case, on=False)
        if case.kind == "goff":
            writer.turn_off(FLAG, case.environment, comment=COMMENT, expected=on)
        off = writer.read_back(FLAG, case.environment)
        assert (off.enabled, off.share) == (False, None)
        assert off.fingerprint != on.fingerprint and len(on.fingerprint) == 16
        assert TOKEN not in on.detail


@every_provider
@pytest.mark.parametrize("on", [True, False])
def test_evaluate_tells_what_is_served(case: Case, on: bool, tmp_path: Path) -> None:
    with serve(routes(case, on=on)) as server:
        served = case.writer(server.url, tmp_path).evaluate(FLAG, case.environment, ["u1", "u2"])
        assert len(served) == 2 and any(served) is on


@every_provider
def test_evaluate_fails_rather_than_guesses(talk: Talk) -> None:
    evaluations = [key for key in talk.server.always if "evaluat" in key[1] or "playground" in key[1]]
    evaluations += [key for key in talk.server.always if "identities" in key[1]]
    assert evaluations
    for key in evaluations:
        talk.server.always[key] = Answer(200, {"unexpected": True} if "reasons" not in key[1] else [1])
    if talk.case.kind == "goff":  # OFREP leaves the value out when the flag is disabled: clients use their default
        assert talk.writer.evaluate(FLAG, talk.case.environment, ["u1"]) == [False]
    else:
        with pytest.raises(ProviderError, match="cannot be read"):
            talk.writer.evaluate(FLAG, talk.case.environment, ["u1"])


@every_provider
def test_preflight_finds_nothing_at_a_healthy_provider(talk: Talk) -> None:
    assert talk.writer.preflight(FLAG, talk.case.environment) == []
    assert talk.offs == (1 if talk.case.kind == "goff" else 0)


@every_provider
def test_preflight_writes_nothing_and_tells_an_unknown_flag(talk: Talk) -> None:
    talk.server.always = {("GET", "/nothing"): Answer(200)}
    (problem,) = talk.writer.preflight("typo", talk.case.environment)
    assert "typo" in problem
    assert all(asked.method == "GET" for asked in talk.server.asked)


@every_provider
def test_preflight_tells_a_token_without_rights(talk: Talk) -> None:
    talk.server.always = {key: Answer(403, {"message": "forbidden"}) for key in talk.server.always}
    (problem,) = talk.writer.preflight(FLAG, talk.case.environment)
    assert "403" in problem and "may not do this" in problem


def by_kind(kind: str) -> Case:
    return next(case for case in CASES if case.kind == kind)


PROBLEMS = [
    (
        "unleash",
        ("GET", "/api/admin/user"),
        {"permissions": [{"permission": "CREATE_FEATURE", "project": "default"}]},
        "may read but not turn flags off",
    ),
    (
        "unleash",
        ("GET", "/api/admin/user"),
        {"permissions": [{"permission": "UPDATE_FEATURE_ENVIRONMENT", "project": "default", "environment": "other"}]},
        "may read but not turn flags off",
    ),
    (
        "unleash",
        ("GET", "/api/admin/projects/default/change-requests/config"),
        [{"environment": "production", "changeRequestEnabled": True}],
        "waits for an approval",
    ),
    (
        "unleash",
        ("GET", f"/api/admin/projects/default/features/{FLAG}"),
        {"environments": [{"name": "staging", "enabled": True}]},
        "there are: staging",
    ),
    (
        "unleash",
        ("GET", f"/api/admin/projects/default/features/{FLAG}"),
        {"environments": [], "archived": True},
        "archived",
    ),
    (
        "launchdarkly",
        ("GET", f"/api/v2/flags/default/{FLAG}?env=production"),
        {"variations": [{"value": True}], "environments": {"production": {"on": True, "offVariation": 0}}},
        "off variation does not serve false",
    ),
    (
        "launchdarkly",
        ("GET", f"/api/v2/flags/default/{FLAG}?env=production"),
        {"variations": [], "environments": {}},
        "no such environment",
    ),
    (
        "growthbook",
        ("GET", f"/api/v2/features/{FLAG}"),
        {"feature": {"environments": {"dev": {"enabled": True}}}},
        "there are: dev",
    ),
    ("posthog", ("GET", "/api/personal_api_keys/@current/"), {"scopes": ["feature_flag:read"]}, "feature_flag:write"),
    ("goff", ("POST", "/admin/v1/retriever/refresh"), {"refreshed": False}, "could not fetch its flag file"),
    (
        "flagsmith",
        ("GET", "/api/v1/features/feature-segments/?environment=12&feature=5"),
        {"results": [{"id": 1}, {"id": 2}]},
        "2 segment overrides",
    ),
]


@pytest.mark.parametrize(
    ("kind", "route", "answered", "words"), PROBLEMS, ids=[f"{row[0]}: {row[3]}" for row in PROBLEMS]
)
def test_preflight_tells_what_would_stop_a_rollback(
    kind: str, route: tuple[str, str], answered: Any, words: str, tmp_path: Path
) -> None:
    case = by_kind(kind)
    with serve({**routes(case, on=True), route: Answer(200, answered)}) as server:
        (problem,) = case.writer(server.url, tmp_path).preflight(FLAG, case.environment)
    assert words in problem


DECLARED: list[tuple[str, FlagProvider, dict[str, str], str]] = [
    ("no token_env", FlagProvider("main", "unleash", url="http://x"), {}, "needs a token; set token_env"),
    ("token unset", FlagProvider("main", "posthog", project="7", token_env="T"), {}, "the variable T is not set"),
    ("token empty", FlagProvider("main", "launchdarkly", token_env="T"), {"T": " "}, "the variable T is not set"),
    ("no address", FlagProvider("main", "unleash", token_env="T"), {"T": "t"}, "is not an address; give url"),
    ("no file of flagd", FlagProvider("main", "flagd"), {}, "needs file"),
    ("flagd in YAML", FlagProvider("main", "flagd", file=Path("flags.yaml")), {}, "needs file = a JSON file"),
    ("no file of goff", FlagProvider("main", "goff", url="http://x"), {}, "needs file"),
    ("no address of goff", FlagProvider("main", "goff", file=Path("f")), {}, "needs url"),
    (
        "key of goff unset",
        FlagProvider("main", "goff", url="http://x", file=Path("f"), token_env="T"),
        {},
        "T is not set",
    ),
    ("project is a name", FlagProvider("main", "posthog", project="shop", token_env="T"), {"T": "t"}, "project number"),
]


@pytest.mark.parametrize(
    ("provider", "environ", "words"), [row[1:] for row in DECLARED], ids=[row[0] for row in DECLARED]
)
def test_a_declaration_that_cannot_work_is_refused_before_any_call(
    provider: FlagProvider, environ: dict[str, str], words: str
) -> None:
    with pytest.raises(ProviderError, match="provider main") as caught:
        writer_for(provider, environ)
    assert words in str(caught.value) and not caught.value.retry


def test_names_are_escaped_in_paths(tmp_path: Path) -> None:
    path = "/api/admin/projects/default/features/a%2Fb%20c/environments/pr%3Fod/off"
    with serve({("POST", path): Answer(200)}) as server:
        by_kind("unleash").writer(server.url, tmp_path).turn_off("a/b c", "pr?od", comment="", expected=None)
        assert len(server.calls("POST", path)) == 1


def test_unleash_takes_its_address_with_or_without_api(tmp_path: Path) -> None:
    case = by_kind("unleash")
    with serve(routes(case, on=True)) as server:
        assert case.writer(f"{server.url}/api/", tmp_path).read_back(FLAG, "production").enabled


def test_posthog_without_versions_is_still_turned_off(tmp_path: Path) -> None:
    case = by_kind("posthog")
    with serve(routes(case, on=True)) as server:
        for flag in server.always["GET", f"/api/projects/77/feature_flags/?search={FLAG}&limit=500"].body["results"]:
            del flag["version"]
        case.writer(server.url, tmp_path).turn_off(FLAG, "", comment="", expected=None)
        assert server.calls(*case.off)[0].body == {"active": False}


def test_goff_keeps_the_other_flags_of_its_file(tmp_path: Path) -> None:
    import json

    case = by_kind("goff")
    with serve(routes(case, on=True)) as server:
        case.writer(server.url, tmp_path).turn_off(FLAG, "", comment="", expected=None)
    assert json.loads((tmp_path / "flags.json").read_text()) == goff_file(False)
