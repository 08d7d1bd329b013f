"""Dagster assets, one module a layer: read, call the library, write, say what happened. No logic worth testing here."""
