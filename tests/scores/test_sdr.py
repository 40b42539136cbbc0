import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stemwise.scores.sdr import framewise_sdr, mean_sdr, si_sdr

RATE_HZ = 1000


@pytest.fixture(scope="module")
def museval():
    """Metrics of museval, by their path: the package refuses to be imported without ffmpeg."""
    (folder,) = importlib.util.find_spec("museval").submodule_search_locations
    spec = importlib.util.spec_from_file_location("metrics", Path(folder) / "metrics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def pair(seed=0, samples=5 * RATE_HZ, distortion=0.3):
    reference = noise(3, samples, seed=seed)
    return reference, reference + distortion * noise(3, samples, seed=seed + 100)


def sdr(reference, estimate):
    return framewise_sdr(reference=reference, estimate=estimate, sample_rate_hz=RATE_HZ)


def sdr_by(museval, reference, estimate, taps=16):
    """museval.evaluate's call of its metrics (v4), one part at a time, with windows of 1 s.

    Its 512 taps make no difference to the SDR, and take long.
    """
    return np.stack(
        [
            museval.bss_eval(s, e, window=RATE_HZ, hop=RATE_HZ, filters_len=taps)[0][0]
            for s, e in zip(reference.numpy()[:, None], estimate.numpy()[:, None], strict=True)
        ]
    )


@pytest.mark.parametrize("samples", [999, 1000, 1001, 1999, 2000, 4750])
def test_equals_museval_whatever_the_length(museval, samples):
    reference, estimate = pair(samples=samples)
    found = sdr(reference, estimate)
    assert found.shape == (3, max(1, samples // RATE_HZ))
    np.testing.assert_allclose(found, sdr_by(museval, reference, estimate), atol=1e-9, rtol=0)


def test_equals_museval_where_windows_are_silent(museval):
    reference, estimate = pair()
    reference[0, 1000:2000] = 0
    estimate[0, 3000:4000] = 0
    reference[1, 1000:1999] = 0  # but one sample
    reference[2, 2000:3000] = estimate[2, 2000:3000] = 0
    wanted = sdr_by(museval, reference, estimate, taps=512)
    assert np.isnan(wanted).sum() == 3
    np.testing.assert_allclose(sdr(reference, estimate), wanted, atol=1e-9, rtol=0)


def test_equals_museval_for_estimates_of_other_kinds(museval):
    reference, _ = pair()
    for estimate in (
        -reference,
        0.1 * reference,
        reference.roll(7, dims=-1),
        noise(3, 5 * RATE_HZ, seed=5),
        reference + 1.0,
    ):
        wanted = sdr_by(museval, reference, estimate)
        np.testing.assert_allclose(sdr(reference, estimate), wanted, atol=1e-9, rtol=0)


def test_is_not_the_sdr_of_bss_eval_sources(museval):
    """That one forgives any filter of 512 taps, such as a delay."""
    reference, _ = pair(samples=3 * RATE_HZ)
    late = reference[:1].roll(7, dims=-1)
    forgiven = museval.bss_eval_sources(reference[:1].numpy(), late.numpy())[0][0]
    assert sdr(reference[:1], late).mean() < -2
    assert forgiven > 15


def test_silence_throughout_has_no_sdr_and_is_counted():
    reference, estimate = pair()
    for s, e in ((reference, torch.zeros_like(reference)), (torch.zeros_like(reference), estimate)):
        windows, whole = sdr(s, e), si_sdr(reference=s, estimate=e)
        assert windows.isnan().all()
        assert whole.isnan().all()
        score = mean_sdr(windows, whole)
        assert (score.sdr_db, score.si_sdr_db) == (None, None)
        assert (score.segments, score.dropped_windows) == (0, 15)


def test_a_score_is_the_mean_over_windows_then_over_segments():
    nan = math.nan
    windows = torch.tensor([[1.0, 3.0, nan], [nan, nan, nan], [5.0, nan, nan]])
    score = mean_sdr(windows, torch.tensor([4.0, nan, 8.0]))
    assert (score.sdr_db, score.si_sdr_db) == (3.5, 6.0)
    assert (score.segments, score.dropped_windows) == (2, 6)
    nothing = mean_sdr(torch.zeros(0, 3), torch.zeros(0))
    assert (nothing.sdr_db, nothing.si_sdr_db, nothing.segments) == (None, None, 0)


def si_sdr_read_aloud(reference, estimate):
    (scale,), *_ = np.linalg.lstsq(reference[:, None], estimate, rcond=None)
    target = scale * reference
    return 10 * math.log10(np.sum(target**2) / np.sum((target - estimate) ** 2))


def test_si_sdr_reads_as_its_definition():
    reference, estimate = pair()
    wanted = [si_sdr_read_aloud(*p) for p in zip(reference.numpy(), estimate.numpy(), strict=True)]
    np.testing.assert_allclose(
        si_sdr(reference=reference, estimate=estimate), wanted, atol=1e-9, rtol=0
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 0.9) | st.floats(1.1, 100))
def test_scaling_an_estimate_moves_sdr_and_not_si_sdr(seed, scale):
    reference, estimate = pair(seed, samples=RATE_HZ)
    before = si_sdr(reference=reference, estimate=estimate)
    after = si_sdr(reference=reference, estimate=scale * estimate)
    torch.testing.assert_close(after, before, atol=1e-9, rtol=0)
    assert ((sdr(reference, estimate) - sdr(reference, scale * estimate)).abs() > 1e-3).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.001, 10), st.permutations(range(3)))
def test_less_distortion_scores_better_and_none_scores_best(seed, distortion, order):
    reference, estimate = pair(seed, distortion=distortion)
    _, nearer = pair(seed, distortion=distortion / 2)
    worse, better, best = (sdr(reference, e) for e in (estimate, nearer, reference))
    torch.testing.assert_close(better - worse, torch.full_like(worse, 20 * math.log10(2)))
    assert (best == math.inf).all()
    assert (si_sdr(reference=reference, estimate=reference) > 250).all()  # but for rounding
    assert torch.equal(sdr(reference[list(order)], estimate[list(order)]), worse[list(order)])


def test_shapes_that_differ_are_refused():
    for s, e in ((noise(2, 10), noise(3, 10)), (noise(10), noise(10)), (noise(2, 0), noise(2, 0))):
        with pytest.raises(ValueError, match="one shape"):
            sdr(s, e)
        with pytest.raises(ValueError, match="one shape"):
            si_sdr(reference=s, estimate=e)


def test_single_precision_comes_back_as_double():
    reference, estimate = (x.float() for x in pair())
    assert sdr(reference, estimate).dtype == torch.float64
    torch.testing.assert_close(sdr(reference, estimate), sdr(*pair()), atol=1e-4, rtol=0)
