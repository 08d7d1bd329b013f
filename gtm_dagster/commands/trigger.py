"""The group `gtm trigger`."""

from __future__ import annotations

from gtm_dagster.commands.command import Group

COMMANDS = (Group("trigger", "Behavioural rules: check them, try them, run them over the past.", order=165),)
