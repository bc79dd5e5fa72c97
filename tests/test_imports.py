"""Imports go down only, and heavy or optional libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [p for folder in ("core", "pages") for p in sorted((ROOT / folder).rglob("*.py"))]
SOURCES += [p for p in (ROOT / "app.py",) if p.exists()]

LEVELS = [
    {"core.volume"},
    {"core.views", "core.kernels"},
    {"core.geometry", "core.progress"},
    {"core.projector", "core.prior", "core.scan", "core.metrics", "core.scanners"},
    {"core.regions", "core.errors", "core.coverage"},
    {"core.measurement"},
    {"core.reconstruct"},
    {"core.show"},
    {"core.runs"},
    {"core.training"},
    {"core.arguments", "core.flags"},
    {"core.commands", "pages.ui"},
    {"core.cli"},
    {"pages"},
    {"app"},
]
LAZY = {"core.show"}  # shows results in a notebook; imported within functions only
ONLY_IN = {
    "pydicom": {"core.scan.dicom", "core.scan.dicom_writer"},
    "tomosipo": {"core.projector.cuda"},
    "astra": {"core.projector.cuda"},
    "triton": {"core.projector.triton_joseph", "core.projector.triton_kernels"},
    "streamlit": {"app", "pages"},
    "plotly": {"app", "pages"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at the top of the file) of each import."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, id(node) in top)]
            found += [(f"{node.module}.{alias.name}", id(node) in top) for alias in node.names]
    return found


def unit_and_level(module: str) -> tuple[str, int] | None:
    for level, units in enumerate(LEVELS):
        for unit in sorted(units, key=len, reverse=True):
            if module == unit or module.startswith(unit + "."):
                if unit == "pages" and module.startswith("pages.ui"):
                    continue
                return unit, level
    return None


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_go_down_only(path):
    here = module_name(path)
    if here in ("core", ""):
        return  # the public names
    own = unit_and_level(here)
    assert own is not None, f"{here} has no place in the order of imports"
    for module, at_top in imports(path):
        other = unit_and_level(module)
        if other is None or other[0] == own[0] or (other[0] in LAZY and not at_top):
            continue
        assert other[1] < own[1], f"{here} imports {module}, which is not below it"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_libraries_stay_where_they_belong(path):
    here = module_name(path)
    for module, _ in imports(path):
        allowed = ONLY_IN.get(module.split(".")[0])
        if allowed is not None:
            assert any(here == a or here.startswith(a + ".") for a in allowed), f"{here} imports {module}"


def test_the_engine_prints_nothing_but_in_the_command_and_the_worker():
    for path in SOURCES:
        here = module_name(path)
        if here.startswith("core") and here not in ("core.cli", "core.commands", "core.runs.worker"):
            calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
            assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls), here
