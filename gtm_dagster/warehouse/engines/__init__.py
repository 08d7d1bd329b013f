"""Other engines: the portable statements in their dialects, the export of a run for them, and the Spark job.

Not here: anything a refresh needs.
"""
