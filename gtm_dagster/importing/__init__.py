"""History into the landing zone: CSV, NDJSON and Parquet, in native columns or through a mapping.

Belongs here: reading foreign files, shaping their rows into events, judging whole files. What follows the landing zone
does not.
"""

from gtm_dagster.importing.importer import ImportFailed, ImportResult, import_file
from gtm_dagster.importing.mapping import Mapping, MappingError, load_mapping

__all__ = ["ImportFailed", "ImportResult", "Mapping", "MappingError", "import_file", "load_mapping"]
