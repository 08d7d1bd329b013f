"""Admission: an event, or a batch of rows, and who sent it -> a record with a verdict and every reason.

Here belong the verdict on an event and the record that is stored. Not here: HTTP (collector), files (importing), where
records go (eventlog, warehouse). Light on import; the batch form needs pyarrow and pandera.
"""
