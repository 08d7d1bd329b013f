"""Import of history: CSV, NDJSON and Parquet files, in native columns or by a mapping, into a landing zone.

Belongs here: readers of files, mappings, rows shaped into events, the life of one import. Does not belong here: the
verdict on an event (admission), the landing zone itself and what follows it (warehouse).
"""

from gtm_dagster.importing.importer import ImportFailed, ImportResult, LandingZone, import_file
from gtm_dagster.importing.mapping import Mapping, MappingError, load_mapping

__all__ = ["ImportFailed", "ImportResult", "LandingZone", "Mapping", "MappingError", "import_file", "load_mapping"]
