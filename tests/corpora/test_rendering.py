import numpy as np
import pyloudnorm
import pytest
import soundfile

from stemwise.corpora.rendering import (
    SAMPLE_RATE_HZ,
    Synthesizer,
    apply_effects,
    balance,
    loudness_lufs,
    write_stem,
)
from stemwise.corpora.score import BEND, Control, Note, Voice
from stemwise.corpora.sounds import Sound, draw_sound, find_soundfonts, generator
from stemwise.errors import CorpusError
from stemwise.parts import PARTS

SECOND = SAMPLE_RATE_HZ


@pytest.fixture(scope="module")
def synthesizer():
    made = Synthesizer(find_soundfonts(["TimGM6mb"]))
    yield made
    made.close()


def voice(part="piano", program=0, notes=8, controls=()):
    played = tuple(Note(0.25 * i, 0.25 * i + 0.2, 48 + i, 90) for i in range(notes))
    return Voice(part, program, played, tuple(controls))


def sound(programs=(0,), bank=0, cents=0.0, effects=()):
    return Sound("TimGM6mb", bank, {p: p for p in programs}, cents, 0.0, tuple(effects))


def noise(seconds=3, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, seconds * SECOND).astype(np.float32)


def test_the_same_notes_give_the_same_samples_whatever_came_before(synthesizer):
    first = synthesizer.render([voice()], sound(), samples=2 * SECOND)
    held = Voice("guitar", 30, (Note(0, 9, 40, 127),), (Control(0, 1, 127), Control(0, BEND, 99)))
    synthesizer.render([held] * 40, sound([30]), samples=SECOND + 17)
    again = synthesizer.render([voice()], sound(), samples=2 * SECOND)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2 * SECOND,)
    assert first.dtype == np.float32
    assert np.abs(first).max() > 0.01


def test_a_prefix_is_rendered_alike(synthesizer):
    whole = synthesizer.render([voice()], sound(), samples=2 * SECOND)
    part = synthesizer.render([voice()], sound(), samples=SECOND)
    np.testing.assert_array_equal(whole[:SECOND], part)


