import dataclasses

import numpy as np
import pytest
import pyworld
import soundfile

from stemwise.corpora import singing
from stemwise.corpora.singing import RATE_HZ, Singer, Song, cast, compose, sing
from stemwise.errors import CorpusError

TENOR = Singer("it+m3", 48, 1.0, 0.0, 5.0, 1.0, ("la", "so"))
SCALE = (0, 2, 4, 5, 7, 9, 11)


def chance(seed=0):
    return np.random.default_rng(seed)


def song(*notes, rest_beats=0.0):
    return Song(60.0, (notes,), (0,), SCALE, rest_beats)


def fundamental_hz(wave):
    """Return the median fundamental of what is voiced."""
    pitch, _ = pyworld.harvest(wave.astype(float), RATE_HZ)
    return float(np.median(pitch[pitch > 0]))


def alone():
    """Let everybody sing alone."""

    class Alone:
        def __init__(self, inner):
            self.inner = inner

        def choice(self, *_args, **_told):
            return "alone"

        def __getattr__(self, name):
            return getattr(self.inner, name)

    return Alone(chance())


def test_the_melody_is_sung():
    melody = song((0.0, 2.0, 0, 0), (2.0, 2.0, 4, 1), (4.0, 2.0, 7, 0), (6.0, 2.0, 2, 1))
    wave = sing(TENOR, melody, 8.0, alone())
    assert wave.shape == (8 * RATE_HZ,)
    assert wave.dtype == np.float32
    for second, semitones in ((1, 0), (3, 7), (5, 12), (7, 4)):
        middle = wave[int((second - 0.2) * RATE_HZ) : int((second + 0.6) * RATE_HZ)]
        wanted = 440 * 2 ** ((48 + semitones - 69) / 12)
        assert abs(12 * np.log2(fundamental_hz(middle) / wanted)) < 0.5


def test_a_vibrato_moves_the_pitch_at_its_rate():
    pitch = np.full(1000, 60.0)  # five seconds
    still = singing._intoned(pitch, TENOR, chance())
    moving = singing._intoned(pitch, dataclasses.replace(TENOR, vibrato_cents=50.0), chance())
    cents = 1200 * np.log2(moving / still)
    assert 45 < np.abs(cents[200:]).max() <= 50.1
    spectrum = np.abs(np.fft.rfft(cents[200:]))
    assert np.argmax(spectrum) / 4 == pytest.approx(5.0)


def test_rests_are_silent_and_phrases_come_back():
    wave = sing(TENOR, song((0.0, 4.0, 0, 0), rest_beats=4.0), 24.0, alone())
    loud = np.sqrt(np.mean(wave.reshape(24, RATE_HZ) ** 2, axis=1))
    assert (loud[[0, 1, 2, 12, 13, 14]] > 0.02).all()
    assert (loud[[5, 6, 10, 11, 17, 18, 22, 23]] < 1e-3).all()


def test_singers_and_songs_differ_and_are_drawn_from_the_seed():
    drawn = [(who := cast(c), compose(c, who)) for c in map(chance, range(8))]
    again = chance(3)
    third = cast(again)
    assert drawn[3] == (third, compose(again, third))
    assert len({who.voice for who, _ in drawn}) > 6
    assert len({piece.tempo_bpm for _, piece in drawn}) == 8
    first, again = (sing(*drawn[0], 6.0, chance(1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = sing(*drawn[1], 6.0, chance(1))
    assert np.abs(first - other).max() > 0.1


def test_all_voices_and_levels_are_as_told():
    for seed in range(4):
        c = chance(seed)
        who = cast(c)
        wave = sing(who, compose(c, who), 8.0, c)
        sung = wave[np.abs(wave) > 1e-3 * np.abs(wave).max()]
        assert np.sqrt(np.mean(sung**2)) == pytest.approx(0.1, rel=0.05)
        assert np.isfinite(wave).all()


def test_without_the_synthesiser_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CorpusError, match="apt-get install espeak-ng"):
        sing(TENOR, song((0.0, 2.0, 0, 0)), 6.0, chance())
    monkeypatch.undo()
    with pytest.raises(CorpusError, match="fails on the voice nobody"):
        sing(dataclasses.replace(TENOR, voice="nobody"), song((0.0, 2.0, 0, 0)), 6.0, chance())


def test_a_synthesiser_that_says_nothing_is_one_clear_line(monkeypatch, tmp_path):
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(100), RATE_HZ)

    class Said:
        stdout = silent.read_bytes()

    monkeypatch.setattr(singing.subprocess, "run", lambda *_args, **_told: Said)
    with pytest.raises(CorpusError, match=r"says 'la' in the voice it\+m3 as 100 samples"):
        sing(TENOR, song((0.0, 2.0, 0, 0)), 6.0, chance())
