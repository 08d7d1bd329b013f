"""People of the traffic who come back, and people of accounts."""

from __future__ import annotations

import json
import random

from conformance_writer import DAY, HOUR, PROPERTIES, SOURCES, START, Writer


def returning(out: Writer, rng: random.Random) -> None:
    """Cohorts of several periods who come back in some of them, on the edges of days, weeks and months, and clocks that run
    wrong by years: alone, in a cohort of theirs, and of persons who are there otherwise."""
    for number in range(60):
        who = {"anonymous_id": f"back{number}", "session_id": "r"}
        born = number % 7 * 3
        for day in (born, *(day for day in range(born + 1, 25) if rng.random() < 0.25)):
            edge = rng.choice((0, 4 * HOUR, -2 * HOUR, 22 * HOUR))  # midnights of UTC, New York, Berlin
            out.add(START + day * DAY + edge + rng.choice((-1, 0, 1)), touch=rng.choice(SOURCES), **who)
    for number, days in enumerate((-900, -893, -500, 500, 507, 900)):
        for other in range(2):
            out.add(START + days * DAY, anonymous_id=f"far{number}-{other}", session_id="f")
        out.add(START + (days + 14) * DAY, anonymous_id=f"far{number}-0", session_id="f")
        out.add(START + days * DAY, anonymous_id=f"back{number}", session_id="f")
        out.add(START + days * DAY, anonymous_id=f"server{number}", name="signup_completed", device_type="api")


def teams(out: Writer, rng: random.Random) -> None:
    """Persons of accounts: named late, named again, changed to another account and back, two names in one moment."""
    for number in range(80):
        alone = number % 10 == 3  # the tracker finds no session of theirs
        who = {"anonymous_id": f"team{number}", "session_id": None if alone else "t"}
        at = START + rng.randrange(18) * DAY + rng.choice((0, 22 * HOUR, 4 * HOUR))
        out.add(at, touch=rng.choice(SOURCES), **who)
        for _step in range(rng.randrange(1, 6)):
            at += rng.choice((0, 0, 1, HOUR, DAY, 7 * DAY))
            account = f"alone{number}" if alone else f"account{rng.choice((number // 4, number // 4, number % 5))}"
            name = rng.choice(("signup_completed", "onboarding_completed", "first_value_reached"))
            properties = {**PROPERTIES[name], "account_id": account}
            device = "api" if number % 9 == 0 else "web"
            out.add(at, name=name, properties=json.dumps(properties), device_type=device, **who)
            if rng.random() < 0.6:
                out.add(at + rng.choice((-HOUR, 0, DAY)), touch=rng.choice(SOURCES), **who)
