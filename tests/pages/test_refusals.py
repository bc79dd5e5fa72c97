"""What a shared server does not allow is said on the page, in a sentence."""

from core.runs.config import RunConfig
from pages.ui import engine, shell, state


def texts(elements):
    return " ".join(e.value for e in elements)


def test_a_server_without_uploads_says_so(app, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_READ_ONLY", "1")
    app.switch_page(shell.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("upload").run()
    assert not app.exception
    assert not app.file_uploader
    assert "no uploads" in texts(app.info)


def test_a_run_that_does_not_fit_is_explained(visit, small_scan, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.01")
    run_id = engine.queue().submit(RunConfig(small_scan, "tv", {"num_iterations": 77}))
    app = visit(run=run_id)
    app.switch_page(shell.RECONSTRUCT).run()
    assert not app.exception
    assert "of memory" in texts(app.error)


def test_a_full_disk_is_told_instead_of_a_traceback(app, monkeypatch):
    def refuse(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.runs.store.RunStore.all_runs", refuse)
    app.switch_page(shell.RUNS).run()
    assert not app.exception
    assert "disk is full" in texts(app.error)