def test_notes_sound_where_they_are_written(synthesizer):
    late = Voice("piano", 0, (Note(1.0, 1.5, 60, 100),), ())
    audio = synthesizer.render([late], sound(), samples=2 * SECOND)
    assert np.abs(audio[: SECOND - 64]).max() == 0
    assert np.abs(audio[SECOND : SECOND + SECOND // 10]).max() > 0.005


def test_controllers_bends_and_tuning_are_heard(synthesizer):
    plain = synthesizer.render([voice()], sound(), samples=SECOND)
    for other in (
        synthesizer.render([voice(controls=[Control(0, 7, 30)])], sound(), samples=SECOND),
        synthesizer.render([voice(controls=[Control(0, 64, 127)])], sound(), samples=SECOND),
        synthesizer.render([voice(controls=[Control(0, BEND, 4000)])], sound(), samples=SECOND),
        synthesizer.render([voice()], sound(cents=7.0), samples=SECOND),
    ):
        assert not np.array_equal(plain, other)


def test_tuning_moves_the_pitch(synthesizer):
    held = [Voice("residuals", 80, (Note(0, 1, 69, 100),), ())]  # a square lead at 440 Hz
    for cents in (0.0, -120.0, 60.0):
        audio = synthesizer.render(held, sound([80], cents=cents), samples=SECOND)
        spectrum = np.abs(np.fft.rfft(audio * np.hanning(SECOND)))
        peak_hz = 300 + int(np.argmax(spectrum[300:600]))
        assert peak_hz == pytest.approx(440 * 2 ** (cents / 1200), abs=2)


def test_drums_sound(synthesizer):
    drums = voice("drums", 0)
    audio = synthesizer.render([drums], sound(bank=128), samples=2 * SECOND)
    assert loudness_lufs(audio) > -60


def test_impossible_presets_and_crowds_are_refused(synthesizer):
    with pytest.raises(CorpusError, match="no preset 128:99"):
        synthesizer.render([voice("drums", 99)], sound([99], bank=128), samples=100)
    with pytest.raises(CorpusError, match="65 voices"):
        synthesizer.render([voice()] * 65, sound(), samples=100)


def test_a_broken_soundfont_is_one_clear_line(tmp_path):
    path = tmp_path / "TimGM6mb.sf2"
    path.write_bytes(b"nothing")
    broken = Synthesizer({"TimGM6mb": path})
    with pytest.raises(CorpusError, match="cannot read the soundfont"):
        broken.render([voice()], sound(), samples=100)
    broken.close()


@pytest.mark.parametrize("part", PARTS)
def test_effects_keep_length_and_are_repeatable(part):
    audio = noise()
    for i in range(12):
        effects = draw_sound(generator(i, part), part=part, programs=[0], split="train",
                             soundfonts=["TimGM6mb"]).effects  # fmt: skip
        wet = apply_effects(audio, effects)
        assert wet.shape == audio.shape
        assert np.isfinite(wet).all()
        np.testing.assert_array_equal(wet, apply_effects(audio, effects))
        assert loudness_lufs(wet) > -60


def test_every_effect_is_heard_and_silence_stays_silence():
    settings = {
        "highpass": {"cutoff_hz": 200}, "lowpass": {"cutoff_hz": 2000}, "drive": {"drive_db": 12},
        "compressor": {"threshold_db": -30, "ratio": 4, "attack_ms": 2, "release_ms": 100},
        "chorus": {"rate_hz": 1, "depth": 0.3, "mix": 0.4},
        "phaser": {"rate_hz": 1, "depth": 0.3, "mix": 0.4},
        "low_shelf": {"cutoff_hz": 200, "gain_db": 6},
        "peak": {"cutoff_hz": 900, "gain_db": 6, "q": 1},
        "high_shelf": {"cutoff_hz": 5000, "gain_db": -6},
        "delay": {"delay_seconds": 0.1, "feedback": 0.2, "mix": 0.2},
        "reverb": {"room": 0.5, "damping": 0.5, "wet": 0.2},
    }  # fmt: skip
    audio = noise(1)
    dry = apply_effects(audio, [{"effect": "peak", "cutoff_hz": 900, "gain_db": 0, "q": 1}])
    for name, values in settings.items():
        effect = {"effect": name} | values
        assert np.abs(apply_effects(audio, [effect]) - dry).max() > 1e-3, name
        assert not apply_effects(np.zeros(SECOND, np.float32), [effect]).any()
    assert apply_effects(audio, []) is audio
    with pytest.raises(ValueError, match="unknown effect"):
        apply_effects(audio, [{"effect": "wah"}])


@pytest.mark.parametrize("seconds", [0.4, 0.95, 3, 12.34])
def test_loudness_is_pyloudnorms(seconds):
    rng = np.random.default_rng(1)
    audio = rng.normal(0, 0.1, round(seconds * SECOND)) * np.linspace(
        1, 0.001, round(seconds * SECOND)
    )
    expected = pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(audio)
    assert loudness_lufs(audio.astype(np.float32)) == pytest.approx(expected, abs=0.05)


def test_loudness_of_silence_and_of_too_little_is_minus_infinity():
    assert loudness_lufs(np.zeros(SECOND, np.float32)) == -np.inf
    assert loudness_lufs(noise(1)[:1000]) == -np.inf
    assert loudness_lufs(noise(1) * 1e-6) == -np.inf


def test_balance_gives_one_loudness_plus_offsets_and_the_peak():
    stems = {"drums": noise(6) * 0.3, "bass": noise(6, 1) * 2, "piano": noise(6, 2) ** 3}
    offsets_db = {"drums": 0.0, "bass": 4.5, "piano": -6.0}
    lufs = {part: loudness_lufs(audio) for part, audio in stems.items()}
    mixed = balance(stems, lufs=lufs, offsets_db=offsets_db)
    levels = [loudness_lufs(mixed[part]) - offsets_db[part] for part in stems]
    assert max(levels) - min(levels) < 0.5
    total = np.abs(np.sum(list(mixed.values()), axis=0)).max()
    assert 20 * np.log10(total) == pytest.approx(-1, abs=0.01)
    assert all(audio[-1] == 0 for audio in mixed.values())


def test_stems_that_cancel_do_not_clip(tmp_path):
    audio = noise()
    stems = {"drums": audio, "bass": -audio}
    lufs = dict.fromkeys(stems, loudness_lufs(audio))
    mixed = balance(stems, lufs=lufs, offsets_db=dict.fromkeys(stems, 0.0))
    assert max(np.abs(stem).max() for stem in mixed.values()) <= 10 ** (-1 / 20)


def test_a_written_stem_is_16_bit_mono_flac_and_rounded(tmp_path):
    audio = noise(1) * 2
    write_stem(tmp_path / "x.flac", audio)
    info = soundfile.info(tmp_path / "x.flac")
    assert (info.samplerate, info.channels, info.subtype) == (SECOND, 1, "PCM_16")
    back, _ = soundfile.read(tmp_path / "x.flac", dtype="int16")
    np.testing.assert_array_equal(back, np.clip(np.rint(audio * 32767), -32768, 32767))
