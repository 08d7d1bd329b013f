"""The only room besides `definitions.py` that knows Dagster: the warehouse resource, checks and pictures as Dagster
values, and running the `refresh` job in this process. What is computed lives in the library.
"""
