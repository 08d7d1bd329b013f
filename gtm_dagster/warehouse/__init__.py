"""From landed files to the tables that people read: landing, staging, core, marts, the serving copy, and what checks them.

Here belongs everything that opens DuckDB or writes Parquet. Not here: what an event means (taxonomy, admission), what
brought a visit (channels), and when things run (orchestration).
"""
