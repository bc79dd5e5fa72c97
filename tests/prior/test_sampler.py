import math

import pytest
import torch

from tomopatch.prior.sampler import karras_sigmas, sample
from tomopatch.progress import Interrupted, last

SPREAD = 0.5


def value(steps):
    """The value that the generator returns at its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def gaussian(x, sigma):
    """The exact denoiser of white Gaussian data N(0, SPREAD^2)."""
    return SPREAD**2 / (SPREAD**2 + sigma**2) * x


def flow(x, sigma, sigma_end):
    """Closed-form end point of the probability-flow ODE of that data from x."""
    return x * math.sqrt((SPREAD**2 + sigma_end**2) / (SPREAD**2 + sigma**2))


def test_levels_fall_from_the_largest_to_the_smallest_and_end_at_zero():
    sigmas = karras_sigmas(9, 0.02, 5.0, rho=7)
    assert sigmas[0] == pytest.approx(5.0)
    assert sigmas[-2] == pytest.approx(0.02)
    assert sigmas[-1] == 0
    assert sigmas == sorted(sigmas, reverse=True)
    assert karras_sigmas(1, 0.02, 5.0) == [pytest.approx(5.0), 0]
    with pytest.raises(ValueError, match="sigma_min <= sigma_max"):
        karras_sigmas(5, 1.0, 0.5)


@pytest.mark.parametrize(("order", "steps", "tolerance"), [(1, 200, 0.01), (2, 40, 0.004)])
def test_deterministic_sampling_follows_the_flow_of_a_gaussian(order, steps, tolerance, generator):
    """At equal accuracy the second-order solver needs a fraction of the steps."""
    x = 10.0 * torch.randn(64, 1, 1, generator=generator)
    sigmas = [*karras_sigmas(steps, 0.05, 10.0)[:-1]]
    end = value(sample(gaussian, x, sigmas, order=order))
    torch.testing.assert_close(end, flow(x, 10.0, 0.05), rtol=tolerance, atol=0)


def test_second_order_converges_faster(generator):
    x = 10.0 * torch.randn(64, 1, 1, generator=generator)
    errors = {}
    for order in (1, 2):
        for steps in (20, 40):
            end = value(sample(gaussian, x, karras_sigmas(steps, 0.05, 10.0)[:-1], order=order))
            errors[order, steps] = float((end - flow(x, 10.0, 0.05)).norm())
    assert errors[1, 20] / errors[1, 40] == pytest.approx(2, abs=0.6)
    assert errors[2, 20] / errors[2, 40] > 3


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samples_have_the_variance_of_the_data(eta, generator):
    x = 20.0 * torch.randn(4000, 2, 2, generator=generator)
    sigmas = karras_sigmas(80, 0.01, 20.0)[:-1]
    out = value(sample(gaussian, x, sigmas, order=1, eta=eta, generator=generator))
    # 16,000 numbers: 0.6 % by chance; the rest is the first-order step
    assert float(out.std()) == pytest.approx(math.hypot(SPREAD, 0.01), rel=0.06)


def test_the_correction_sees_falling_levels_and_has_the_last_word(generator):
    seen = []

    def correct(denoised, sigma):
        seen.append(sigma)
        return torch.full_like(denoised, 3.0)

    sigmas = karras_sigmas(6, 0.02, 1.0)
    out = last(sample(gaussian, torch.randn(4, 4, 4, generator=generator), sigmas, correct=correct)).x
    assert seen == sigmas[:-1]
    assert torch.equal(out, torch.full((4, 4, 4), 3.0))


def test_same_seed_same_bits_and_the_steps_are_counted():
    x, sigmas = torch.ones(3, 3, 3), karras_sigmas(7, 0.02, 1.0)
    runs = [
        list(sample(gaussian, x, sigmas, order=1, eta=1.0, generator=torch.Generator().manual_seed(s)))
        for s in (1, 1, 2)
    ]
    steps = runs[0]
    assert torch.equal(steps[-1].x, runs[1][-1].x)
    assert not torch.equal(steps[-1].x, runs[2][-1].x)
    assert [s.i for s in steps] == list(range(1, 8))
    assert all(s.total == 7 for s in steps)
    assert steps[0].sigma == sigmas[0]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_an_interrupted_pass_leaves_the_estimate_of_the_one_before(number):
    calls = []

    def stopping(x, sigma):
        calls.append(sigma)
        if len(calls) == number:
            raise Interrupted
        return gaussian(x, sigma)

    start, sigmas = torch.ones(2, 2, 2), karras_sigmas(5, 0.1, 1.0)
    if number == 1:
        with pytest.raises(Interrupted):
            last(sample(stopping, start, sigmas))
        return
    steps = []
    out = last(sample(stopping, start, sigmas), steps.append)
    assert len(steps) == number - 1
    assert out is steps[-1]


def test_a_callback_can_stop_after_a_step():
    seen = []

    def stop(step):
        seen.append(step)
        if step.i == 2:
            raise StopIteration

    out = last(sample(gaussian, torch.ones(2, 2, 2), karras_sigmas(5, 0.1, 1.0)), stop)
    assert len(seen) == 2
    assert out is seen[-1]
