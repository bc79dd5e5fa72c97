"""Imports only point downwards, and heavy or optional libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "core" / "tomopatch"
SOURCES = [p for folder in (ENGINE, ROOT / "pages") for p in sorted(folder.rglob("*.py"))]
SOURCES.append(ROOT / "app.py")

LEVELS = [
    {"tomopatch.notes", "tomopatch.parsing", "tomopatch.quiet", "tomopatch.schema"},
    {"tomopatch.volume", "tomopatch.kernels", "tomopatch.installation", "tomopatch.progress"},
    {"tomopatch.geometry", "tomopatch.progress_bar"},
    {"tomopatch.phantoms", "tomopatch.io", "tomopatch.projector", "tomopatch.prior", "tomopatch.analysis"},
    {"tomopatch.library", "tomopatch.physics"},
    {"tomopatch.reconstruct"},
    {"tomopatch.training", "tomopatch.runs"},
    {"tomopatch.store"},
    {"tomopatch.export", "tomopatch.execution"},
    {"tomopatch.studies"},
    {"tomopatch.cli", "pages.ui"},
    {"tomopatch.__main__"},
    {"pages"},
    {"app"},
]
"""Modules may import from lower levels, and from their own unit."""

PUBLIC = "tomopatch"
"""The package itself collects the public names; nothing inside imports from it."""

ONLY_IN = {
    "pydicom": {"tomopatch.io.dicom", "tomopatch.io.dicom_writer"},
    "h5py": {"tomopatch.io.projections.hdf5"},
    "tifffile": {"tomopatch.io.projections.tiff"},
    "mrcfile": {"tomopatch.io.projections.mrc"},
    "tomosipo": {"tomopatch.projector.cuda"},
    "astra": {"tomopatch.projector.cuda"},
    "triton": {"tomopatch.projector.triton_joseph", "tomopatch.projector.triton_kernels"},
    "streamlit": {"app", "pages"},
    "plotly": {"app", "pages"},
}


def module_name(path: Path) -> str:
    root = ENGINE.parent if ENGINE in path.parents else ROOT
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    """Imported modules, at the top of the file or within functions; `a.b` for each `from a import b`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def unit_and_level(module: str) -> tuple[str, int] | None:
    for level, units in enumerate(LEVELS):
        for unit in units:
            if module == unit or module.startswith(unit + "."):
                if unit == "pages" and module.startswith("pages.ui"):
                    continue
                return unit, level
    return None


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_downwards(path):
    here = module_name(path)
    if here in (PUBLIC, ""):
        return
    own = unit_and_level(here)
    assert own is not None, f"{here} has no level"
    for module in imports(path):
        assert not (
            module.startswith("tomopatch.") and module.count(".") == 1 and unit_and_level(module) is None
        ), f"{here} imports {module} from the public names"
        other = unit_and_level(module)
        if other is not None and other[0] != own[0]:
            assert other[1] < own[1], f"{here} imports {module}, which is not below it"


def test_there_are_no_import_cycles():
    """Between modules; imports within functions count as well."""
    names = {module_name(p): p for p in SOURCES}
    edges = {}
    for name, path in names.items():
        wanted = {m if m in names else m.rpartition(".")[0] for m in imports(path)}
        edges[name] = {m for m in wanted if m in names and m != name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in sorted(edges[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in names:
        visit(name, ())


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_libraries_stay_where_they_belong(path):
    here = module_name(path)
    for module in imports(path):
        allowed = ONLY_IN.get(module.split(".")[0])
        if allowed is not None:
            assert any(here == a or here.startswith(a + ".") for a in allowed), f"{here} imports {module}"


def test_only_the_command_and_the_worker_print():
    for path in SOURCES:
        here = module_name(path)
        if here.startswith("tomopatch") and not here.startswith(
            ("tomopatch.cli", "tomopatch.execution.worker")
        ):
            calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
            assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls), here
