"""Streamlit's garbage collection after each run of the script skips objects of imported modules."""

import gc
import sys
import types

import pytest

from pages.ui.session import engine


@pytest.fixture(autouse=True)
def thaw():
    yield
    gc.unfreeze()


def test_only_objects_of_imports_are_excluded_from_collection(monkeypatch):
    engine.freeze_imports()
    kept = [[k] for k in range(50)]
    engine.freeze_imports()  # no new imports: no change
    assert all(any(o is x for x in gc.get_objects()) for o in kept)
    monkeypatch.setitem(sys.modules, "tomopatch_late", types.ModuleType("tomopatch_late"))
    engine.freeze_imports()
    seen = {id(o) for o in gc.get_objects()}
    assert not seen & {id(o) for o in kept}


def test_garbage_is_still_collected():
    engine.freeze_imports()

    class Node:
        pass

    before = gc.get_freeze_count()
    for _ in range(20):
        node = Node()
        node.self = node
    del node
    assert gc.collect() >= 20
    assert gc.get_freeze_count() <= before
