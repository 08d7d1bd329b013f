"""The digest of code walks through a module once, and finds what Python's own walk finds."""

import ast

from gtm_dagster.warehouse import source_code


def test_one_walk_through_a_module_finds_its_texts_its_imports_and_its_syntax():
    modules = source_code._closure(["gtm_dagster.warehouse.staging.stage", "gtm_dagster.warehouse.marts.credits"])
    assert len(modules) > 20
    for name in sorted(modules):
        nodes = list(ast.walk(ast.parse(source_code._file(name).read_text("utf-8"))))
        found = source_code._source(name)
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        imports = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
        assert found.constants == texts, name
        assert sorted(module for module, _ in found.imports) == sorted(imports), name
        assert found.syntax.count("(FunctionDef ") == sum(isinstance(node, ast.FunctionDef) for node in nodes), name


def test_docstrings_and_layout_do_not_count_and_names_do():
    def syntax(text: str) -> str:
        written: list[str] = []
        source_code._dump(ast.parse(text), written.append, lambda node: None)
        return "".join(written)

    plain = syntax("def f(a):\n    return a + 1")
    assert syntax('def f(a):\n    "what it does"\n\n    return (a + 1)  # why') == plain
    assert syntax("def f(b):\n    return b + 1") != plain
