"""The rules of the demo and their templates: messages inside the product alone, so that nothing leaves this machine."""

from __future__ import annotations

from pathlib import Path

from gtm_dagster.storage.atomic_write import write_whole

FILE = Path("demo") / "triggers.yaml"
"""In the demo's state directory; its templates stand beside it."""
RULES = """# Rules of the demo. All of them show a message inside the product; every key: docs/triggers.md.
version: 1

rules:
  # Signed up a day ago and did not finish the onboarding.
  onboarding_nudge:
    on: signup_completed
    servers: true
    absent: {event: onboarding_completed, within: 24h, grace: 1s}
    reentry: never
    purpose: service
    holdout: 0.3
    goal: {event: onboarding_completed, within: 3d}
    do: {in_app: onboarding_nudge.md.j2}

  # A checkout that was opened and not paid.
  checkout_reminder:
    on: checkout_started
    absent: {event: payment_completed, within: 30m, grace: 1s}
    reentry: {cooldown: 24h}
    purpose: service
    expires: 2h
    do: {in_app: checkout_reminder.md.j2}

  # Reached what the product is for: the moment to bring colleagues in.
  invite_colleagues:
    on: first_value_reached
    servers: true
    reentry: never
    purpose: service
    holdout: 0.3
    goal: {event: payment_completed, within: 3d}
    do: {in_app: invite_colleagues.md.j2}

  # Looked at the prices twice in a day: only with consent to marketing, and not at night.
  pricing_offer:
    on: pricing_viewed
    count: {n: 2, within: 24h}
    cancel_on: [payment_completed]
    reentry: {cooldown: 7d}
    purpose: marketing
    quiet: {from: "21:00", to: "08:00", zone: person, default_zone: Europe/Berlin}
    goal: {event: demo_requested, within: 3d}
    do: {in_app: pricing_offer.md.j2}
"""
TEMPLATES = {
    "onboarding_nudge.md.j2": "Title: Three steps are left\nLink: /onboarding\n\nYour account is ready: finish the set-up in five minutes.\n",
    "checkout_reminder.md.j2": "Title: Your order is waiting\nLink: /checkout\n\nEverything is kept as you left it.\n",
    "invite_colleagues.md.j2": "Title: Well done\nLink: /team\n\nNow bring your colleagues in: three seats are free.\n",
    "pricing_offer.md.j2": "Title: Questions about the plans?\nLink: /demo\n\nWe show you which one fits, in twenty minutes.\n",
}


def write_rules(state_dir: Path) -> Path:
    """Write the rules and their templates into the demo's state directory; returns the file of rules."""
    file = state_dir / FILE
    folder = file.parent / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in TEMPLATES.items():
        write_whole(folder / name, text.encode())
    write_whole(file, RULES.encode())
    return file
