"""An experiment as a file: a scan, its runs and a sweep."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field

from tomopatch.export.pictures import Plane
from tomopatch.parsing import parse_json
from tomopatch.runs.config import AnyScan, RunConfig
from tomopatch.schema import read, record

FORMAT = "tomopatch-experiment-1"
MAX_RUNS = 20
MAX_BYTES = 1_000_000


@record
class Experiment:
    """The settings that the app shows, without volumes.

    Attributes
    ----------
    scan : ScanConfig or MeasuredScan
    runs : tuple of RunConfig
        The compared runs.
    sweep : dict
        Contents of the form on the page What if.
    plane : str
        Plane of the displayed slices.
    view : str
        Slice, window, zoom and layout of the slice viewer, as in the address of the app.
    analysis : str
        Open analysis of the page Compare.
    """

    scan: AnyScan
    runs: Annotated[tuple[RunConfig, ...], Field(max_length=MAX_RUNS)] = ()
    sweep: dict[str, str] = Field(default_factory=dict)
    plane: Plane = "axial"
    view: Annotated[str, Field(max_length=200)] = ""
    analysis: Annotated[str, Field(max_length=40)] = ""

    def to_bytes(self) -> bytes:
        stored = {
            "format": FORMAT,
            "scan": self.scan.to_json(),
            "runs": [run.to_json() for run in self.runs],
            "sweep": self.sweep,
            "plane": self.plane,
            "view": self.view,
            "analysis": self.analysis,
        }
        return json.dumps(stored, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Experiment:
        """Read a file that `to_bytes` made.

        Raises
        ------
        ValueError
            If the data is not an experiment.
        """
        if len(data) > MAX_BYTES:
            raise ValueError(f"an experiment has at most {MAX_BYTES} bytes, this file has {len(data)}.")
        try:
            stored = parse_json(data)
        except ValueError:
            raise ValueError("this file is not JSON; an experiment is a .json that the app wrote.") from None
        if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
            raise ValueError(f"this JSON is not an experiment: its format should be {FORMAT!r}.")
        return read(cls, stored)
