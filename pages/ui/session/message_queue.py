"""A mend of Streamlit's queue of messages to the browser.

When a fragment runs again, what its last run left in the queue is dropped. Streamlit (1.67) forgets the messages that only
refer to an element which the browser has kept: they know no fragment. So on a busy server the viewer was told to be drawn
in a container that had been dropped, and the browser put an error in place of the whole page.
"""

from __future__ import annotations

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

Path = tuple[int, ...]

_enqueue, _clear = ForwardMsgQueue.enqueue, ForwardMsgQueue.clear


def mend() -> None:
    """Once in a process is enough, more does no harm."""
    ForwardMsgQueue.enqueue = enqueue  # type: ignore[assignment, method-assign]
    ForwardMsgQueue.clear = clear  # type: ignore[assignment, method-assign]


def enqueue(queue: ForwardMsgQueue, msg: ForwardMsg) -> None:
    """Remember where each fragment draws: everything of it lies below its first message."""
    fragment = msg.delta.fragment_id if msg.HasField("delta") else ""
    if fragment:
        _places(queue).setdefault(fragment, tuple(msg.metadata.delta_path))
    _enqueue(queue, msg)


def clear(
    queue: ForwardMsgQueue,
    retain_lifecycle_msgs: bool = False,
    fragment_ids_this_run: list[str] | None = None,
) -> None:
    """As it was, and with the fragments' references."""
    _clear(queue, retain_lifecycle_msgs, fragment_ids_this_run)
    places = _places(queue)
    if fragment_ids_this_run is not None:
        below = [places.pop(fragment) for fragment in fragment_ids_this_run if fragment in places]
        queue._queue = [m for m in queue._queue if not (m.HasField("ref_hash") and _is_below(m, below))]
    elif retain_lifecycle_msgs:  # a run of the whole page, in which fragments may lie elsewhere
        places.clear()


def _is_below(msg: ForwardMsg, places: list[Path]) -> bool:
    path = tuple(msg.metadata.delta_path)
    return any(path[: len(place)] == place for place in places)


def _places(queue: ForwardMsgQueue) -> dict[str, Path]:
    """Kept with the queue, which is one of a session."""
    places: dict[str, Path] = queue.__dict__.setdefault("_places", {})
    return places
