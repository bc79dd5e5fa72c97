"""History of a run for replays, and its animations."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from tomopatch import MU_WATER
from tomopatch.analysis.metrics import quality
from tomopatch.execution.monitor import RunMonitor
from tomopatch.export.animations import MAX_SLICES, gif_bytes, slices_gif_bytes
from tomopatch.progress import Step, Tiles
from tomopatch.store.history import (
    FRAMES,
    MAX_BYTES,
    SNAPSHOT_VOXELS,
    Frame,
    History,
    Point,
    read_history,
    read_trace,
    reduced_shape,
    write_trace,
)
from tomopatch.volume import Volume, VolumeGeometry


def watched(tmp_path, total, stop_at=None, shape=(4, 6, 8), start=0):
    """Write the history of a run whose steps are constant volumes of their number in HU."""
    history = History(tmp_path)
    for stage, count in (("initial", start), ("", total)):
        for i in range(1, count + 1):
            x = torch.full(shape, MU_WATER * (1 + i / 1000))
            step = Step(i, count, x, stage=stage, tiles=Tiles((2, 2, 2), ((0, 2, 4),)))
            history.add(step, Point(i, count, stage), last=i == stop_at)
            if i == stop_at:
                break
    return read_history(tmp_path)


@pytest.mark.parametrize("total", [1, 2, 6, 20, 21, 100, 777])
def test_first_last_and_evenly_spaced_steps_are_stored(tmp_path, total):
    frames = watched(tmp_path, total)
    kept = [f.point.i for f in frames]
    assert kept[0] == 1
    assert kept[-1] == total
    assert len(kept) <= FRAMES[""] + 2
    gaps = np.diff([0, *kept[1:-1]])
    assert len(set(gaps[1:].tolist())) <= 1
    for frame in frames:
        assert frame.volumes["x"].dtype == np.int16
        assert np.all(frame.volumes["x"] == frame.point.i)
        assert frame.tiles == Tiles((2, 2, 2), ((0, 2, 4),))


def test_an_initial_reconstruction_has_few_frames(tmp_path):
    stages = [f.point.stage for f in watched(tmp_path, 6, start=100)]
    assert stages == ["initial"] * 5 + [""] * 6


def test_the_step_at_which_a_run_was_stopped_is_the_last_frame(tmp_path):
    assert [f.point.i for f in watched(tmp_path, 100, stop_at=17)] == [1, 5, 10, 15, 17]


def test_snapshots_are_reduced_in_proportion_and_the_history_is_bounded(tmp_path):
    assert reduced_shape((64, 128, 128), SNAPSHOT_VOXELS) == (48, 96, 96)
    assert reduced_shape((8, 8, 8), SNAPSHOT_VOXELS) == (8, 8, 8)
    big = (100, 150, 120)
    frame = watched(tmp_path, 3, shape=big)[0]
    assert frame.volumes["x"].size <= SNAPSHOT_VOXELS
    assert np.all(frame.volumes["x"] == 1)  # means stay
    per_frame = 3 * 2 * SNAPSHOT_VOXELS
    assert per_frame * sum(n + 2 for n in FRAMES.values()) <= MAX_BYTES


def test_a_damaged_history_is_reported(tmp_path):
    watched(tmp_path, 3)
    (tmp_path / "history" / "001-x.npy").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged"):
        read_history(tmp_path)
    assert read_history(tmp_path / "elsewhere") == []


def test_figures_survive_the_disk(tmp_path):
    points = [Point(1, 2, "initial", 0.5, 0.3), Point(2, 2, "", 1.0, None, 0.1, 30.0)]
    write_trace(tmp_path, points)
    assert read_trace(tmp_path) == tuple(points)
    assert read_trace(tmp_path / "elsewhere") == ()


def monitor_of(tmp_path, requested=lambda: None, reference=None):
    events = []
    monitor = RunMonitor(tmp_path, lambda **event: events.append(event), requested)
    monitor.begin(reference=reference)
    return monitor, events


def test_the_psnr_of_the_last_step_equals_that_of_the_result(tmp_path, blobs, generator):
    """The last value of the curve equals the value in the table."""
    monitor, events = monitor_of(tmp_path, reference=blobs)
    noisy = blobs.data + 0.1 * MU_WATER * torch.randn(blobs.shape, generator=generator)
    monitor(Step(1, 1, noisy))
    expected = quality(blobs, Volume(noisy, blobs.geometry)).psnr
    assert events[-1]["point"]["psnr"] == pytest.approx(expected, abs=1e-3)
    assert read_history(tmp_path)[0].point.psnr == events[-1]["point"]["psnr"]


def test_psnr_is_left_out_without_a_reference_on_the_same_grid(tmp_path, blobs):
    monitor, events = monitor_of(tmp_path)
    monitor(Step(1, 2, blobs.data))
    assert events[-1]["point"]["psnr"] is None
    coarse, events = monitor_of(tmp_path, reference=blobs)
    coarse(Step(1, 2, blobs.data[::2, ::2, ::2]))  # a stage on a coarser grid
    assert events[-1]["point"]["psnr"] is None


def test_a_stop_request_stops_the_run_after_storing_the_step(tmp_path, blobs):
    monitor, _ = monitor_of(tmp_path, requested=lambda: "finish")
    with pytest.raises(StopIteration):
        monitor(Step(7, 100, blobs.data))
    assert [f.point.i for f in read_history(tmp_path)] == [7]
    assert monitor.stop_request == "finish"


# ---- animations ---------------------------------------------------------------------------------------

VG = VolumeGeometry((8, 12, 16), (3.0, 2.0, 1.0))


def frames(count=5):
    """A bright slab that rises along z from frame to frame, on air."""
    out = []
    for k in range(count):
        hu = np.full(VG.shape, -1000, np.int16)
        hu[k, :, :] = 400
        out.append(Frame(Point(k + 1, count, sigma=0.1, psnr=20.0 + k), {"x": hu, "noisy": hu}))
    return out


def panels(data):
    picture = Image.open(io.BytesIO(data))
    for k in range(picture.n_frames):
        picture.seek(k)
        yield np.asarray(picture.convert("L"))


def test_animation_has_a_picture_for_each_snapshot_and_rests_on_the_last():
    picture = Image.open(io.BytesIO(gif_bytes(frames(), VG, parts=[("x", "SIRT")])))
    assert picture.n_frames == 5
    durations = []
    for k in range(5):
        picture.seek(k)
        durations.append(picture.info["duration"])
    assert durations[-1] > 3 * durations[0]


def test_animation_shows_the_chosen_slice_with_the_head_up():
    data = gif_bytes(frames(), VG, parts=[("x", "SIRT")], planes=["coronal"], cursor=(0.5, 0.5, 0.5))
    rows = [picture[24:-24].mean(1).argmax() for picture in panels(data)]
    assert rows == sorted(rows, reverse=True)  # the slab rises
    assert rows[0] > rows[-1]
    axial = list(panels(gif_bytes(frames(), VG, parts=[("x", "SIRT")], cursor=(2.5 / 8, 0.5, 0.5))))
    bright = [picture[24:-24].mean() for picture in axial]
    assert np.argmax(bright) == 2  # the slab passes the chosen slice in the third frame


def test_animations_use_the_given_window():
    wide = list(panels(gif_bytes(frames(1), VG, parts=[("x", "")], cursor=(0, 0, 0), window=(-1000, 1800))))
    assert wide[0][30:-30, 20:-20].mean() == pytest.approx(127.5, abs=2)  # 400 HU is the middle


@pytest.mark.parametrize("parts", [[("x", "a")], [("noisy", "a"), ("denoised", "b"), ("x", "c")]])
@pytest.mark.parametrize("planes", [["sagittal"], ["axial", "coronal", "sagittal"]])
def test_animations_stay_within_their_limits(parts, planes):
    data = gif_bytes(frames(3), VolumeGeometry(VG.shape, (1.0, 40.0, 40.0)), parts=parts, planes=planes)
    picture = Image.open(io.BytesIO(data))
    assert picture.width <= 960
    assert picture.n_frames == 3  # a part that a frame lacks stays black


def test_an_animation_without_snapshots_is_refused():
    with pytest.raises(ValueError, match="no snapshots"):
        gif_bytes([], VG, parts=[("x", "SIRT")])


def test_a_walk_goes_through_all_slices_of_the_volumes_side_by_side():
    """The slices of one volume become brighter, those of the other darker."""
    rise = np.linspace(-1000, 1000, VG.shape[1], dtype=np.float32)[None, :, None] * np.ones(
        (*VG.shape,), "f4"
    )
    data = slices_gif_bytes([("up", rise), ("down", -rise)], VG, plane="coronal", window=(-1000, 1000))
    pictures = [picture[24:-24].astype(float) for picture in panels(data)]
    half = pictures[0].shape[1] // 2
    left = [p[:, : half - 4].mean() for p in pictures]
    right = [p[:, half + 4 :].mean() for p in pictures]
    assert len(pictures) == VG.shape[1]
    assert left == sorted(left)
    assert left[-1] > 250
    assert right == sorted(right, reverse=True)
    assert right[-1] < 5


@pytest.mark.parametrize("count", [1, 4, 8])
def test_walks_stay_within_their_limits_and_show_all_volumes(count):
    vg = VolumeGeometry((300, 8, 8), (1.0, 20.0, 20.0))
    volumes = [("a name that is far too long for its picture", np.full(vg.shape, 1000, "<i2"))] * count
    data = slices_gif_bytes(volumes, vg, window=(-1000, 1000))
    picture = Image.open(io.BytesIO(data))
    assert picture.width <= 960
    assert MAX_SLICES / 2 < picture.n_frames <= MAX_SLICES
    white = next(panels(data)) > 250
    assert (white.mean(0) > 0.7).mean() > 0.95  # nearly every column of pixels belongs to a volume


def test_tiles_of_an_earlier_version_were_cubes_of_one_number(tmp_path):
    watched(tmp_path, 1)
    index = tmp_path / "history" / "index.json"
    entries = json.loads(index.read_text())
    for entry in entries:
        entry["tiles"]["size"] = 2
    index.write_text(json.dumps(entries))
    assert read_history(tmp_path)[0].tiles == Tiles((2, 2, 2), ((0, 2, 4),))
