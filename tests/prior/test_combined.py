"""The denoiser that combines the noisy volume with a condition."""

import math

import pytest
import torch

from tomopatch.phantoms.catalogue import phantom
from tomopatch.prior.combined import NEGLIGIBLE, CombinedDenoiser, combine
from tomopatch.prior.conditions import Condition
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import load_prior, priors


@pytest.fixture
def images(generator):
    """A noisy volume and a condition."""
    return torch.randn(4, 6, 8, generator=generator), torch.rand(4, 6, 8, generator=generator)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("error", [0.02, 0.1])
def test_with_a_denoiser_that_changes_nothing_it_is_the_gaussian_posterior_mean(images, sigma, error):
    """If the clean value is N(c, s^2) and x = clean + N(0, sigma^2), precisions add up.

    At high sigma D leaves out the contribution of x: at most a tenth of s for noise of one deviation.
    """
    x, c = images
    expected = (x / sigma**2 + c / error**2) / (1 / sigma**2 + 1 / error**2)
    combined, _ = combine(x, torch.tensor(sigma), c, error, 3 * error)
    torch.testing.assert_close(combined, expected, atol=1e-5, rtol=1e-5)
    D = CombinedDenoiser(lambda image, sigma: image, c, error, 3 * error)
    left_out = NEGLIGIBLE * error * (x - c).abs() / sigma if D.is_known(sigma) else torch.zeros(())
    assert bool(((D(x, sigma) - expected).abs() <= left_out + 1e-5).all())


def test_the_level_is_that_of_the_condition_at_high_sigma_and_sigma_at_low_sigma(images):
    x, c = images
    sigmas = []

    def restoring(image, sigma):
        sigmas.append(sigma)
        return image

    D = CombinedDenoiser(restoring, c, 0.05, 0.175)
    for sigma in (30.0, 0.05, 0.0005):
        D(x, sigma)
    assert sigmas[0] == pytest.approx(0.175, rel=1e-3)
    assert sigmas[1] == pytest.approx(math.hypot(0.175 / 2, 0.05 / 2))  # half of each error remains
    assert sigmas[2] == pytest.approx(0.0005, rel=0.1)


def test_the_level_of_white_errors_is_the_error_of_the_combined_image(generator):
    clean = torch.rand(24, 24, 24, generator=generator)
    c, x = (clean + s * torch.randn(clean.shape, generator=generator) for s in (0.1, 0.2))
    found = []
    CombinedDenoiser(lambda image, sigma: found.append((image, sigma)), c, 0.1, 0.1)(x, 0.2)
    (image, sigma), = found  # fmt: skip
    # 14,000 voxels determine a standard deviation to 0.6 %
    assert sigma == pytest.approx(float((image - clean).std()), rel=0.03)
    assert sigma < 0.1


@pytest.mark.parametrize("name", priors())
def test_a_shipped_prior_improves_a_blurred_condition_at_every_noise_level(name, generator):
    """D is nearer to the truth than the Gaussian posterior mean of x and the condition."""
    volume = phantom("thorax", (32, 64, 64))
    clean = PatchPrior.to_network(volume.data)
    blurred = torch.nn.functional.avg_pool3d(clean[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    error = float((blurred - clean).square().mean().sqrt())
    prior = load_prior(name, "cpu")
    condition = Condition(blurred if prior.config.conditional else None, error, sampling_ratio=0.1)
    bound = prior.bind(volume.geometry.voxel_size, condition=condition, generator=generator)
    D = CombinedDenoiser(bound, blurred, error, 2 * error)
    for sigma in (0.05, 0.3, 3.0):
        x = clean + sigma * torch.randn(clean.shape, generator=generator)
        gaussian = (x / sigma**2 + blurred / error**2) / (1 / sigma**2 + 1 / error**2)
        assert float((D(x, sigma) - clean).norm()) < float((gaussian - clean).norm())


def test_at_high_sigma_the_restored_condition_is_computed_once(images, generator):
    x, c = images
    calls = []

    def restoring(image, sigma):
        calls.append(sigma)
        return image + 0.01 * torch.rand(image.shape, generator=generator)

    D = CombinedDenoiser(restoring, c, 0.05, 0.175, generator)
    before = generator.get_state()
    first, second = D(x, 3.0), D(2 * x, 1.0)
    assert torch.equal(first, second)
    assert torch.equal(generator.get_state(), before)
    assert len(calls) == 1
    D(x, 0.3)
    assert len(calls) == 2
    again = CombinedDenoiser(restoring, c, 0.05, 0.175, generator)(x, 1.0)
    assert torch.equal(again, first)  # whatever was drawn before
