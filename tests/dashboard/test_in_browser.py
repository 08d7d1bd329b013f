"""The dashboard in Chromium: with no script, at every width, in light and dark, by keyboard, and on paper."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acting_cases import GUARD, armed, broken, settings_for, through
from dashboard_cases import HOSTILE, WINDOWS, publish, settings_in, small

from gtm_dagster.dashboard.screen import screens
from gtm_dagster.opsstore import OpsStore

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
AXE = ROOT / ".cache" / "axe" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
PAGES = [screen.path for screen in screens() if not screen.has_path_values]
MORE = [
    "/attribution?model=linear&channel=Paid+Search&from=60d",
    "/data?table=marts.daily&q=SELECT+1+AS+x",
    "/data?q=DROP+TABLE+x",
    "/?from=7d&compare=none",
    "/nope",
    f"/rollouts/{GUARD.key.replace(':', '%3A')}",
]
A4 = {"width": 718, "height": 1040}
"""What is left of a sheet within margins of 10 mm."""
CUT = "[...document.querySelectorAll('table, svg')].filter(each => each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 80))"
SCROLLED = "[...document.querySelectorAll('svg.chart, .stacked')].filter(each => each.scrollWidth > each.clientWidth + 1 || each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 80))"
"""What shows on a phone in part alone: a picture, or a table of texts."""
ASK_AXE = "async () => (await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})).violations"


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`gtm dash` over a small deployment, one full of hostile names, and one without a serving copy."""
    running: dict[str, subprocess.Popen[str]] = {}
    windows = [{"model": each.model, "lookback_hours": each.lookback_hours} for each in WINDOWS]
    for name in ("small", "hostile", "nothing"):
        settings = settings_in(tmp_path_factory.mktemp(name))
        if name == "small":  # with a guard that has rolled back, whose page is the fullest
            guarded = settings_for(settings.state_dir)
            with OpsStore.of(guarded) as store:
                through(*armed(guarded, store, broken()))
        if name != "nothing":
            publish(settings.serving_path, small(names=HOSTILE) if name == "hostile" else small())
        running[name] = subprocess.Popen(
            [sys.executable, "-m", "gtm_dagster.cli", "dash", "--port", "0"],
            env={
                **os.environ, "PYTHONPATH": str(ROOT), "GTM_STATE_DIR": str(settings.state_dir),
                "GTM_ATTRIBUTION__WINDOWS": json.dumps(windows),
                "GTM_GUARDS": json.dumps([{"flag": GUARD.flag, "conversion": GUARD.conversion}]) if name == "small" else "[]",
            },
            cwd=settings.state_dir, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    found = {name: process.stderr.readline().split()[1] for name, process in running.items() if process.stderr}
    yield found
    for process in running.values():
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None or not AXE.exists():
        pytest.skip("Chromium or axe-core is not here; `make test-real` installs them")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("deployment", ["small", "hostile", "nothing"])
def test_every_page_is_whole_and_accessible(addresses: dict[str, str], browser: Any, deployment: str) -> None:
    """No violation of axe, no message in the console, no other host, and nothing wider than the window."""
    address = addresses[deployment]
    found: list[Any] = []

    def listen(page: Any) -> None:
        page.on("console", lambda message: found.append(message.text))
        page.on("pageerror", lambda error: found.append(str(error)))
        page.on("request", lambda request: request.url.startswith(address) or found.append(request.url))
        page.on("dialog", lambda dialog: (found.append("a script ran"), dialog.dismiss()))

    looks = {"small": (("light", 1200), ("dark", 400)), "hostile": (("light", 400),), "nothing": (("dark", 1200),)}
    for scheme, width in looks[deployment]:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce"
        )
        context.add_init_script(path=AXE)
        page = context.new_page()
        listen(page)
        paths = [*PAGES, *(MORE if deployment == "small" else [])]
        page.goto(address + "/journeys")
        links = page.locator('a[href^="/conversions/"]')
        paths += [links.first.get_attribute("href")] if links.count() else []
        for path in paths:
            page.goto(address + path)
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
            where = (path, scheme, width)
            found += [
                (*where, each["id"], [node["html"][:200] for node in each["nodes"][:2]])
                for each in page.evaluate(ASK_AXE)
            ]
            if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
                found.append((*where, "wider than the window"))
            if width == 400:
                found += [(*where, "cut on a phone", each) for each in page.evaluate(SCROLLED)]
            if deployment == "small" and width == 1200:
                page.emulate_media(media="print")
                page.set_viewport_size(A4)
                found += [(*where, "cut on paper", each) for each in page.evaluate(CUT)]
                page.emulate_media(media="screen")
                page.set_viewport_size({"width": width, "height": 800})
        context.close()
    allowed = "404 (Not Found)"  # of the page /nope itself
    assert [each for each in found if allowed not in str(each)] == []


def test_a_question_is_answered_by_clicks_without_any_script(addresses: dict[str, str], browser: Any) -> None:
    """Which channel, source and campaign brought customers, by which model: from the overview, clicks counted."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    clicks = 0

    def click(role: str, name: str, **more: Any) -> None:
        nonlocal clicks
        page.get_by_role(role, name=name, **more).first.click()
        clicks += 1

    page.goto(addresses["small"])
    assert page.locator(".tile", has_text="payment_completed").is_visible()
    click("link", "Channels", exact=True)
    assert clicks == 1 and page.get_by_role("rowheader", name="Paid Search").first.is_visible()
    assert page.get_by_text("time decay, 7 days is not computed:").is_visible()
    click("link", "linear")
    assert "model=linear" in page.url and page.get_by_text("credited by linear").is_visible()
    for name in ("Paid Search", "google", "cpc"):
        click("link", name, exact=True)
    assert page.get_by_role("rowheader", name="brand").is_visible()
    assert clicks == 5
    page.get_by_text("How it is counted, and its SQL").first.click()  # opens without a script
    assert page.get_by_text("Spend stands at the grain").is_visible()
    page.get_by_role("combobox", name="Conversion").select_option("signup_completed")
    page.get_by_role("button", name="Show").click()
    assert "type=signup_completed" in page.url and "channel=Paid+Search" in page.url
    with page.expect_download() as downloading:
        page.goto(addresses["small"])
        page.get_by_role("link", name="Conversions by day as CSV").click()
    assert downloading.value.suggested_filename.endswith(".csv")
    context.close()


def test_keyboard_and_paper(addresses: dict[str, str], browser: Any) -> None:
    """The first Tab skips to the content; on paper there is no menu, and figures are there."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(addresses["small"])
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the first link of the content: 7 days
    page.wait_for_url("**from=7d**")
    page.emulate_media(media="print")
    assert not page.get_by_role("navigation", name="Screens").is_visible()
    assert page.get_by_role("img", name="Conversions by day").first.is_visible()
    assert page.pdf().startswith(b"%PDF")
    context.close()
