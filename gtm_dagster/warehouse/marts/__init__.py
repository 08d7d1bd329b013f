"""Core -> marts: what people read.

A mart is built from core tables and settings. Not here: landed files, and the statements (`sql/marts`, `sql/build`).
"""
