"""The commands of `gtm`, a module a theme: each reads its options, calls the library and prints.

Library modules are imported inside the commands, so that `gtm --help` answers at once.
"""
