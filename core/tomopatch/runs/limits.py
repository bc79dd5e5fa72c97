"""Limits of a server, from environment variables; the defaults suit a personal machine.

`docs/sharing.md` lists them.
"""

from __future__ import annotations

import hmac
import math
import os

import psutil

DEFAULTS = {
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
"""Default values by the names of the environment variables, without the prefix TOMOPATCH_."""
MEMORY_SHARE = 0.8
"""Default share of the machine's memory that one run may take."""
UPLOAD_SHARE = 0.25
"""Default size of all uploaded files together, as a share of the memory limit of a run."""
ADMINISTRATOR = "TOMOPATCH_ADMINISTRATOR"
"""Environment variable with the administrator's password on a shared server."""
MIN_PASSWORD_LENGTH = 12


def limit(name: str) -> float:
    """Return the number in the environment variable TOMOPATCH_`name`, or its default.

    Raises
    ------
    ValueError
        If it is not a number of 0 or more.
    """
    text = os.environ.get(f"TOMOPATCH_{name}", "").strip()
    try:
        value = float(text) if text else DEFAULTS[name]
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise ValueError(f"TOMOPATCH_{name} must be a number of 0 or more, got {text!r}.")
    return value


def memory_mb() -> float:
    """Memory limit of one run [MB]."""
    return 1000 * limit("MEMORY_GB") or MEMORY_SHARE * psutil.virtual_memory().total / 2**20


def upload_bytes() -> float:
    """Limit of the uploaded files of all visitors together, which are in the server's memory."""
    return 1e9 * limit("UPLOAD_GB") or UPLOAD_SHARE * 2**20 * memory_mb()


def shared() -> bool:
    """Whether unrelated visitors share this server (see `tomopatch.store.owners`)."""
    return limit("SHARED") > 0


def is_administrators(password: str) -> bool:
    """Whether this is the administrator's password. If none is set, or a short one, no password is right."""
    expected = os.environ.get(ADMINISTRATOR, "")
    return len(expected) >= MIN_PASSWORD_LENGTH and hmac.compare_digest(expected.encode(), password.encode())


def run_seconds() -> float:
    """Time limit of one run."""
    return 60 * limit("RUN_MINUTES") or math.inf


def read_only() -> bool:
    """Whether uploads are disabled."""
    return limit("READ_ONLY") > 0


def check_uploads() -> None:
    """Raise a ValueError if uploads are disabled."""
    if read_only():
        raise ValueError("This server takes no uploads; choose one of its volumes.")
