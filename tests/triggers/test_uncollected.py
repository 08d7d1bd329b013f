"""What rules keep of persons is not looked at by the collector of cycles, which took a quarter of the rules' time."""

from __future__ import annotations

import gc

from gtm_dagster.triggers.admit import Entry, Ledger
from gtm_dagster.triggers.person_profile import Given, Place, Profile
from gtm_dagster.triggers.rule_state import Cancelled, Counted, Decided, Occurrence, RuleState


def test_states_profiles_and_ledgers_are_not_tracked() -> None:
    state = RuleState(
        open=(Occurrence(1, "a", 2),), counted=(Counted(1, "b"),), cancelled=(Cancelled(1, "c"),), decided=(Decided(1, "d"),)
    )  # fmt: skip
    profile = Profile((Given(1, False, "analytics"),), Place(1, "UTC"), Place(1, country="DE"))
    ledger = Ledger("p", (Entry(1, "e", "r", "", "email", 1),))
    rows = (*state.open, *state.counted, *state.cancelled, *state.decided, *profile.consents, *ledger.entries)
    assert not any(map(gc.is_tracked, (state, profile, ledger, *rows)))
