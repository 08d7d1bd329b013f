"""What the library needs of Dagster: resources, checks and metadata, the instance, the loop of the guard, runs in process.

This package and `definitions.py` are the only modules of the library that import dagster. Not here: what is computed
(the library), which assets, sensors and schedules there are (`assets/`, `sensors/`).
"""
