"""Scenario 30 on a real Unleash: a rollback as the guard makes it, seen by the Python client of a product."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import msgspec
import pytest
import requests
from acting_cases import settings_for
from ramp_cases import RAMPED, RampWorld
from unleash_server import ADMIN, CLIENT, FRONTEND, UnleashServer, start_unleash
from UnleashClient import UnleashClient

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control.evidence import from_json
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.rollout.providers import Conflict, FlagWriter, ProviderError, writer_for
from gtm_dagster.settings import FlagProvider

pytestmark = pytest.mark.real

ENVIRONMENT = "development"
UNITS = [f"user-{n}" for n in range(400)]
MANY = [f"user-{n}" for n in range(2000)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnleashServer]:
    with start_unleash(tmp_path_factory.mktemp("unleash")) as server:
        yield server


@pytest.fixture
def flag(server: UnleashServer, request: pytest.FixtureRequest) -> str:
    """A flag of its own for every test, on for half of the users."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    server.create_split(name, 50)
    return name


def writer(server: UnleashServer, token: str = ADMIN, backend: str | None = None) -> FlagWriter:
    provider = FlagProvider("unleash", "unleash", url=server.url, token_env="UNLEASH_TOKEN")
    return writer_for(
        provider, {"UNLEASH_TOKEN": token} | ({} if backend is None else {"UNLEASH_TOKEN_BACKEND": backend})
    )


def wait_for(condition: Callable[[], bool], limit: float, what: str) -> float:
    """Seconds until the condition was met."""
    began, pause = time.monotonic(), Event()
    while not condition():
        assert time.monotonic() - began < limit, f"{what}: not within {limit} s"
        pause.wait(0.02)
    return time.monotonic() - began


@pytest.fixture
def client(server: UnleashServer, flag: str, tmp_path: Path) -> Iterator[UnleashClient]:
    """A product's client with a refresh of 1 s that serves the split already."""
    client = UnleashClient(
        url=f"{server.url}/api", app_name=flag, custom_headers={"Authorization": CLIENT}, refresh_interval=1,
        disable_metrics=True, disable_registration=True, request_timeout=2, cache_directory=str(tmp_path),
    )  # fmt: skip
    client.initialize_client()
    wait_for(lambda: treated(client, flag) > 0, 10, "the client sees the split")
    yield client
    client.destroy()


def treated(client: UnleashClient, flag: str) -> int:
    return sum(client.is_enabled(flag, {"userId": unit}) for unit in UNITS)


def test_a_rollback_is_seen_by_a_running_client(
    server: UnleashServer, flag: str, client: UnleashClient, tell: Callable[[str], None]
) -> None:
    unleash = writer(server, backend=CLIENT)
    assert unleash.preflight(flag, ENVIRONMENT) == []
    before = unleash.read_back(flag, ENVIRONMENT)
    assert (before.enabled, before.share) == (True, 0.5)
    assert 160 < treated(client, flag) < 240

    began = time.monotonic()
    unleash.turn_off(flag, ENVIRONMENT, comment="", expected=before)
    acked = time.monotonic() - began
    proven = wait_for(lambda: not any(unleash.evaluate(flag, ENVIRONMENT, UNITS)), 5, "a fresh client is served off")
    seen = wait_for(lambda: treated(client, flag) == 0, 5, "the running client is served off")
    tell(
        f"Unleash: off {acked * 1000:.0f} ms, proven by a fresh client {proven * 1000:.0f} ms later, "
        f"a running client (refresh 1 s) followed after another {seen * 1000:.0f} ms"
    )
    assert acked + proven + seen <= 5

    after = unleash.read_back(flag, ENVIRONMENT)
    assert (after.enabled, after.share) == (False, None) and after.fingerprint != before.fingerprint
    unleash.turn_off(flag, ENVIRONMENT, comment="", expected=None)
    unleash.turn_off(flag, ENVIRONMENT, comment="", expected=before)
    assert len(server.events(flag, "feature-environment-disabled")) == 1, "a second off adds no event"


