import librosa
import numpy as np
import pytest
import torch

from stemwise.spectrogram import LogMel, mel_filterbank, standardised_db


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
