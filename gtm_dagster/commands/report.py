"""`gtm report`: what people decide from, as text, JSON, HTML or a file."""

from __future__ import annotations

from gtm_dagster.commands.command import Group

COMMANDS = (
    Group("report", "Reports over the tables: attribution side by side, a table for marketing mix models.", order=75),
)