@pytest.mark.parametrize("backend", [CLIENT, None], ids=["by the engine of the clients", "by the playground"])
def test_evaluate_agrees_with_the_client(
    server: UnleashServer, flag: str, client: UnleashClient, backend: str | None
) -> None:
    unleash = writer(server, backend=backend)
    assert unleash.evaluate(flag, ENVIRONMENT, UNITS) == [client.is_enabled(flag, {"userId": unit}) for unit in UNITS]
    assert unleash.evaluate(flag, ENVIRONMENT, []) == []
    unleash.turn_off(flag, ENVIRONMENT, comment="", expected=None)
    wait_for(lambda: not any(unleash.evaluate(flag, ENVIRONMENT, UNITS)), 5, "evaluated off")


def test_the_fingerprint_tells_a_changed_percentage(server: UnleashServer, flag: str) -> None:
    unleash = writer(server)
    before = unleash.read_back(flag, ENVIRONMENT)
    assert unleash.read_back(flag, ENVIRONMENT) == before
    here = f"/projects/default/features/{flag}/environments/{ENVIRONMENT}/strategies"
    (strategy,) = server.admin("GET", here)
    change = [{"op": "replace", "path": "/parameters/rollout", "value": "10"}]
    server.admin("PATCH", f"{here}/{strategy['id']}", change)
    after = unleash.read_back(flag, ENVIRONMENT)
    assert after.share == 0.1 and after.fingerprint != before.fingerprint
    with pytest.raises(Conflict, match="somebody changed the flag"):
        unleash.turn_off(flag, ENVIRONMENT, comment="", expected=before)
    assert unleash.read_back(flag, ENVIRONMENT).enabled


@pytest.mark.parametrize(
    ("token", "status"),
    [(CLIENT, "403"), (FRONTEND, "403"), ("*:*.unknown", "401")],
    ids=["backend token", "frontend token", "unknown token"],
)
def test_preflight_tells_a_token_that_cannot(server: UnleashServer, flag: str, token: str, status: str) -> None:
    (problem,) = writer(server, token).preflight(flag, ENVIRONMENT)
    assert f"status {status}" in problem and "it must be an admin token" in problem
    assert token not in problem
    with pytest.raises(ProviderError, match=f"status {status}") as caught:
        writer(server, token).turn_off(flag, ENVIRONMENT, comment="", expected=None)
    assert not caught.value.retry


def test_preflight_tells_a_person_who_may_only_look(server: UnleashServer, flag: str) -> None:
    viewer = {"username": "looks", "rootRole": "Viewer", "password": "a-Long.passw0rd", "sendEmail": False}
    person = server.admin("POST", "/user-admin", viewer)
    session = requests.Session()
    login = {"username": "looks", "password": viewer["password"]}
    assert session.post(f"{server.url}/auth/simple/login", json=login, timeout=10).ok
    wanted = {"description": "guard", "expiresAt": "2099-01-01T00:00:00Z"}
    token = session.post(f"{server.url}/api/admin/user/tokens", json=wanted, timeout=10).json()["secret"]
    (problem,) = writer(server, token).preflight(flag, ENVIRONMENT)
    assert "may read but not turn flags off" in problem
    with pytest.raises(ProviderError, match="status 403"):
        writer(server, token).turn_off(flag, ENVIRONMENT, comment="", expected=None)
    server.admin("PUT", f"/user-admin/{person['id']}", {"rootRole": "Editor"})
    assert writer(server, token).preflight(flag, ENVIRONMENT) == []
    writer(server, token).turn_off(flag, ENVIRONMENT, comment="", expected=None)


@pytest.mark.parametrize(
    ("environment", "project_flag", "words"),
    [("staging", None, "there are: development, production"), (ENVIRONMENT, "typo", "status 404")],
    ids=["no such environment", "no such flag"],
)
def test_preflight_tells_what_is_not_there(
    server: UnleashServer, flag: str, environment: str, project_flag: str | None, words: str
) -> None:
    (problem,) = writer(server).preflight(project_flag or flag, environment)
    assert words in problem


