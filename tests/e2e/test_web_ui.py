"""The web UI as a person uses it: `gtm dev`, Materialize all, a check, a picture; and a live event that a sensor fetches.

SCREENSHOTS=docs keeps pictures of the pages there.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from web_ui import Dev, gtm, keep, shown, wait_for

pytestmark = pytest.mark.real


def test_materialize_all_then_look_at_a_check_and_a_picture(dev: Dev, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(f"{dev.ui}/asset-groups")
    before = {run["runId"] for run in dev.runs()}
    page.get_by_role("button", name="Materialize all").click()
    run = wait_for(lambda: next((r for r in dev.runs() if r["runId"] not in before), None), 30, "a run was launched")[
        "runId"
    ]
    done = wait_for(
        lambda: next((r for r in dev.runs() if r["runId"] == run and r["status"] in {"SUCCESS", "FAILURE"}), None), 240, "the run ends"
    )  # fmt: skip
    assert done["status"] == "SUCCESS", dev.log.read_text()[-6000:]
    shown(page, "marts")
    keep(page, "lineage")

    page.goto(f"{dev.ui}/runs/{run}")
    shown(page, "Success")
    keep(page, "run")

    page.goto(f"{dev.ui}/assets/staging/quarantine?view=checks")
    shown(page, "reject_rate")
    keep(page, "quarantine-check")

    page.goto(f"{dev.ui}/assets/marts/funnel")
    picture = page.locator("img[src^='data:image']").first
    picture.wait_for()
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.naturalWidth") > 100, "the picture is shown, not broken"
    keep(page, "funnel")
    page.close()


def test_a_live_event_is_fetched_by_the_sensor(dev: Dev) -> None:
    moment = datetime.now(UTC).isoformat()
    event = {"event_id": "live-1", "event_name": "page_viewed", "timestamp": moment, "anonymous_id": "someone",
             "properties": {}, "context": {"source": "newsletter", "medium": "email", "device_type": "web"}}  # fmt: skip
    answer = requests.post(f"{dev.collector}/ingest", json=event, headers={"X-Write-Key": "dev"}, timeout=10)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)

    def fetched() -> bool:
        return any(
            run["status"] == "SUCCESS" and {"key": "dagster/sensor_name", "value": "event_log_sensor"} in run["tags"]
            for run in dev.runs()
        )

    wait_for(fetched, 180, "the sensor's run")
    rows = json.loads(
        gtm(dev.environment, "query", "SELECT source, medium FROM core.sessions WHERE source = 'newsletter'", "--json")
    )
    assert {"source": "newsletter", "medium": "email"} in rows
