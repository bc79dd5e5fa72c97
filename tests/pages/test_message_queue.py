"""The corrected message queue never sends an element without its container."""

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from pages.ui.server import message_queue

LIVE, PAGE = (0, 2, 0), (0, 3)


@pytest.fixture
def queue():
    message_queue.install()
    return ForwardMsgQueue()


def block(path, fragment=""):
    msg = ForwardMsg()
    msg.metadata.delta_path[:] = path
    msg.delta.add_block.allow_empty = True
    msg.delta.fragment_id = fragment
    return msg


def reference(path):
    msg = ForwardMsg()
    msg.metadata.delta_path[:] = path
    msg.ref_hash = f"hash of {path}"
    return msg


def run_page(queue):
    """Run a page with a cached element within a fragment and another outside."""
    for msg in (block((0, 2)), block(LIVE, "live"), block((*LIVE, 0), "live"), reference((*LIVE, 1))):
        queue.enqueue(msg)
    queue.enqueue(reference(PAGE))


def run_fragment(queue, place=LIVE):
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=["live"])
    for msg in (block(place, "live"), block((*place, 0), "live"), reference((*place, 1))):
        queue.enqueue(msg)


def paths(queue):
    return [tuple(msg.metadata.delta_path) for msg in queue.flush()]


def assert_containers_first(sent, there=()):
    """Check that each element follows its container, unless the browser has the container already."""
    known = {(0,), *there}
    for path in sent:
        assert path[:-1] in known, f"{path} before {path[:-1]}"
        known.add(path)


def test_a_fragment_reruns_before_anything_is_sent(queue):
    run_page(queue)
    run_fragment(queue)
    run_fragment(queue)
    sent = paths(queue)
    assert_containers_first(sent)
    assert sent.count((*LIVE, 1)) == 1
    assert PAGE in sent, "what is not of the fragment stays"


def test_a_fragment_reruns_after_half_is_sent(queue):
    for msg in (block((0, 2)), block(LIVE, "live")):
        queue.enqueue(msg)
    there = paths(queue)
    queue.enqueue(block((*LIVE, 0), "live"))
    queue.enqueue(reference((*LIVE, 1)))
    run_fragment(queue)
    sent = paths(queue)
    assert_containers_first(sent, there)
    assert sent.count((*LIVE, 1)) == 1


def test_a_fragment_has_moved_after_a_page_run(queue):
    run_page(queue)
    queue.clear(retain_lifecycle_msgs=True)
    place = (0, 4)
    for msg in (reference((0, 2)), block(place, "live"), reference((*place, 0))):
        queue.enqueue(msg)
    run_fragment(queue, place)
    sent = paths(queue)
    assert_containers_first(sent)
    assert sent.count((0, 2)) == 1, "where the fragment was before something else may be"


def test_streamlit_still_requires_the_correction(queue):
    """If this fails, Streamlit no longer requires `pages.ui.server.message_queue`."""
    run_page(queue)
    message_queue._clear(queue, True, ["live"])
    assert (*LIVE, 1) in paths(queue)
