"""gtm.js beside a consent platform that speaks IAB GPP, in Chromium."""

from __future__ import annotations

import json

import pytest
from test_browser_snippet import Visitor, World, world  # noqa: F401 - a fixture

pytestmark = pytest.mark.real

GPP = """window.__gpp = (command, done) => setTimeout(() => {{
  done({{eventName: 'cmpStatus', pingData: {{signalStatus: 'not ready', parsedSections: {{usnat: [{{SaleOptOut: 1}}]}}}}}}, true);
  done({{eventName: 'signalStatus', pingData: {{signalStatus: 'ready', parsedSections: {sections}}}}}, true);
}}, 10);"""
CONSENTS = "{tcfeuv2: {Version: 2, PurposeConsents: [true, true, false, false, false, false, false, true]}}"


@pytest.mark.parametrize(
    ("mode", "sections", "expected"),
    [
        ("opt_out", "{usca: [{SaleOptOut: 1, SharingOptOut: 2}, {Gpc: false}]}", {"marketing": False}),
        ("opt_out", "{usva: {SaleOptOut: 2, TargetedAdvertisingOptOut: 1}}", {"marketing": False}),
        ("opt_out", "{uspv1: {Notice: 'Y', OptOutSale: 'Y'}}", {"marketing": False}),
        ("opt_out", "{usco: {SaleOptOut: 2, TargetedAdvertisingOptOut: 2, SaleOptOutNotice: 1}}", {}),
        ("required", CONSENTS, {"analytics": True, "marketing": False, "personalization": False}),
    ],
    ids=["California", "Virginia", "the text of before", "nobody opted out", "Europe"],
)
def test_a_platform_that_speaks_gpp(world: World, mode: str, sections: str, expected: dict[str, bool]) -> None:  # noqa: F811
    start = len(world.events())
    world.site.inline = GPP.format(sections=sections)
    world.site.attributes = f'data-consent="{mode}"'
    visitor = Visitor(world)
    visitor.go(world.site.url("/pricing"))
    found = world.wait(lambda events: len(events) == start + (2 if expected else 1))[start:]
    assert {each.event_name for each in found} == ({"page_viewed", "consent_updated"} if expected else {"page_viewed"})
    told = next(each.consent for each in found if each.event_name == ("consent_updated" if expected else "page_viewed"))
    assert json.loads(told) == expected
    assert visitor.errors == []
    visitor.context.close()
