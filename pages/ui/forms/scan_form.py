"""Form of the scan: scanner, views, angle range, dose, beam and distances."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from pages.ui.forms import detector_form
from pages.ui.forms.detector_form import Number
from pages.ui.session import state
from pages.ui.texts import formatting
from tomopatch.geometry.scanners import SCANNERS, Scanner
from tomopatch.physics.measurement import FULL_DOSE_PHOTONS
from tomopatch.runs.config import MAX_VIEWS, ScanConfig
from tomopatch.volume import Shape

VIEWS = [*range(1, 41), *range(45, 121, 5), *range(130, 361, 10), 400, 500, 600, 720, 900, 984, 1200, 1500]
PHOTONS: list[float] = [round(m * 10**e) for e in (3, 4, 5) for m in (1, 1.5, 2, 3, 5, 7)] + [1e6]
BEAMS = {"parallel": "Parallel", "cone": "Cone"}
DISTANCES = (
    Number(
        "src_orig",
        "Source to axis [mm]",
        10.0,
        5000.0,
        10.0,
        "Distance from the X-ray source to the rotation axis.",
    ),
    Number(
        "src_det",
        "Source to detector [mm]",
        20.0,
        10000.0,
        10.0,
        "Distance from the X-ray source to the detector. The ratio of both distances is the magnification.",
    ),
)


def fill(scan: ScanConfig | None) -> None:
    """Set fields without a value to those of the scan."""
    s = scan or ScanConfig("phantom:thorax:0", photons=1e5)
    pixel, shape = s.pixel_size or (1.0, 1.0), s.det_shape or (128, 256)
    turns = s.angle_range / 360 if s.pitch else 2.0
    state.fill(
        {
            "scanner": _scanner_of(s),
            "beam": s.beam,
            "views": s.num_views,
            "range": float(min(360.0, s.angle_range) if s.pitch else s.angle_range),
            "start": s.start,
            "src_orig": s.src_orig_dist,
            "src_det": s.src_det_dist,
            "fitted": s.det_shape is None,
            "rows": shape[0],
            "columns": shape[1],
            "pixel_v": pixel[0],
            "pixel_u": pixel[1],
            "shift_v": s.det_offset[0],
            "shift_u": s.det_offset[1],
            "tilt": s.tilt,
            "pitch": s.pitch,
            "turns": turns,
            "noise": s.photons is not None,
            "photons": _nearest(s.photons or FULL_DOSE_PHOTONS),
            "seed": s.seed,
            "same_grid": s.same_grid,
            "listed": detector_form.listed_text(s),
        }
    )


def draw(height: float) -> None:
    """Draw the controls for a volume of this height [mm]."""
    st.selectbox(
        "Scanner",
        list(SCANNERS),
        key=state.field("scanner"),
        format_func=lambda k: SCANNERS[k].label,
        on_change=_take_preset,
        help="Distances and detector of a class of real scanners. You can change all settings below.",
    )
    scanner = SCANNERS[state.value("scanner")]
    st.caption(f"{scanner.source} It usually takes {scanner.num_views} views.{_changed(scanner)}")
    helical = _helical()
    listed = bool(state.value("listed").strip())
    _views(disabled=listed)
    _angle_range(disabled=helical or listed)
    _dose()
    st.segmented_control(
        "Beam",
        list(BEAMS),
        format_func=lambda b: BEAMS[b],
        key=state.field("beam"),
        required=True,
        on_change=_take_beam,
        help="Parallel rays (textbooks, synchrotrons), or rays from a point source to a flat detector "
        "(hospitals).",
    )
    cone = state.value("beam") == "cone"
    if cone:
        _distances()
    section = st.expander("Detector and orbit", key="acquire.detector", on_change="rerun")
    if section.open:  # hidden controls would double the browser's work for each change
        with section, st.container(key="pairs.detector"):
            detector_form.detector()
            detector_form.orbit(cone, height)


# ---- parts --------------------------------------------------------------------------------------------


def _helical() -> bool:
    return state.value("beam") == "cone" and state.value("pitch", 0.0) > 0


def _views(*, disabled: bool) -> None:
    slider, typed = _slider_and_number("views")
    slider.select_slider(
        "Views",
        sorted({*VIEWS, state.value("views")}),
        key=state.field("views"),
        disabled=disabled,
        help="Number of X-ray pictures. Fewer views mean less dose and time, and more streaks.",
    )
    _type(typed, Number("views", "Number of views", 1, MAX_VIEWS, 1, "Any number of views."), disabled)


def _angle_range(*, disabled: bool) -> None:
    slider, typed = _slider_and_number("range")
    low, high = min(10.0, state.value("range")), max(360.0, state.value("range"))
    slider.slider(
        "Angle range",
        low,
        high,
        step=1.0,
        format="%g°",
        key=state.field("range"),
        disabled=disabled,
        help="Angle over which the views are spread. A parallel beam needs 180°, a cone beam 180° plus its "
        "fan angle. Otherwise edges vanish.",
    )
    _type(
        typed,
        Number("range", "Angle range in degrees", low, high, 1.0, "Any angle range in degrees."),
        disabled,
    )


def _slider_and_number(name: str) -> Any:
    """Return places for a slider and for a field with the same value."""
    with st.container(key=f"pairs.{name}"):
        return st.columns([1.9, 1], vertical_alignment="bottom")


def _type(column: Any, number: Number, disabled: bool) -> None:
    """Draw a field for the value of the slider with the name of the number."""
    name = number.name
    state.fill({f"{name}.typed": type(number.low)(state.value(name))}, overwrite=True)
    typed = number._replace(name=f"{name}.typed")
    typed.draw(column, disabled=disabled, on_change=partial(_take_typed, name), label_visibility="collapsed")


def _take_typed(name: str) -> None:
    """Set the slider to the typed number."""
    state.fill({name: state.value(f"{name}.typed")}, overwrite=True)


def _dose() -> None:
    noisy = st.toggle(
        "Photon noise",
        key=state.field("noise"),
        help="X-rays arrive as single photons: fewer photons, more noise. Off: a measurement without noise.",
    )
    slider, typed = _slider_and_number("photons")
    slider.select_slider(
        "Photons per ray",
        sorted({*PHOTONS, state.value("photons")}),
        key=state.field("photons"),
        disabled=not noisy,
        format_func=formatting.count,
        help="Photons per ray before the object. A routine diagnostic scan uses 100\u202f000. The dose is "
        "proportional to photons and views.",
    )
    number = Number("photons", "Number of photons per ray", 1, 10**8, 1000, "Any number of photons per ray.")
    _type(typed, number, not noisy)


def _distances() -> None:
    with st.container(key="pairs.distances"):
        columns = st.columns(2, vertical_alignment="bottom")  # a label can take two lines
    for column, number in zip(columns, DISTANCES, strict=True):
        number.draw(column)


def scan_of(source: str, grid: Shape) -> ScanConfig:
    """Return the scan of the controls.

    Raises
    ------
    ValueError
        If a value is impossible.
    """
    v, cone, helical = state.value, state.value("beam") == "cone", _helical()
    fitted = v("fitted")
    angles, vectors = detector_form.listed_views()
    return ScanConfig(
        source=source,
        grid=grid,
        beam=v("beam"),
        num_views=len(angles or vectors) or int(v("views")),
        angle_range=360.0 * v("turns") if helical else v("range"),
        start=v("start"),
        **({"src_orig_dist": v("src_orig"), "src_det_dist": v("src_det")} if cone else {}),
        pixel_size=None if fitted else (v("pixel_v"), v("pixel_u")),
        det_shape=None if fitted else (int(v("rows")), int(v("columns"))),
        det_offset=(v("shift_v"), v("shift_u")),
        tilt=v("tilt"),
        pitch=v("pitch") if cone else 0.0,
        photons=float(v("photons")) if v("noise") else None,
        seed=int(v("seed")),
        same_grid=v("same_grid"),
        angles=angles,
        vectors=vectors,
    )


def _scanner_of(scan: ScanConfig) -> str:
    """Return the scanner with the scan's distances, or the generic one for its beam."""
    distances = (scan.src_orig_dist, scan.src_det_dist)
    known = (
        name
        for name, s in SCANNERS.items()
        if s.beam == scan.beam == "cone" and (s.src_orig_dist, s.src_det_dist) == distances
    )
    return next(known, scan.beam)


