import itertools

import numpy as np
import pytest

from made_music import tone, write_sndfile
from stemwise.errors import AudioError
from stemwise.library.waveform import outline


@pytest.mark.parametrize("points", [1, 7, 100, 5000])
def test_peaks_are_those_of_the_samples(tmp_path, points):
    sound = tone(3, 8000, 1)
    path = write_sndfile(tmp_path / "a.wav", sound, 8000, subtype="FLOAT")
    seconds, peaks = outline(path, points)
    assert seconds == 3
    assert len(peaks) == points
    assert peaks.max() == pytest.approx(np.abs(sound).max())
    bounds = np.arange(points + 1) * len(sound) // points
    for k in range(points):  # to within 256 samples on either side
        near = np.abs(sound[max(0, bounds[k] - 256) : bounds[k + 1] + 256])
        assert peaks[k] <= near.max() + 1e-6
    if points == 7:
        exact = [np.abs(sound[a:b]).max() for a, b in itertools.pairwise(bounds)]
        assert np.abs(peaks - exact).max() < 0.05


def test_loud_and_short_files(tmp_path):
    path = write_sndfile(tmp_path / "a.wav", 3 * np.ones(10, np.float32), 8000, subtype="FLOAT")
    seconds, peaks = outline(path, 4)
    assert seconds == 10 / 8000
    assert peaks.tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="1 point or more"):
        outline(path, 0)
    with pytest.raises(AudioError):
        outline(tmp_path / "gone.wav")
