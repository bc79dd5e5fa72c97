from core import ParallelBeam, Projector, Volume, phantom, reconstruct, simulate
from core.show import middle_slices, notebook_progress


def test_results_show_themselves_in_a_notebook(small):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=5))
    m = simulate(small, A, photon_count=1e5)
    result = reconstruct("sirt", A, m, num_iterations=2)
    for thing, words in (
        (small, "16 x 48 x 48"),
        (m, "dose of a full scan"),
        (result, "num_iterations"),
    ):
        html = thing._repr_html_()
        assert words in html
        assert "data:image/png;base64," in html


def test_names_from_files_never_become_html(small):
    named = Volume(small.data, small.geometry, "<script>alert(1)</script>")
    assert "<script>" not in named._repr_html_()


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