def _changed(scanner: Scanner) -> str:
    """Return a note if the distances differ from the scanner's."""
    now = (state.value("src_orig"), state.value("src_det"))
    if state.value("beam") != "cone" or now == (scanner.src_orig_dist, scanner.src_det_dist):
        return ""
    return f" You have changed the distances to {now[0]:g} and {now[1]:g} mm."


def _take_preset() -> None:
    """Set the form to the chosen scanner; views and dose keep their values."""
    s = SCANNERS[state.value("scanner")]
    values: dict[str, Any] = {
        "beam": s.beam,
        "range": round(s.angle_range * 180 / 3.141592653589793, 3),
        "pitch": 0.0,
        "tilt": 0.0,
        "fitted": s.det_shape is None,
        "shift_v": s.det_offset[0],
        "shift_u": s.det_offset[1],
    }
    if s.src_orig_dist is not None and s.src_det_dist is not None:
        values |= {"src_orig": s.src_orig_dist, "src_det": s.src_det_dist}
    if s.det_shape is not None and s.pixel_size is not None:
        values |= {"rows": s.det_shape[0], "columns": s.det_shape[1]}
        values |= {"pixel_v": s.pixel_size[0], "pixel_u": s.pixel_size[1]}
    state.fill(values, overwrite=True)


def _take_beam() -> None:
    """Adapt scanner and a complete angle range to the chosen beam."""
    beam = state.value("beam")
    full = {"parallel": 180.0, "cone": 360.0}
    values: dict[str, Any] = {"scanner": beam}
    if state.value("range") in full.values():
        values["range"] = full[beam]
    state.fill(values, overwrite=True)


def _nearest(photons: float) -> float:
    """Return the slider's value equal to this one up to rounding, or else the value itself."""
    return next((p for p in PHOTONS if abs(p - photons) < 1e-9 * photons), photons)
