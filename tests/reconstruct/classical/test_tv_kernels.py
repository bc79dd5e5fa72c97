"""The two halves of an iteration of total variation, against their formulas."""

import numpy as np
import pytest
import torch

from tomopatch.reconstruct.classical import tv_kernels
from tomopatch.reconstruct.classical.tv_kernels import ascend, descend

RATIO = (0.4, 1.0, 0.7)
SHAPES = [(4, 6, 8), (1, 5, 7), (5, 1, 3), (3, 4, 1), (1, 1, 1)]


def difference(x):
    """D x (3, z, y, x): forward, zero at the far ends."""
    pairs = zip(RATIO, range(3), strict=True)
    return np.stack([r * np.diff(x, axis=a, append=x.take([-1], a)) for r, a in pairs])


def dual(rng, shape):
    """Any q that an iteration may meet: zero at the far ends."""
    q = rng.normal(size=(3, *shape))
    q[0, -1], q[1, :, -1], q[2, :, :, -1] = 0, 0, 0
    return q


def tensor(a):
    return torch.from_numpy(a.astype(np.float32))


@pytest.fixture(params=["kernels", "torch"], autouse=True)
def way(request, monkeypatch):
    """By our kernels, and by torch's operations as on a GPU."""
    if request.param == "torch":
        monkeypatch.setattr(tv_kernels, "has_kernels", lambda x: False)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("low", "high"), [(None, None), (0.0, None), (-0.2, 0.3)])
def test_the_volume_goes_down_the_gradient_and_stays_within_its_limits(rng, shape, low, high):
    x, gradient, steps, q = (
        rng.normal(size=shape),
        rng.normal(size=shape),
        rng.random(shape),
        dual(rng, shape),
    )
    basis = np.eye(x.size).reshape(-1, *shape)
    slope = np.array([(difference(e) * q).sum() for e in basis]).reshape(shape)  # D^T q, by its definition
    expected = np.clip(x - steps * (gradient + slope), low, high)
    now = tensor(x)
    moved, ahead = descend(
        now, tensor(q), tensor(gradient), tensor(steps), ratio=RATIO, relaxation=1.8, low=low, high=high
    )
    # float32, and sums of a dozen terms of about 1
    assert np.allclose(moved, expected, atol=1e-5)
    assert np.allclose(ahead, 2 * expected - x, atol=1e-5)
    assert np.allclose(now, x + 1.8 * (expected - x), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lam", [0.0, 0.5, 100.0])
def test_the_dual_goes_up_the_differences_and_is_no_longer_than_the_weight(rng, shape, lam):
    q, ahead, step, relaxation = dual(rng, shape), rng.normal(size=shape), 0.6, 1.3
    raised = q + step * difference(ahead)
    length = np.sqrt((raised**2).sum(0))
    shortened = raised * np.where(length > lam, lam / np.maximum(length, 1e-9), 1)
    now = tensor(q)
    ascend(now, tensor(ahead), ratio=RATIO, step=step, lam=lam, relaxation=relaxation)
    assert np.allclose(now, q + relaxation * (shortened - q), atol=1e-5)
    assert now[0, -1].abs().max() == now[1, :, -1].abs().max() == now[2, :, :, -1].abs().max() == 0
