"""A collector for the tests of product teams: same protocols and verdicts as the real one, everything in memory.

Here belong the log in memory, the pages that show it, the server in a thread and the pytest fixture. Not here: any verdict;
those are the collector's.

This module imports nothing: pytest loads the fixture of the package in every environment that has it.
"""
