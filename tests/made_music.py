"""Music files for the tests, made on the spot: sums of sines and noise, in any format."""

from fractions import Fraction

import av
import numpy as np
import soundfile

from stemwise.models.checkpoint import save_model
from stemwise.models.direct import Direct, DirectShape
from stemwise.models.direct_mask import DirectMask, DirectMaskShape

BLOCK = 8192  # libsndfile crashes when a long array is written to Ogg in one call
TINY = DirectShape(
    sample_rate_hz=8000, n_fft=512, hop_samples=256, n_mels=32, channels=(4, 8), unit_blocks=True,
    segment_seconds=2.0,
)  # fmt: skip


def tone(seconds, rate_hz=44100, seed=0):
    """Return a tone that comes and goes over soft noise, (N,) float32; no two seeds alike."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    swell = 1 + np.sin(2 * np.pi * (0.3 + 0.1 * seed) * time)
    sound = 0.2 * swell * np.sin(2 * np.pi * (220 + 31 * seed) * time)
    return (sound + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


def write_sndfile(path, sound, rate_hz=44100, **options):
    """Write (N,) or (N, C) through libsndfile."""
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    with soundfile.SoundFile(path, "w", rate_hz, channels, **options) as file:
        for start in range(0, len(sound), BLOCK):
            file.write(sound[start : start + BLOCK])
    return path


def write_av(path, sound, codec, rate_hz=44100, layout="stereo", **options):
    """Write (N,) to all channels through FFmpeg, or (C, N)."""
    with av.open(str(path), "w", **options) as container:
        track = container.add_stream(codec, rate=rate_hz, layout=layout)
        track.bit_rate = 128_000
        track.codec_context.open()
        channels = track.codec_context.layout.nb_channels
        size = track.codec_context.frame_size or 1024
        resampler = av.AudioResampler(track.codec_context.format, layout, rate_hz, size)
        frame = av.AudioFrame.from_ndarray(
            np.stack([sound] * channels) if sound.ndim == 1 else sound, "fltp", layout
        )
        frame.sample_rate = rate_hz
        frame.time_base = Fraction(1, rate_hz)
        frame.pts = 0
        for ready in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(track.encode(ready))
    return path


def write_tiny_model(path, seed=0):
    """Save a random model in which drums and bass always sound, piano never."""
    import torch

    torch.manual_seed(seed)
    network = Direct(TINY).eval()
    with torch.no_grad():
        network.presence_head.weight.mul_(0.01)
        network.presence_head.bias.copy_(torch.tensor([9.0, 9.0, -9.0, 9.0, 9.0]))
    save_model(network, path, name="tiny", provenance={})
    return path


def write_separating_model(path, seed=0):
    """Save a random model that separates; to it, all parts always sound."""
    import torch

    torch.manual_seed(seed)
    shape = DirectMaskShape(
        sample_rate_hz=8000, n_fft=512, hop_samples=256, n_mels=32, mask_channels=(4, 8),
        channels=(4, 8), segment_seconds=2.0,
    )  # fmt: skip
    network = DirectMask(shape).eval()
    with torch.no_grad():
        network.presence_bias.fill_(9.0)
    save_model(network, path, name="separating", provenance={})
    return path
