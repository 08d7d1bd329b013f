"""The mapping of a file of ad spend: its columns by field, and how the file writes numbers and days."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import msgspec

from gtm_dagster.importing.mapping import MappingError

NEEDED = ("day", "source", "currency", "cost")
TEXTS = ("source", "medium", "campaign", "channel", "currency")
COUNTS = ("impressions", "clicks")
SPEND_FIELDS = ("day", *TEXTS, "cost", *COUNTS)


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
    try:
        mapping = msgspec.convert(tomllib.loads(Path(path).read_text("utf-8")), SpendMapping)
        "".encode(mapping.encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"mapping {path}: cannot be read ({error})") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, LookupError) as error:
        raise MappingError(f"mapping {path}: {error}") from error
    for table in ("columns", "constants"):
        for field in getattr(mapping, table):
            if field not in SPEND_FIELDS:
                raise MappingError(
                    f"mapping {path}: {table}.{field}: not a field of spend; use {', '.join(SPEND_FIELDS)}"
                )
    both = sorted(set(mapping.columns) & set(mapping.constants))
    if both:
        raise MappingError(f"mapping {path}: columns.{both[0]}: {both[0]} is filled twice; keep one")
    if len(mapping.delimiter) != 1:
        raise MappingError(f"mapping {path}: delimiter: {mapping.delimiter!r} is not one character")
    return mapping
