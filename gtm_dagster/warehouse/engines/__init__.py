"""Other engines: the statements in their dialects, the export of a run for them, and the Spark job."""
