"""The output folder of a study: a report, pictures and volumes that belong together."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tomopatch.io.writing import in_use, is_abandoned
from tomopatch.reconstruct.methods import METHODS

_NEW = ".tomopatch-"
"""Beginning of the names of temporary folders."""
ALL_VIEWS = "all_views"
"""Name of the volume from all views of a measured scan, which a report has as its `stand_in_reference`."""


def replace_outputs(folder: Path, report: str, write: Callable[[Path], None]) -> None:
    """Replace an earlier study in a folder by a new one, so that every volume belongs to the report.

    The earlier study stays until all new files are written. The report is removed first and written
    last.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    report : str
        Name of the JSON file that describes the study. An earlier one lists its volumes under "methods".
    write : f(folder)
        Writes all files of the study into a temporary folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    with tempfile.TemporaryDirectory(prefix=_NEW, dir=folder) as name, in_use(Path(name)):
        new = Path(name)
        write(new)
        _drop_earlier(folder, report)
        for path in sorted(new.iterdir(), key=lambda path: path.name == report):
            path.replace(folder / path.name)


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary folders of processes that were killed while they wrote."""
    for new in folder.glob(f"{_NEW}*"):
        if new.is_dir() and is_abandoned(new):
            shutil.rmtree(new, ignore_errors=True)


def _drop_earlier(folder: Path, report: str) -> None:
    """Remove an earlier report, and the volumes of the study that it describes."""
    try:
        earlier = json.loads((folder / report).read_bytes())
        volumes = [name for name in METHODS if name in earlier["methods"]]
        volumes += [ALL_VIEWS] if "stand_in_reference" in earlier["config"] else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    (folder / report).unlink()
    for name in volumes:
        (folder / f"{name}.nii.gz").unlink(missing_ok=True)
        (folder / f"{name}_std.nii.gz").unlink(missing_ok=True)
