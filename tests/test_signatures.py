"""Functions have few parameters: options that belong together travel as one frozen dataclass."""

import ast

from tests.test_imports import SOURCES, module_name

MOST = 8
"""Parameters of a function, without `self` and `cls`."""

LONGER = {
    "tomopatch.geometry.beams.ConeBeam.circular": 11,  # the fields of a ConeBeam, by their names
    "tomopatch.reconstruct.classical.total_variation.tv": 10,  # the terms of the problem that it minimises
    "tomopatch.reconstruct.diffusion.method.diffusion": 9,  # two of them only for tests and benchmarks
}
"""Exceptions, with their number of parameters."""


def functions(node: ast.AST, name: str):
    """(qualified name, definition) of all functions in a module, nested ones included."""
    for child in ast.iter_child_nodes(node):
        inner = f"{name}.{child.name}" if hasattr(child, "name") else name
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inner, child
        yield from functions(child, inner)


def compiled(function: ast.FunctionDef) -> bool:
    """Compiled by Numba or Triton: these take arrays and scalars, no records."""
    return any("jit" in ast.unparse(decorator) for decorator in function.decorator_list)


def num_parameters(function: ast.FunctionDef) -> int:
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_no_function_has_more_parameters_than_a_reader_can_keep_in_mind():
    longer = {
        name: num_parameters(function)
        for path in SOURCES
        for name, function in functions(ast.parse(path.read_text("utf-8")), module_name(path))
        if num_parameters(function) > MOST and not compiled(function)
    }
    assert longer == LONGER
