"""Reproducible measurements, one command each (`make bench`). Not here: tests of correctness."""
