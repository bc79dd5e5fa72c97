"""View of a sweep: progress, plot, table, and the volume of the selected point."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.charts import figure_files, figures
from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import formatting, labels, messages
from pages.ui.viewer.scan_window import air_of, shared_view, window_of
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, placeholder, viewer
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.run import ACTIVE, FINISHED
from tomopatch.studies.sweep import (
    METRICS,
    QUANTITIES,
    Cell,
    SweepConfig,
    look_up,
    metrics_of,
    seconds_left,
    table,
)
from tomopatch.studies.sweep.numbers import number_of, with_unit
from tomopatch.studies.sweep.plot import lines, value_words

POLL = 1.0  # seconds
HEIGHT = 330
_CHART = "sweep_chart"
WITHOUT_UNIT = {name: label.split(" [")[0] for name, label in QUANTITIES.items()}
RESULTS = {"PSNR": "psnr", "SSIM": "ssim", "RMSE": "rmse_hu", "Time": "seconds"}
"""Columns of the table; the unit is part of each number."""
FORMATS = {"PSNR": "%.2f dB", "SSIM": "%.3f", "RMSE": "%.0f HU", "Time": "%.1f s"}
MEASURED_RESULTS = {"Held-out error": "held_out_relative", "Difference": "difference_hu", "Time": "seconds"}
FORMATS |= {"Held-out error": "%.2f %%", "Difference": "%.0f HU"}


def show_empty() -> None:
    """Show a hint while the values of the form are invalid."""
    with st.container(border=True, height=HEIGHT):
        st.markdown("**The curves appear here** as soon as the values on the left are valid.")


def start_button(sweep: SweepConfig) -> None:
    """Show the button that queues the missing runs, and the expected time."""
    runs = engine.store().runs()
    cells = look_up(sweep, runs)
    missing = [c for c in cells if not c.done and not _active(c)]
    if not missing:
        return
    left = seconds_left(missing, runs)
    about = "" if left is None else f" About {formatting.seconds(max(1.0, left))}."
    st.caption(f"{_count(cells)}, {len(missing)} to do.{about}")
    if st.button(
        "Run",
        type="primary",
        key="sweep_start",
        width="stretch",
        help="Queue the missing runs in the background, after all other runs. They continue when you leave "
        "the page.",
    ):
        for cell in missing:
            engine.queue().submit(cell.config, background=True)
        st.rerun()


def view(sweep: SweepConfig) -> None:
    """Show plot and pictures and refresh them while runs are active."""
    waiting = _waiting(look_up(sweep, engine.store().runs()))
    st.fragment(_view, run_every=POLL if waiting else None)(sweep, waiting)


def _waiting(cells: list[Cell]) -> bool:
    """Whether runs are active or the reference of the selected point is being prepared."""
    chosen = _chosen(cells)
    prepared = chosen is None or volume_cache.reference(chosen.config.scan).done()
    return not prepared or any(map(_active, cells))


def _view(sweep: SweepConfig, was_waiting: bool) -> None:
    cells = look_up(sweep, engine.store().runs())
    active = [c for c in cells if _active(c)]
    if was_waiting and not _waiting(cells):
        st.rerun()  # a full run of the page stops the polling
    _progress(cells, active)
    measure, x = _axes(sweep)
    found = lines(sweep, cells, x)
    chosen = _chosen(cells)
    run_ids = [[row["run"] for row in line if row[measure] is not None] for line in found.values()]
    figure = None
    if found:
        marked = None if chosen is None or chosen.run is None else chosen.run.id
        figure = figures.sweep(found, x, measure, marked, HEIGHT, sweep.values(x))
        st.plotly_chart(
            figure,
            key=_CHART,
            on_select=partial(_select, run_ids),
            selection_mode="points",
            config={"displayModeBar": False},
            alt=f"{METRICS[measure]} over {QUANTITIES[x]}, a line for each method",
        )
    else:
        with st.container(border=True, height=HEIGHT):
            st.markdown(
                "**The first points appear soon…**"
                if active
                else "**No points yet.** Each run that produces a volume becomes a point."
                if any(c.run is not None for c in cells)
                else "**Ready.** Press *Run*. Each run becomes a point here; click a point to see its volume."
            )
    if figure is not None:
        caption = labels.picture_caption([c.config.scan for c in cells], volume_cache.names())
        figure_files.download_buttons(figure, f"sweep-{measure}", caption, key="sweep")
    if chosen is not None:
        _pictures(chosen)
    if found:
        _numbers(cells, sweep)


def _progress(cells: list[Cell], active: list[Cell]) -> None:
    done = sum(c.done for c in cells)
    failed = [c for c in cells if c.run is not None and c.run.status == "failed"]
    with st.container(key="run_bar.sweep"):  # fixed height: nothing below moves when all are done
        if active:
            _active_bar(cells, active, done)
        else:
            st.caption(f"{done} of {len(cells)} done.")
    failures = messages.failed_runs([(_name(c), c.run.message) for c in failed if c.run is not None])
    if failures:
        st.warning(f"{failures[0]} Press *Run* to try the missing runs again.")
    if failures[1:]:
        with st.expander(f"And {len(failures) - 1} more"):
            st.markdown("\n\n".join(failures[1:]))


def _active_bar(cells: list[Cell], active: list[Cell], done: int) -> None:
    bar, button = st.columns([4, 1], vertical_alignment="center")
    left = seconds_left(active, [c.run for c in cells if c.run is not None])
    about = "" if left is None else f", about {formatting.seconds(left)} left"
    shares = sum(engine.progress(c.run).share for c in active if c.run is not None)
    bar.progress(min(1.0, (done + shares) / len(cells)), text=f"{done} of {_count(cells)} done{about}")
    button.button(
        "Stop",
        key="sweep_stop",
        on_click=_stop,
        args=([c.run.id for c in active if c.run is not None],),
        width="stretch",
        help="Cancel the unfinished runs. Finished ones stay; *Run* continues from there.",
    )


def _count(cells: list[Cell]) -> str:
    return formatting.plural(len(cells), "run")


def _axes(sweep: SweepConfig) -> tuple[str, str]:
    """Let the user choose the metric and the quantity of the horizontal axis."""
    up, across = st.columns(2)
    with up:
        measure = st.segmented_control(
            "Measured",
            list(metrics_of(sweep.scan)),
            format_func=lambda m: METRICS[m].split(" [")[0],
            default=next(iter(metrics_of(sweep.scan))),
            required=True,
            key="sweep_measure.measured" if isinstance(sweep.scan, MeasuredScan) else "sweep_measure",
            help=_measure_help(sweep),
        )
    varied = sweep.varied or ["num_views"]
    x = varied[0]
    if len(varied) > 1:
        with across:
            x = st.segmented_control(
                "Across",
                varied,
                format_func=lambda name: WITHOUT_UNIT[name],
                default=varied[0],
                required=True,
                key="sweep_x",
                help="Quantity on the horizontal axis. Each combination of the others has its own line.",
            )
    return measure or next(iter(metrics_of(sweep.scan))), x if x in varied else varied[0]


def _measure_help(sweep: SweepConfig) -> str:
    if isinstance(sweep.scan, MeasuredScan):
        return (
            "Held-out error: of views that were not used. Difference: to the stand-in, the reconstruction "
            "from all views. Lower is better."
        )
    return (
        "PSNR, SSIM: similarity to the reference; higher is better. RMSE: typical error of a voxel. "
        "Time: computing time of the method."
    )


def _select(runs: list[list[str]]) -> None:
    """Select the run of the clicked point."""
    points = st.session_state[_CHART].selection.points
    if points:
        state.set_sweep_run(runs[points[0]["curve_number"]][points[0]["point_index"]])


def _chosen(cells: list[Cell]) -> Cell | None:
    """Return the selected cell, or the newest finished one."""
    done = [c for c in cells if c.run is not None and c.run.status in FINISHED]
    clicked = [c for c in done if c.run is not None and c.run.id == state.sweep_run()]
    return next(iter(clicked or done[-1:]), None)


def _pictures(cell: Cell) -> None:
    assert cell.run is not None
    run, scan = cell.run, cell.config.scan
    future = volume_cache.reference(scan)
    note = labels.quality_note(run)
    st.caption(f"Below: {_name(cell)}. Click another point to see its volume.")
    parts = [ViewerVolume(_name(cell), volume_cache.result_hu(run.id), note)]
    if future.done() and future.exception() is None:
        parts.append(
            ViewerVolume(labels.reference_name(scan), volume_cache.reference_hu(scan, parts[0].hu.shape))
        )
    elif not future.done():
        parts.append(placeholder(parts[0].hu.shape, labels.reference_name(scan), "being prepared"))
    viewer(
        parts,
        volume_cache.geometry(scan),
        key="sweep_cell",
        options=ViewerOptions(
            layouts=("side", "difference", "swipe", "flicker", "planes", "render")
            if len(parts) > 1
            else ("planes", "render"),
            window=window_of(scan),
            fit=True,
            air=air_of(scan),
            view=shared_view(scan, "sweep_cell"),
            reference=len(parts) - 1,
            height=340,
            caption=labels.picture_caption([scan], volume_cache.names()),
        ),
    )


def _numbers(cells: list[Cell], sweep: SweepConfig) -> None:
    varied = sweep.varied or ["num_views"]
    results = MEASURED_RESULTS if isinstance(sweep.scan, MeasuredScan) else RESULTS
    with st.expander("Numbers"):
        column = st.column_config
        st.dataframe(
            pd.DataFrame([_row(c) for c in cells])[["Method", *(WITHOUT_UNIT[n] for n in varied), *results]],
            hide_index=True,
            key="sweep_table",
            placeholder="–",  # of unfinished runs
            column_config={
                name: column.NumberColumn(format=format, help=labels.METRIC_HELP[name])
                for name, format in FORMATS.items()
            }
            | {
                WITHOUT_UNIT["angle_range"]: column.NumberColumn(format="%g°"),
                WITHOUT_UNIT["photons"]: column.TextColumn(alignment="right"),
            }
            | {
                WITHOUT_UNIT[name]: column.NumberColumn(format=with_unit(name, "%g"))
                for name in sweep.effects
            },
        )
        st.download_button(
            "Table (CSV)",
            lambda: table(cells).encode(),
            "tomopatch-sweep.csv",
            "text/csv",
            on_click="ignore",
            help="All runs with their scan settings and metrics.",
        )


def _row(cell: Cell) -> dict[str, Any]:
    """Return a row of the table with labels; the CSV file has the names of the engine."""
    row = cell.row()
    if isinstance(cell.config.scan, MeasuredScan):
        relative = row["held_out_relative"]
        return {
            "Method": METHODS[row["method"]].label,
            WITHOUT_UNIT["num_views"]: row["num_views"],
            WITHOUT_UNIT["angle_range"]: row["angle_range"],
            **{name: row[key] for name, key in MEASURED_RESULTS.items()},
            "Held-out error": None if relative is None else 100 * relative,
        }
    return {
        "Method": METHODS[row["method"]].label,
        WITHOUT_UNIT["num_views"]: row["num_views"],
        WITHOUT_UNIT["angle_range"]: row["angle_range"],
        WITHOUT_UNIT["photons"]: "no noise" if row["photons"] is None else formatting.count(row["photons"]),
        **{WITHOUT_UNIT[name]: row[name] for name in cell.effects},
        **{name: row[key] for name, key in RESULTS.items()},
    }


def _name(cell: Cell) -> str:
    scan = cell.config.scan
    parts = [METHODS[cell.config.method].label, value_words("num_views", scan.num_views)]
    if isinstance(scan, MeasuredScan):
        parts += [] if scan.angle_range is None else [value_words("angle_range", scan.angle_range)]
        return ", ".join(parts)
    parts += [value_words("angle_range", scan.angle_range), value_words("photons", scan.photons)]
    return ", ".join([*parts, *(value_words(name, number_of(scan, name)) for name in cell.effects)])


def _stop(run_ids: list[str]) -> None:
    # in reverse order, so that no further run starts meanwhile
    refused = [engine.queue().cancel(run_id) for run_id in reversed(run_ids)]
    engine.show_refusal(next(filter(None, refused), ""))


def _active(cell: Cell) -> bool:
    return cell.run is not None and cell.run.status in ACTIVE
