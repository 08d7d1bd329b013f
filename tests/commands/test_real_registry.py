"""`gtm plan publish` with a real schema registry (Apicurio), which scripts/install-registry installs."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from test_plan_publish import PLAN, REQUIRED, WITHOUT_COUPON, plan

from gtm_dagster.taxonomy import Plan, load_plan
from gtm_dagster.taxonomy.schema_registry import Registry

__all__ = ["plan"]
INSTALLED = Path(__file__).parents[2] / ".cache/registry"
START_SECONDS = 300
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not (INSTALLED / "installed").exists():
        pytest.skip("no schema registry is installed: run make install-registry (opt-in, make test-real does not)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("registry") / "log"
    environ = {**os.environ, "QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(port)}
    with log.open("wb") as output:
        running = subprocess.Popen(
            ["java", "-Xmx512m", "-jar", str(INSTALLED / "runner.jar")], env=environ, cwd=log.parent, stdout=output, stderr=output
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(address):
            assert running.poll() is None and time.monotonic() < until, log.read_text()[-2000:]
            time.sleep(0.5)
        yield address
    finally:
        running.terminate()
        running.wait(60)


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/subjects", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def loaded(file: Path, text: str) -> Plan:
    file.write_text(text)
    return load_plan(file)


def test_a_real_registry_takes_what_is_compatible_once_and_refuses_the_rest_whole(url: str, plan: Path) -> None:
    registry = Registry(url)
    first = registry.publish(loaded(plan, PLAN), level="BACKWARD")
    assert (first.registered, first.unchanged) == ({"gtm.visited": 1, "gtm.bought": 1}, {})
    again = registry.publish(loaded(plan, PLAN))
    assert (again.registered, again.unchanged) == ({}, {"gtm.visited": 1, "gtm.bought": 1})
    for broken in (REQUIRED, WITHOUT_COUPON):
        refused = registry.publish(loaded(plan, broken + "  refunded:\n"))
        assert (refused.registered, [each.subject for each in refused.incompatible]) == ({}, ["gtm.bought"])
    more = registry.publish(loaded(plan, PLAN + "      currency: {type: string}\n"))
    assert (more.registered, more.unchanged, more.left) == ({"gtm.bought": 2}, {"gtm.visited": 1}, ())
    forced = registry.publish(loaded(plan, REQUIRED), level="NONE")
    assert forced.registered == {"gtm.bought": 3}
    packaged = load_plan()
    whole = registry.publish(packaged, "packaged.", dry_run=True)
    assert set(whole.registered) == {f"packaged.{name}" for name in packaged.events}
