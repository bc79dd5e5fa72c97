"""A sweep: its queue, its lines, and the pictures behind each point."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.charts import figures
from pages.ui.session import engine, state, words
from pages.ui.viewer.panes import Shown, viewer, window_for
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.run import ACTIVE, FINISHED
from tomopatch.studies.sweep import MEASURED, VARIED, Cell, SweepConfig, look_up, seconds_left, table
from tomopatch.studies.sweep_plot import lines, value_words

POLL = 1.0  # seconds
HEIGHT = 330
_CHART = "sweep_chart"
SHORT = {name: said.split(" [")[0] for name, said in VARIED.items()}
RESULTS = {"PSNR": "psnr", "SSIM": "ssim", "RMSE": "rmse_hu", "Time": "seconds"}
"""Columns of the table, in which units stand beside the numbers."""
FORMATS = {"PSNR": "%.2f dB", "SSIM": "%.3f", "RMSE": "%.0f HU", "Time": "%.1f s"}


def nothing() -> None:
    """In place of the view while the form cannot be understood."""
    with st.container(border=True, height=HEIGHT):
        st.markdown("**The curves appear here** as soon as the values on the left can be used.")


def start(sweep: SweepConfig) -> None:
    """The button that queues what is missing, and what that will take."""
    runs = engine.store().runs()
    cells = look_up(sweep, runs)
    missing = [c for c in cells if not c.done and not _active(c)]
    if not missing:
        return
    left = seconds_left(missing, runs)
    took = "" if left is None else f" About {words.seconds(max(1.0, left))}."
    st.caption(f"{_count(cells)}, {len(missing)} to do.{took}")
    if st.button(
        "Run",
        type="primary",
        key="sweep_start",
        width="stretch",
        help="Queue the runs that are missing. Whatever else is asked for goes first; you can leave the page meanwhile.",
    ):
        for cell in missing:
            engine.queue().submit(cell.config, background=True)
        st.rerun()


def view(sweep: SweepConfig) -> None:
    """Lines and pictures; redraws itself while cells are worked on."""
    active = any(_active(c) for c in look_up(sweep, engine.store().runs()))
    st.fragment(_view, run_every=POLL if active else None)(sweep, active)


def _view(sweep: SweepConfig, was_active: bool) -> None:
    cells = look_up(sweep, engine.store().runs())
    active = [c for c in cells if _active(c)]
    if was_active and not active:
        st.rerun()  # a full run of the page stops the polling
    _progress(cells, active)
    measure, x = _axes(sweep)
    found = lines(sweep, cells, x)
    chosen = _chosen(cells)
    behind = [[row["run"] for row in line if row[measure] is not None] for line in found.values()]
    if found:
        st.plotly_chart(
            figures.sweep(
                found,
                x,
                measure,
                None if chosen is None or chosen.run is None else chosen.run.id,
                HEIGHT,
                getattr(sweep, x),
            ),
            key=_CHART,
            on_select=partial(_pick, behind),
            selection_mode="points",
            config={"displayModeBar": False},
            alt=f"{MEASURED[measure]} over {VARIED[x]}, a line for each method",
        )
    else:
        with st.container(border=True, height=HEIGHT):
            st.markdown(
                "**The first points come in a moment…**"
                if active
                else "**No point yet.** Each scan and method that gives a volume becomes one, with its pictures behind it."
                if any(c.run is not None for c in cells)
                else "**Ready.** Press *Run*: each scan and method becomes a point here, with its pictures behind it."
            )
    if chosen is not None:
        _pictures(chosen)
    if found:
        _numbers(cells, sweep.varied or ["num_views"])


def _progress(cells: list[Cell], active: list[Cell]) -> None:
    done = sum(c.done for c in cells)
    failed = [c for c in cells if c.run is not None and c.run.status == "failed"]
    with st.container(key="run_bar.sweep"):  # of one height, so that nothing below jumps when all are done
        if active:
            _at_work(cells, active, done)
        elif done == len(cells):
            st.caption(f"{_count(cells)}, all there.")
        else:
            st.caption(f"{done} of {_count(cells)} there.")
    told = words.without_volume([(_name(c), c.run.message) for c in failed if c.run is not None])
    if told:
        st.warning(f"{told[0]} *Run* tries again what is missing.")
    if told[1:]:
        with st.expander(f"And {len(told) - 1} more"):
            st.markdown("\n\n".join(told[1:]))


def _at_work(cells: list[Cell], active: list[Cell], done: int) -> None:
    bar, button = st.columns([4, 1], vertical_alignment="center")
    left = seconds_left(active, [c.run for c in cells if c.run is not None])
    about = "" if left is None else f", about {words.seconds(left)} left"
    shares = sum(engine.progress(c.run).share for c in active if c.run is not None)
    bar.progress(min(1.0, (done + shares) / len(cells)), text=f"{done} of {_count(cells)} done{about}")
    button.button(
        "Stop",
        key="sweep_stop",
        on_click=_stop,
        args=([c.run.id for c in active if c.run is not None],),
        width="stretch",
        help="Leave the rest undone. What is done stays; Run goes on from there.",
    )


def _count(cells: list[Cell]) -> str:
    return f"{len(cells)} run" + ("s" if len(cells) > 1 else "")


def _axes(sweep: SweepConfig) -> tuple[str, str]:
    """What is drawn up, and against what."""
    up, across = st.columns(2)
    with up:
        measure = st.segmented_control(
            "Measured",
            list(MEASURED),
            format_func=lambda m: MEASURED[m].split(" [")[0],
            default="psnr",
            required=True,
            key="sweep_measure",
            help="PSNR and SSIM: likeness to the reference, higher is better. RMSE: typical error of a voxel. Time: of "
            "the method alone, on this machine.",
        )
    varied = sweep.varied or ["num_views"]
    x = varied[0]
    if len(varied) > 1:
        with across:
            x = st.segmented_control(
                "Across",
                varied,
                format_func=lambda name: VARIED[name].split(" [")[0],
                default=varied[0],
                required=True,
                key="sweep_x",
                help="What the horizontal axis shows; the others become lines of their own.",
            )
    return measure or "psnr", x if x in varied else varied[0]


def _pick(runs: list[list[str]]) -> None:
    """A point was clicked: its run is the one to look at."""
    points = st.session_state[_CHART].selection.points
    if points:
        state.set_cell(runs[points[0]["curve_number"]][points[0]["point_index"]])


def _chosen(cells: list[Cell]) -> Cell | None:
    """The cell to look at: the one that was clicked, else the newest that is done."""
    done = [c for c in cells if c.run is not None and c.run.status in FINISHED]
    clicked = [c for c in done if c.run is not None and c.run.id == state.cell()]
    return next(iter(clicked or done[-1:]), None)


def _pictures(cell: Cell) -> None:
    assert cell.run is not None
    run, scan = cell.run, cell.config.scan
    future = engine.reference(scan)
    note = f"{run.metrics.psnr:.1f} dB" if run.metrics else ""
    st.caption(f"Below: {_name(cell)}. Click another point to see its volume.")
    parts = [Shown(_name(cell), engine.result_hu(run.id), note)]
    if future.done() and future.exception() is None:
        parts.append(Shown("Reference", engine.reference_hu(scan, parts[0].hu.shape)))
    viewer(
        parts,
        engine.geometry(scan),
        key="sweep_cell",
        layouts=("side", "difference", "swipe", "flicker", "planes"),
        window=window_for(scan.source),
        reference=len(parts) - 1,
        height=340,
    )


def _numbers(cells: list[Cell], varied: list[str]) -> None:
    with st.expander("Numbers"):
        column = st.column_config
        st.dataframe(
            pd.DataFrame([_row(c) for c in cells])[["Method", *(SHORT[n] for n in varied), *RESULTS]],
            hide_index=True,
            key="sweep_table",
            placeholder="–",  # of runs that are not done
            column_config={
                name: column.NumberColumn(format=format, help=words.MEASURES[name])
                for name, format in FORMATS.items()
            }
            | {
                SHORT["angle_range"]: column.NumberColumn(format="%g°"),
                SHORT["photons"]: column.TextColumn(alignment="right"),
            },
        )
        st.download_button(
            "Table (CSV)",
            lambda: table(cells).encode(),
            "tomopatch-sweep.csv",
            "text/csv",
            on_click="ignore",
            help="All runs with their scan and what was measured.",
        )


def _row(cell: Cell) -> dict[str, Any]:
    """A cell in the table, in words; the file has the names of the engine."""
    row = cell.row()
    return {
        "Method": METHODS[row["method"]].label,
        SHORT["num_views"]: row["num_views"],
        SHORT["angle_range"]: row["angle_range"],
        SHORT["photons"]: "no noise" if row["photons"] is None else words.count(row["photons"]),
        **{name: row[key] for name, key in RESULTS.items()},
    }


def _name(cell: Cell) -> str:
    scan = cell.config.scan
    parts = [METHODS[cell.config.method].label, value_words("num_views", scan.num_views)]
    parts += [value_words("angle_range", scan.angle_range), value_words("photons", scan.photons)]
    return ", ".join(parts)


def _stop(run_ids: list[str]) -> None:
    # the last first, so that none of them begins meanwhile
    refused = [engine.queue().cancel(run_id) for run_id in reversed(run_ids)]
    engine.toast(next(filter(None, refused), ""))


def _active(cell: Cell) -> bool:
    return cell.run is not None and cell.run.status in ACTIVE
