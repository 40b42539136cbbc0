import dataclasses

import numpy as np
import pytest
import pyworld
import soundfile
from scipy.signal import lfilter

from stemwise.corpora import singing
from stemwise.corpora.singing import RATE_HZ, Singer, Song, cast, compose, people_in, sing
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


class Of:
    """Chance that always chooses one kind of singing."""

    def __init__(self, kind):
        self.kind, self.inner = kind, chance()

    def choice(self, *_args, **_told):
        return self.kind

    def __getattr__(self, name):
        return getattr(self.inner, name)


def alone():
    """Let everybody sing alone."""
    return Of("alone")


def say(path, hertz, seconds=0.4, silence=0.2):
    """Write a vowel, pulses through a formant, as a person's recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pulses = np.zeros(round(seconds * RATE_HZ))
    pulses[:: round(RATE_HZ / hertz)] = 1
    vowel = lfilter([1], [1, -1.8 * np.cos(2 * np.pi * 700 / RATE_HZ), 0.81], pulses)
    quiet = np.zeros(round(silence * RATE_HZ))
    soundfile.write(
        path, np.concatenate([quiet, 0.3 * vowel / np.abs(vowel).max(), quiet]), RATE_HZ
    )
    return path


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    for k in range(9):
        say(folder / "anna" / f"{k}.wav", 200 + 5 * k)
        say(folder / "bert" / "words" / f"{k}.wav", 100)
    say(folder / "few" / "0.wav", 150)
    soundfile.write(folder / "anna" / "silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    (folder / "anna" / "broken.ogg").write_bytes(b"OggS and no more")
    (folder / "anna" / "about.xml").write_text("<sounds/>")
    return folder


def test_the_melody_is_sung():
    melody = song((0.0, 2.0, 0, 0), (2.0, 2.0, 4, 1), (4.0, 2.0, 7, 0), (6.0, 2.0, 2, 1))
    wave = sing(TENOR, melody, 8.0, alone())
    assert wave.shape == (8 * RATE_HZ,)
    assert wave.dtype == np.float32
    for second, semitones in ((1, 0), (3, 7), (5, 12), (7, 4)):
        middle = wave[int((second - 0.2) * RATE_HZ) : int((second + 0.6) * RATE_HZ)]
        wanted = 440 * 2 ** ((48 + semitones - 69) / 12)
        assert abs(12 * np.log2(fundamental_hz(middle) / wanted)) < 0.5


def test_people_are_folders_of_recordings_that_sound(voices):
    people, problems = people_in(voices)
    assert [(person.name, len(person.recordings)) for person in people] == [
        ("anna", 9),
        ("bert", 9),
    ]
    assert [problem.split()[0].rsplit("/", 1)[1] for problem in problems] == [
        "broken.ogg", "silent.wav:",
    ]  # fmt: skip
    assert "less than 0.1 s of sound" in problems[1]
    with pytest.raises(CorpusError, match="no folder of 8 or more recordings"):
        people_in(voices / "anna")


def test_a_recorded_person_sings_the_melody_in_their_own_register(voices):
    people, _ = people_in(voices)
    drawn = [cast(chance(seed), people) for seed in range(14)]
    recorded = [who for who in drawn if who.voice in ("anna", "bert")]
    assert 5 <= len(recorded) <= 12
    assert {who.voice for who in recorded} == {"anna", "bert"}
    for who in recorded:
        middle = {"anna": 56, "bert": 43}[who.voice]  # 220 and 100 Hz
        assert abs(who.lowest - middle) <= 6
    anna = next(who for who in recorded if who.voice == "anna")
    wave = sing(anna, song((0.0, 2.0, 0, 0), (2.0, 2.0, 4, 1)), 4.0, alone())
    for second, semitones in ((1, 0), (3, 7)):
        middle = wave[int((second - 0.2) * RATE_HZ) : int((second + 0.6) * RATE_HZ)]
        wanted = 440 * 2 ** ((anna.lowest + semitones - 69) / 12)
        assert abs(12 * np.log2(fundamental_hz(middle) / wanted)) < 0.7


def test_a_spoken_song_is_words_as_said_in_its_rhythm(voices):
    word = voices / "bert" / "words" / "0.wav"
    bert = Singer("bert", 43, 1.0, 0.0, 5.0, 1.0, (word,))
    wave = sing(bert, song((0.0, 1.0, 0, 0), (2.0, 1.0, 5, 0)), 4.0, Of("spoken"))
    said, _ = soundfile.read(word)
    for second in (0, 2):
        there = wave[second * RATE_HZ : (second + 1) * RATE_HZ]
        match = np.correlate(said, there[: round(0.42 * RATE_HZ)], "valid")
        lengths = np.linalg.norm(said) * np.linalg.norm(there)
        assert match.max() / lengths > 0.8
    assert np.abs(wave[RATE_HZ : 2 * RATE_HZ]).max() < 1e-3
    low, high = (
        dataclasses.replace(TENOR, throat=throat, syllables=("la",)) for throat in (1.0, 1.12)
    )
    told = [
        fundamental_hz(sing(who, song((0.0, 1.0, 0, 0)), 1.0, Of("spoken"))) for who in (low, high)
    ]
    assert told[1] / told[0] == pytest.approx(1.12, rel=0.03)


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
