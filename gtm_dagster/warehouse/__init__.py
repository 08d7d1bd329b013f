"""The engine room: landing zone, the one writer's lock, portable SQL, incremental builds, checks and the serving copy.

Here belongs everything that opens DuckDB or writes Parquet. Not here: what an event means (taxonomy), who may see it
(privacy), and when things run (orchestration).
"""
