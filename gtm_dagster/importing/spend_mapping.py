"""The mapping of a file of ad spend: its columns by field, and how the file writes numbers and days."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from gtm_dagster.importing.mapping_file import MappingError, check_character, check_encoding, read_mapping

NEEDED = ("day", "currency", "cost")
"""And a source, or else a channel."""
TEXTS = ("source", "medium", "campaign", "channel", "currency", "timezone")
COUNTS = ("impressions", "clicks")
SPEND_FIELDS = ("day", *TEXTS, "cost", *COUNTS)
LAST_DAY = "last_day"
"""Where a file says the last day of a row: one of several days, which has no place in figures by day, is refused."""


class SpendMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`columns`: {field: column of the file}; `constants`: {field: text}; `day_format`: of strptime, None: ISO."""

    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    day_format: str | None = None
    decimal: str = "."
    thousands: str = ""
    delimiter: str = ","
    encoding: str = "utf-8"

    @property
    def fingerprint(self) -> str:
        """Changes with anything that can change what is imported."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def load_spend_mapping(path: Path) -> SpendMapping:
    """The mapping of a TOML file. Raises MappingError."""
    mapping = read_mapping(path, SpendMapping)
    try:
        check_encoding(mapping.encoding)
        check_character("delimiter", mapping.delimiter)
    except MappingError as error:
        raise MappingError(f"mapping {path}: {error}") from None
    for table in ("columns", "constants"):
        for field in getattr(mapping, table):
            if field not in SPEND_FIELDS and (table, field) != ("columns", LAST_DAY):
                raise MappingError(
                    f"mapping {path}: {table}.{field}: not a field of spend; use {', '.join((*SPEND_FIELDS, LAST_DAY))}"
                )
    both = sorted(set(mapping.columns) & set(mapping.constants))
    if both:
        raise MappingError(f"mapping {path}: columns.{both[0]}: {both[0]} is filled twice; keep one")
    return mapping
