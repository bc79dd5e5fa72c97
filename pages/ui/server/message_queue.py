"""Correction to Streamlit's queue of messages to the browser.

When a fragment runs again, the messages of its previous run are dropped from the queue. Streamlit (1.67)
keeps messages that only refer to an element cached in the browser, because these do not name their fragment.
On a busy server such a message could refer to a container that had been dropped, and the browser replaced the
whole page with an error. Clearing the queue for fragments came with streamlit/streamlit#9381, the cached
messages with #9562; no issue there describes how the two interact.
"""

from __future__ import annotations

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

Path = tuple[int, ...]

_enqueue, _clear = ForwardMsgQueue.enqueue, ForwardMsgQueue.clear


def install() -> None:
    """Replace Streamlit's methods; repeated calls do nothing."""
    ForwardMsgQueue.enqueue = enqueue  # type: ignore[assignment, method-assign]
    ForwardMsgQueue.clear = clear  # type: ignore[assignment, method-assign]


def enqueue(queue: ForwardMsgQueue, msg: ForwardMsg) -> None:
    """Add a message and remember the position of its fragment, under which all its elements lie."""
    fragment = msg.delta.fragment_id if msg.HasField("delta") else ""
    if fragment:
        _positions(queue).setdefault(fragment, tuple(msg.metadata.delta_path))
    _enqueue(queue, msg)


def clear(
    queue: ForwardMsgQueue,
    retain_lifecycle_msgs: bool = False,
    fragment_ids_this_run: list[str] | None = None,
) -> None:
    """Clear the queue as Streamlit does, and also drop the references of the fragments."""
    _clear(queue, retain_lifecycle_msgs, fragment_ids_this_run)
    positions = _positions(queue)
    if fragment_ids_this_run is not None:
        below = [positions.pop(fragment) for fragment in fragment_ids_this_run if fragment in positions]
        queue._queue = [m for m in queue._queue if not (m.HasField("ref_hash") and _is_below(m, below))]
    elif retain_lifecycle_msgs:  # the whole page runs and can move its fragments
        positions.clear()


def _is_below(msg: ForwardMsg, positions: list[Path]) -> bool:
    path = tuple(msg.metadata.delta_path)
    return any(path[: len(place)] == place for place in positions)


def _positions(queue: ForwardMsgQueue) -> dict[str, Path]:
    """Return the positions of fragments, which are stored with the session's queue."""
    positions: dict[str, Path] = queue.__dict__.setdefault("_positions", {})
    return positions
