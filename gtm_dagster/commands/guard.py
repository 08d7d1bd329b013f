"""`gtm guard`: the group whose commands are the modules `guard_*`."""

from __future__ import annotations

from gtm_dagster.commands.command import Group

COMMANDS = (Group("guard", "Guards of feature flags: what they promise, see and did.", order=160),)
