"""`tomopatch app`: start the server. The command imports no engine: it starts at once and stays small."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tomopatch.installation import app_folder

DEMO = {
    "TOMOPATCH_SHARED": "1",
    "TOMOPATCH_READ_ONLY": "1",
    "TOMOPATCH_MEMORY_GB": "1.5",
    "TOMOPATCH_RUN_MINUTES": "5",
    "TOMOPATCH_QUEUE_LENGTH": "60",
    "TOMOPATCH_SESSION_RUNS": "12",
    "TOMOPATCH_STORE_LIMIT_GB": "2",
}
"""Limits of a public demo on a machine with 2.7 GB; a variable that is already set is kept."""


def add_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--port", type=int, default=8501, help="port on this machine")
    sub.add_argument("--address", help="address to listen on (default: this machine alone)")
    sub.add_argument("--headless", action="store_true", help="do not open a browser window")
    sub.add_argument("--demo", action="store_true", help="set the limits of a public demo")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    script = app_folder() / "app.py"
    options = ["--server.port", str(arguments.port)]
    if arguments.address:
        options += ["--server.address", arguments.address]
    if arguments.headless:
        options += ["--server.headless", "true"]
    environment = (DEMO if arguments.demo else {}) | dict(os.environ)
    return become_server(
        [sys.executable, "-m", "streamlit", "run", str(script), *options], script.parent, environment
    )


def become_server(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    """Replace this process by the server, which then receives the signals that end it.

    Windows has no such call: there the command waits for the server.
    """
    if os.name == "nt":
        return subprocess.call(command, cwd=folder, env=environment)
    os.chdir(folder)
    os.execve(command[0], command, environment)
