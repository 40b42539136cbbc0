import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import standardised_mel_read_aloud
from stemwise.spectrogram import (
    LogFrequency,
    LogMel,
    Magnitude,
    log_filterbank,
    mel_filterbank,
    standardised_db,
)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("rate", "n_fft", "mels", "low"), [(22050, 2048, 128, 20.0), (44100, 2048, 259, 0.0)]
)
def test_filterbank_equals_librosa(rate, n_fft, mels, low):
    reference = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=mels, fmin=low)
    np.testing.assert_allclose(mel_filterbank(rate, n_fft, mels, low), reference, atol=1e-7)


def test_magnitude_equals_frame_by_frame():
    wave = np.random.default_rng(0).standard_normal(9000)
    magnitude = LogMel(22050, 2048, 512, 128).magnitude(torch.from_numpy(wave[None]).float())[0]
    padded = np.pad(wave, 1024, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    for t in range(1 + len(wave) // 512):
        frame = np.fft.rfft(padded[512 * t : 512 * t + 2048] * hann)
        np.testing.assert_allclose(magnitude[:, t], np.abs(frame), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("seconds", "frames"), [(3, 130), (10, 431)])
def test_shape_and_standardisation(seconds, frames):
    wave = torch.randn(2, 22050 * seconds, generator=torch.Generator().manual_seed(1))
    spectrogram = LogMel(22050, 2048, 512, 128, 20.0)(wave)
    assert spectrogram.shape == (2, 1, 128, frames)
    torch.testing.assert_close(spectrogram.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(spectrogram.std(dim=(1, 2, 3)), torch.ones(2), atol=1e-4, rtol=0)


def test_level_does_not_matter():
    wave = torch.randn(1, 22050, generator=torch.Generator().manual_seed(2))
    front_end = LogMel(22050, 2048, 512, 128, 20.0)
    torch.testing.assert_close(front_end(wave), front_end(wave * 0.25), atol=1e-3, rtol=0)


def test_silence_gives_zeros():
    assert LogMel(22050, 2048, 512, 128)(torch.zeros(1, 22050)).abs().max() == 0
    assert standardised_db(torch.zeros(1, 4, 4)).abs().max() == 0


@pytest.mark.parametrize("shape", [(22050,), (1, 1024), (1, 1, 22050)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(B, N\)"):
        LogMel(22050, 2048, 512, 128)(torch.zeros(shape))


@pytest.mark.parametrize("gain", [1.0, 1e-4])  # the second is half below the floor of -100 dB
def test_log_mel_equals_the_slow_definition(gain):
    wave = gain * noise(2, 9000, seed=3)
    front_end = LogMel(22050, 1024, 256, 64)
    filters = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=64)
    for b in range(2):
        magnitude = np.abs(librosa.stft(wave[b].double().numpy(), n_fft=1024, hop_length=256,
                                        pad_mode="reflect"))  # fmt: skip
        slow = standardised_mel_read_aloud(magnitude, filters)
        np.testing.assert_allclose(front_end(wave)[b, 0], slow, rtol=1e-3, atol=2e-3)


def test_log_mel_of_a_magnitude_is_that_of_its_waveform():
    wave, front_end = noise(2, 9000), LogMel(22050, 1024, 256, 64)
    whole = front_end.of_magnitude(front_end.magnitude(wave))
    torch.testing.assert_close(whole, front_end(wave))
    halved = front_end.of_magnitude(0.5 * front_end.magnitude(wave))  # each its own mean
    torch.testing.assert_close(halved, whole, atol=1e-3, rtol=0)


def test_examples_are_standardised_one_by_one():
    waves = torch.stack([noise(9000), 0.01 * noise(9000, seed=1).cumsum(0)])
    front_end = LogMel(22050, 1024, 256, 64)
    for b in range(2):
        torch.testing.assert_close(front_end(waves)[b], front_end(waves[b : b + 1])[0])


def test_magnitude_is_linear_and_keeps_all_bins():
    wave, front_end = noise(2, 9000), Magnitude(1024, 256)
    magnitude = front_end(wave)
    assert magnitude.shape == (2, 1, 513, 36)
    torch.testing.assert_close(front_end(3 * wave), 3 * magnitude, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(magnitude[:, 0], front_end.spectrum(wave).abs())
    reference = np.abs(librosa.stft(wave[1].numpy(), n_fft=1024, hop_length=256,
                                    pad_mode="reflect"))  # fmt: skip
    np.testing.assert_allclose(magnitude[1, 0], reference, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("seconds", "frames"), [(3, 259), (10, 862)])
def test_frames_of_the_papers_segments(seconds, frames):
    assert Magnitude(2048, 512)(torch.zeros(1, 44100 * seconds)).shape == (1, 1, 1025, frames)


@settings(deadline=None, max_examples=60)
@given(
    half=st.integers(4, 64), parts=st.sampled_from([2, 4]), samples=st.integers(0, 900),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_round_trip(half, parts, samples, seed):
    """Spectrum and back: the same waveform, whatever the length and the overlap."""
    front_end = Magnitude(2 * half * 2, 4 * half // parts)
    wave = noise(2, 2 * half + 1 + samples, seed=seed)
    back = front_end.waveform(front_end.spectrum(front_end.covered(wave)), wave.shape[-1])
    torch.testing.assert_close(back, wave, atol=1e-4, rtol=0)


@settings(deadline=None, max_examples=60)
@given(samples=st.integers(300, 900), hop=st.sampled_from([64, 128]), seed=st.integers(0, 99))
def test_changed_magnitudes_do_not_click(samples, hop, seed):
    """With masks of 0 and 1 at random, no sample is far above the loudest of the mixture."""
    front_end, wave = Magnitude(256, hop), noise(1, samples, seed=seed)
    spectrum = front_end.spectrum(front_end.covered(wave))
    mask = noise(*spectrum.shape, seed=seed + 1) > 0
    back = front_end.waveform(spectrum * mask, samples)
    assert back.abs().max() < 3 * wave.abs().max()


@pytest.mark.parametrize(
    ("hop", "samples", "covered"),
    [(64, 1000, 1000), (64, 1023, 1023), (128, 1024, 1024), (128, 1088, 1088), (128, 1089, 1152)],
)
def test_only_an_end_far_from_any_frame_is_lengthened(hop, samples, covered):
    wave = noise(2, samples)
    longer = Magnitude(256, hop).covered(wave)
    assert longer.shape == (2, covered)
    assert torch.equal(longer[:, :samples], wave)
    assert longer[:, samples:].abs().sum() == 0


@pytest.mark.parametrize("samples", [132_300, 441_000])
def test_the_papers_segments_are_never_lengthened(samples):
    assert Magnitude(2048, 512).covered(torch.zeros(1, samples)).shape == (1, samples)


def test_log_bands_are_intervals():
    """A tone an octave up lands as many bands higher wherever it starts."""
    bands = 96
    front_end = LogFrequency(22050, 4096, 1024, bands, 40.0)
    seconds = torch.arange(22050) / 22050
    tones_hz = 220.0 * 2.0 ** torch.arange(5)
    waves = torch.sin(2 * torch.pi * tones_hz[:, None] * seconds)
    loudest = front_end.bands(waves)[:, :, 10].argmax(dim=1)
    octave = (bands + 1) / np.log2(11025 / 40)
    np.testing.assert_allclose(np.diff(loudest), octave, atol=1)
    filters = log_filterbank(22050, 4096, bands, 40.0)
    torch.testing.assert_close(filters.sum(dim=1), torch.ones(bands))
    assert (filters >= 0).all()
    assert (filters[:, 8:-1].sum(dim=0) > 0).all()  # from 40 Hz on, no bin is lost


@pytest.mark.parametrize("low", [0.0, 11025.0, -1.0])
def test_log_bands_need_a_lower_edge(low):
    with pytest.raises(ValueError, match="f_min_hz must be in 0 to 11025"):
        log_filterbank(22050, 2048, 64, low)
