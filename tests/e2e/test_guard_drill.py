"""A drill against a running `gtm dev`: the guard's run is asked for by the sensor and shown in the web UI.

SCREENSHOTS=docs keeps pictures of the pages there.
"""

import json
from typing import Any

import pytest
from web_ui import Dev, gtm, keep, shown, wait_for

pytestmark = pytest.mark.real


def test_a_drill_is_a_run_the_sensor_asked_for_while_analytics_run(dev: Dev, browser: Any) -> None:
    launched = dev.launch("refresh")
    told = json.loads(gtm(dev.environment, "guard", "drill", "--json"))
    assert told["verified"] and told["served_new_after"] == 0, told
    run = next(run for run in dev.runs() if run["jobName"] == "rollback_flag")
    assert {"key": "dagster/sensor_name", "value": "conversion_guard"} in run["tags"]
    wait_for(lambda: dev.status(run["runId"]) == "SUCCESS", 60, "the rollback's run ends")
    status = json.loads(gtm(dev.environment, "guard", "status", "--json"))
    assert [guard["state"] for guard in status["guards"]] == ["ROLLED_BACK"]

    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(f"{dev.ui}/runs/{run['runId']}")
    shown(page, "Success")
    shown(page, "turn_off")
    keep(page, "rollback-run")

    page.goto(f"{dev.ui}/assets/ops/rollbacks?view=events")
    shown(page, "guard-drill")
    picture = page.locator("img[src^='data:image']").first
    picture.wait_for()
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.naturalWidth") > 100, "the picture is shown, not broken"
    keep(page, "rollback-evidence")

    page.goto(f"{dev.ui}/automation")
    shown(page, "conversion_guard")
    keep(page, "sensors")
    page.close()
    wait_for(lambda: dev.status(launched) in {"SUCCESS", "FAILURE"}, 240, "the refresh ends")
    assert dev.status(launched) == "SUCCESS", dev.log.read_text()[-6000:]
    assert gtm(dev.environment, "query", "SELECT count(*) FROM core.identities", "--json")
