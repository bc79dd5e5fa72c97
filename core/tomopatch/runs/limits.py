"""What one server lets people do: numbers in the environment, with defaults for one's own machine.

The README lists them under "Sharing it".
"""

from __future__ import annotations

import hmac
import math
import os

import psutil

USUAL = {
    "STORE_LIMIT_GB": 20.0,
    "QUEUE_LENGTH": 500.0,
    "SESSION_RUNS": 50.0,
    "RUN_MINUTES": 0.0,
    "READ_ONLY": 0.0,
    "SHARED": 0.0,
    "UPLOAD_GB": 0.0,
    "CHECKPOINT_SECONDS": 10.0,
    "MEMORY_GB": 0.0,
}
"""By the name of the environment variable TOMOPATCH_..."""
MEMORY_SHARE = 0.8  # of the machine's memory, for one run, unless told otherwise
UPLOAD_SHARE = 0.25  # of that, for the uploaded files of all visitors together, unless told otherwise
ADMINISTRATOR = "TOMOPATCH_ADMINISTRATOR"
"""The environment variable with the administrator's password on a shared server."""
SHORTEST_PASSWORD = 12


def limit(name: str) -> float:
    """The number in the environment variable TOMOPATCH_`name`, or the usual one.

    Raises
    ------
    ValueError
        If it is not a number of 0 or more.
    """
    text = os.environ.get(f"TOMOPATCH_{name}", "").strip()
    try:
        value = float(text) if text else USUAL[name]
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise ValueError(f"TOMOPATCH_{name} must be a number of 0 or more, got {text!r}.")
    return value


def memory_mb() -> float:
    """What one run may need."""
    given = 1000 * limit("MEMORY_GB")
    return given or MEMORY_SHARE * psutil.virtual_memory().total / 2**20


def upload_bytes() -> float:
    """Size that the uploaded files of all visitors together may have in the server's memory."""
    return 1e9 * limit("UPLOAD_GB") or UPLOAD_SHARE * 2**20 * memory_mb()


def shared() -> bool:
    """Whether visitors who do not know each other use this server (see `tomopatch.store.owners`)."""
    return limit("SHARED") > 0


def is_administrators(password: str) -> bool:
    """Whether this is the administrator's password; without one in the environment, or with a short one, nothing is."""
    expected = os.environ.get(ADMINISTRATOR, "")
    return len(expected) >= SHORTEST_PASSWORD and hmac.compare_digest(expected.encode(), password.encode())


def run_seconds() -> float:
    """How long one run may work."""
    return 60 * limit("RUN_MINUTES") or math.inf


def read_only() -> bool:
    """Whether nobody may bring volumes of their own."""
    return limit("READ_ONLY") > 0


def check_uploads() -> None:
    """Refuse what somebody brings, where that is not wanted."""
    if read_only():
        raise ValueError("This server takes no uploads; choose one of the volumes that are here.")
