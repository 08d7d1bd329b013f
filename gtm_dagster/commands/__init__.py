"""The commands of `gtm`, a module a command: each takes its options, calls the library and prints.

Here belongs what a person or a script sees: options, texts, tables, JSON documents, exit codes. Not here: anything that
is computed. Library modules are imported inside the functions, so that `gtm --help` answers at once.
"""