def test_preflight_tells_a_backend_token_of_another_environment(server: UnleashServer, flag: str) -> None:
    production = server.admin(
        "POST", "/api-tokens", {"type": "backend", "environment": "production", "tokenName": flag, "projects": ["*"]}
    )["secret"]
    (problem,) = writer(server, backend=production).preflight(flag, ENVIRONMENT)
    assert "the backend token is of environment 'production'" in problem


def test_preflight_tells_a_flag_without_a_strategy(server: UnleashServer) -> None:
    server.admin("POST", "/projects/default/features", {"name": "bare", "type": "release"})
    (problem,) = writer(server).preflight("bare", ENVIRONMENT)
    assert "no strategy in this environment" in problem


def test_a_stopped_server_is_reported_quickly_and_works_again_after(
    server: UnleashServer, flag: str, tell: Callable[[str], None]
) -> None:
    unleash = writer(server)
    server.stop()
    began = time.monotonic()
    try:
        with pytest.raises(ProviderError, match="cannot reach") as caught:
            unleash.turn_off(flag, ENVIRONMENT, comment="", expected=None)
        took = time.monotonic() - began
    finally:
        server.start()
    tell(f"Unleash stopped: reported after {took * 1000:.0f} ms")
    assert caught.value.retry and took < 2
    unleash.turn_off(flag, ENVIRONMENT, comment="", expected=None)
    assert not unleash.read_back(flag, ENVIRONMENT).enabled


def test_a_ramp_through_unleash_keeps_units_and_is_rolled_back_at_25_percent(
    server: UnleashServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> None:
    name = "ramped"
    server.admin("POST", "/projects/default/features", {"name": name, "type": "release"})
    parameters = {"rollout": "40", "stickiness": "userId", "groupId": name}
    here = f"/projects/default/features/{name}/environments/{ENVIRONMENT}"
    server.admin("POST", f"{here}/strategies", {"name": "flexibleRollout", "parameters": parameters})
    guard = msgspec.structs.replace(RAMPED, flag=name, environment=ENVIRONMENT, provider="unleash")
    unleash, settings = writer(server, backend=CLIENT), settings_for(tmp_path, guard)
    with OpsStore.of(settings) as store:
        world = RampWorld(monkeypatch, settings, store, unleash, guard, real=True)
        world.arm()
        world.go(2)
        treated: set[str] = set()
        for share in (0.01, 0.05, 0.25):
            began = time.monotonic()
            assert world.take().outcome == "taken" and world.share == share
            took = time.monotonic() - began
            wait_for(lambda share=share: served(unleash, name, share), 5, "a fresh client is served the share")
            now = {unit for unit, on in zip(MANY, unleash.evaluate(name, ENVIRONMENT, MANY), strict=True) if on}
            tell(f"Unleash: a step to {share:.0%} in {took * 1000:.0f} ms, {len(now)} of {len(MANY)} units treated")
            assert treated <= now, "whoever had the new flow keeps it"
            treated = now
            world.go(90)
        assert world.lose().outcome == "rolled_back"
        assert world.share == 0 and not any(unleash.evaluate(name, ENVIRONMENT, MANY))
        record = store.rollback(episode_id(guard.key, 1))
        assert record is not None and record.verified and record.estimate == pytest.approx(0.5, abs=0.15)
        assert from_json(record.bundle or "").guard.conversion == guard.conversion
        assert world.kinds[0] == "ended" and world.context.row.state == "ROLLED_BACK"
    kinds = ("feature-strategy-update", "feature-environment-enabled", "feature-environment-disabled")
    assert [len(server.events(name, kind)) for kind in kinds] == [3, 1, 1], "one event a step, one on, one off"


def served(unleash: FlagWriter, flag: str, share: float) -> bool:
    """Whether a client that starts now is served about the share."""
    return 0.6 < sum(unleash.evaluate(flag, ENVIRONMENT, MANY)) / (share * len(MANY)) < 1.5
