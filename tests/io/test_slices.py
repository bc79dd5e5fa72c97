"""Stacks of slices: order and scale make no difference to what is read and to what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomopatch.io.slices import Slice, arrange, even_heights, evenly, spacings

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


def stack(heights, *, scale: float = 1.0, order=None) -> list[Slice]:
    """Axial slices of 8 x 8 pixels of 0.7 mm at these heights [mm], all lengths times `scale`."""
    slices = [
        Slice(
            f"slice {k}",
            (8, 8),
            scale * np.array([-3.0, 4.0, z]),
            np.array([1.0, 0, 0, 0, 1, 0]),
            scale * np.array([0.7, 0.7]),
        )
        for k, z in enumerate(heights)
    ]
    return slices if order is None else [slices[k] for k in order]


def outcome(slices: list[Slice]) -> tuple:
    """Heights in units of the first gap where they are read; the kind of refusal where they are not."""
    try:
        found = arrange(slices, "it")
    except ValueError as error:
        text = str(error)
        return (next(word for word in ("same place", "hole", "sideways", "single") if word in text),)
    heights = found.heights if found.wanted is None else found.wanted
    return (
        len(heights),
        found.wanted is None,
        round(float((heights[-1] - heights[0]) / (heights[1] - heights[0])), 3),
    )


@st.composite
def gaps(draw) -> list[float]:
    """Distances of slices [mm]: even, two spacings, jitter, holes, duplicates."""
    base = draw(st.sampled_from([0.6, 1.0, 3.0]))
    found = [base] * draw(st.integers(2, 12))
    kind = draw(st.sampled_from(["even", "two", "hole", "duplicate", "jitter"]))
    if kind == "two":
        found += [base * draw(st.sampled_from([1.5, 2.0, 5.0]))] * draw(st.integers(2, 12))
    elif kind != "even":
        k = draw(st.integers(0, len(found) - 1))
        found[k] *= {"hole": 3.0, "duplicate": 0.0, "jitter": 1.2}[kind]
    return found


@PROPERTY
@given(gaps(), st.floats(0.5e-3, 20), st.integers(0, 99))
def test_order_and_scale_change_nothing(distances, scale, seed):
    heights = np.concatenate([[0], np.cumsum(distances)])
    order = np.random.default_rng(seed).permutation(len(heights))
    assert outcome(stack(heights, scale=scale, order=order)) == outcome(stack(heights))


@PROPERTY
@given(gaps(), st.floats(-5, 5), st.floats(-100, 100))
def test_interpolated_slices_are_even_span_the_same_and_keep_a_ramp(distances, slope, offset):
    heights = np.concatenate([[0], np.cumsum([max(d, 0.1) for d in distances])])
    wanted = even_heights(heights)
    assert wanted[0] == heights[0]
    assert wanted[-1] == pytest.approx(heights[-1])
    assert np.ptp(np.diff(wanted)) < 1e-9 * heights[-1] + 1e-12
    ramp = evenly((slope * heights + offset)[:, None], heights, wanted)
    np.testing.assert_allclose(ramp[:, 0], slope * wanted + offset, atol=1e-9)


@pytest.mark.parametrize(
    ("distances", "words"),
    [
        ([3.0] * 7 + [6.0] * 8, "3 and 6 mm apart"),
        ([6.0] * 3 + [3.0] * 5, "3 and 6 mm apart"),
        ([2.1, 2.5, 2.9], "2.1 to 2.9 mm apart"),
        ([0.65e-3] * 4 + [1.3e-3] * 4, "0.00065 and 0.0013 mm apart"),
    ],
)
def test_notes_state_the_spacings(distances, words):
    assert spacings(np.concatenate([[0], np.cumsum(distances)])) == words


@pytest.mark.parametrize(
    ("distances", "refused"),
    [
        ([3.0] * 7 + [6.0] * 8, False),
        ([3.0] * 11 + [6.0] * 7, False),
        ([6.0] * 8 + [3.0] * 7, False),
        ([3.0, 3, 4.5, 6, 6], False),  # the interval between two blocks
        ([3.0, 3, 6, 3, 3], True),
        ([3.0, 3, 9, 3, 3], True),
        ([6.0, 3, 3, 3], True),  # at an end
        ([3.0, 6, 3, 6, 3], True),
        ([3.0, 3, 9, 6, 6], False),
    ],
)
def test_a_wide_gap_among_narrow_ones_is_a_hole_and_a_block_of_them_is_not(distances, refused):
    heights = np.concatenate([[0], np.cumsum(distances)])
    if refused:
        with pytest.raises(ValueError, match="has a hole of"):
            arrange(stack(heights), "it")
    else:
        assert arrange(stack(heights), "it").wanted is not None
