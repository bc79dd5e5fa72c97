import math
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tomopatch import (
    ConeBeam,
    ParallelBeam,
    Projector,
    Volume,
    load_prior,
    phantom,
    quality,
    reconstruct,
    simulate,
)
from tomopatch.export.notebook import register, to_html
from tomopatch.export.slices import middle_slices
from tomopatch.progress import Step
from tomopatch.progress_bar import bar_html, notebook_progress


def test_results_show_themselves_in_a_notebook(small):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=5))
    m = simulate(small, A, photon_count=1e5)
    result = reconstruct("sirt", A, m, num_iterations=2)
    for thing, words in (
        (small, "16 x 48 x 48"),
        (m, "dose of a full scan"),
        (result, "num_iterations"),
    ):
        html = to_html(thing)
        assert words in html
        assert "data:image/png;base64," in html


def test_geometries_show_themselves_in_a_notebook(small):
    parallel = ParallelBeam.circular(small.geometry, num_views=5)
    cone = ConeBeam.circular(small.geometry, num_views=7, angle_range=math.pi)
    for thing, words in ((parallel, "5, from 0 to 144 degrees"), (cone, "800, 1200")):
        html = to_html(thing)
        assert words in html
        assert "data:image/png;base64," in html
    assert "16 x 48 x 48" in to_html(small.geometry)


def test_everything_is_a_line_in_a_shell(small):
    """However large it is: no tensor is printed."""
    named = Volume(small.data, small.geometry, "cylinder")
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=5))
    m = simulate(named, A, photon_count=1e5)
    result = reconstruct("sirt", A, m, num_iterations=2)
    assert repr(named) == "Volume('cylinder', 16 x 48 x 48 (z, y, x), voxels 2 x 1 x 1 mm, -1000 to 500 HU)"
    assert repr(m).startswith(
        f"Measurement(ParallelBeam, {' x '.join(map(str, A.range_shape))} (v, angle, u)"
    )
    assert "1e+05 photons per ray" in repr(m)
    assert repr(result).startswith("Result('sirt', done in ")
    assert "16 x 48 x 48 (z, y, x) -> " in repr(A)
    prior = load_prior("small", "cpu")
    assert repr(prior) == "PatchPrior('small', 4.9 million weights, patches of 32 x 32 x 32, on cpu)"
    assert str(quality(named, result.volume)).startswith("PSNR ")
    for thing in (named, m, result, A, prior):
        assert "\n" not in repr(thing)
        assert len(repr(thing)) < 200


@pytest.mark.parametrize("views", [False, True])
def test_a_projector_shows_itself_in_a_notebook(small, views):
    pg = ConeBeam.circular(small.geometry, num_views=7)
    html = to_html(Projector(small.geometry, pg.views() if views else pg))
    assert "16 x 48 x 48" in html
    assert "joseph" in html
    assert ("data:image/png" in html) != views  # bare vectors have no picture


def test_names_from_files_never_become_html(small):
    named = Volume(small.data, small.geometry, "<script>alert(1)</script>")
    assert "<script>" not in to_html(named)


def test_slices_stand_upright():
    """The head is up in the coronal and sagittal slices, the chest up in the axial one."""
    volume = phantom("head", (24, 32, 32))
    volume.data[-1] = 1.0
    volume.data[:, 0] = 2.0
    pictures = {plane: picture for plane, picture, _ in middle_slices(volume)}
    assert (pictures["coronal"][0] > pictures["coronal"][5]).all()
    assert (pictures["axial"][0] > pictures["axial"][5]).all()


def test_no_progress_bar_outside_of_a_notebook():
    assert notebook_progress("SIRT") is None


@pytest.fixture
def notebook(monkeypatch):
    """Collects the states that a notebook would show; IPython itself is not needed for the app."""
    states: list[str] = []

    def display(thing: str, *, display_id: bool) -> SimpleNamespace:
        states.append(thing)
        return SimpleNamespace(update=states.append)

    ipython, shown = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    shown.HTML, shown.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return states


def test_reconstruct_shows_a_progress_bar_in_a_notebook(small, notebook):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=5))
    reconstruct("sirt", A, simulate(small, A), num_iterations=30)
    assert "begins" in notebook[0]
    assert "30 of 30" in notebook[-1]
    assert "residual" in notebook[-1]


def test_a_progress_bar_is_not_redrawn_more_often_than_one_can_see(small, notebook):
    """A saved notebook would fill up with it, because each state is a separate message."""
    show = notebook_progress("SIRT")
    assert show is not None
    for i in range(1, 1001):
        show(Step(i, 1000, small.data))
    assert len(notebook) < 20


def test_a_progress_bar_tells_the_share():
    bar = bar_html("TV", Step(15, 60, None, residual=0.0123, stage="initial"), 3.0)  # type: ignore[arg-type]
    assert float(re.search(r"value='([\d.]+)'", bar).group(1)) == pytest.approx(0.25)
    assert "initial, 15 of 60" in bar
    assert "value" not in bar_html("TV")  # before the first step: moves to and fro


def test_ipython_is_taught_to_show_everything(monkeypatch):
    taught = {}
    formatter = SimpleNamespace(for_type=taught.__setitem__)
    shell = SimpleNamespace(display_formatter=SimpleNamespace(formatters={"text/html": formatter}))
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    register()
    assert {Volume, Projector, ParallelBeam, ConeBeam} <= set(taught)
    assert object not in taught
