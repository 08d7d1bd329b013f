"""Takes the pictures of docs/images: every screen of the dashboard and the pages of Dagster, of a demo that `gtm dev --demo` shows.

    gtm demo && gtm dev --demo           # in another terminal, until it says that it is ready
    .venv/bin/python scripts/pictures.py [NAME ...]

A screen is one picture: light at 1200 pixels, and beside it dark at 400, as on a phone. Needs Chromium
(scripts/install-chromium). Look at each before it is committed.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from gtm_dagster.dashboard.screen import screens

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDE, PHONE, GAP, TALLEST, COLOURS = 1200, 400, 24, 1300, 48
DAGSTER = {
    "lineage": "/asset-groups",
    "runs": "/runs",
    "automation": "/automation",
    "deployment": "/locations",
    "asset-channel-attribution": "/assets/marts/channel_attribution",
    "asset-rollbacks": "/assets/ops/rollbacks",
    "asset-guards": "/assets/ops/guards",
    "timeline": "/overview/activity/timeline",
}


def main() -> None:
    """Take all pictures, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="such as dashboard-funnel or lineage; all by default")
    parser.add_argument("--dashboard", default="http://127.0.0.1:8380")
    parser.add_argument("--dagster", default="http://127.0.0.1:3000")
    parser.add_argument("--settle", type=float, default=4.0, help="seconds that a page of Dagster takes to be whole")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        parser.error("Chromium is not here: scripts/install-chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, path in pages(browser, given.dashboard):
            if not given.names or name in given.names:
                save(name, screen(browser, given.dashboard + path))
        for name, path in DAGSTER.items():
            if not given.names or name in given.names:
                save(
                    name,
                    shot(browser, given.dagster + path, WIDE + 200, "light", round(1000 * given.settle), whole=False),
                )
        browser.close()


def pages(browser: Any, address: str) -> Iterator[tuple[str, str]]:
    """Name and path of every screen; of those reached by links alone, the first link there is."""
    page = browser.new_page()
    for each in screens():
        if not each.has_path_values:
            yield f"dashboard-{each.name}", each.path
    for start, name, prefix in (("/journeys", "conversion", "/conversions/"), ("/rollouts", "rollout", "/rollouts/")):
        page.goto(address + start)
        link = page.locator(f'main a[href^="{prefix}"], a[href^="{prefix}"]').first
        if link.count():
            yield f"dashboard-{name}", link.get_attribute("href")


def screen(browser: Any, url: str) -> Image.Image:
    """The page in light at full width, and in dark on a phone, beside each other."""
    looks = [(WIDE, "light"), (PHONE, "dark")]
    shots = [shot(browser, url, width, scheme, 200, whole=True) for width, scheme in looks]
    cut = [each.crop((0, 0, each.width, min(each.height, TALLEST))) for each in shots]
    width, height = sum(each.width for each in cut) + GAP * (len(cut) - 1), max(each.height for each in cut)
    sheet, at = Image.new("RGB", (width, height), "#8a8f98"), 0
    for each in cut:
        sheet.paste(each, (at, 0))
        at += each.width + GAP
    return sheet.resize((width // 2, height // 2), Image.Resampling.LANCZOS)


def shot(browser: Any, url: str, width: int, scheme: str, wait: int, *, whole: bool) -> Image.Image:
    """A picture of a page."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url, timeout=120_000)
    page.wait_for_timeout(wait)
    taken = Image.open(io.BytesIO(page.screenshot(full_page=whole))).convert("RGB")
    context.close()
    return taken


def save(name: str, picture: Image.Image) -> None:
    """Write a picture in few colours: text and lines need no more, and dots between them would triple the file."""
    path = IMAGES / f"{name}.png"
    few = picture.quantize(palette=palette(picture), dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size // 1000} kB")  # noqa: T201


def palette(picture: Image.Image) -> Image.Image:
    """The colours that cover most, exactly, such as the paper's; and some of all others, such as a red that is seldom."""
    most = sorted(picture.getcolors(picture.width * picture.height) or [], reverse=True)[: COLOURS // 2]
    spread = picture.quantize(COLOURS // 2, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    found = Image.new("P", (1, 1))
    found.putpalette([part for _, colour in most for part in colour] + spread[: 3 * (COLOURS // 2)])
    return found


if __name__ == "__main__":
    main()
