import io

import numpy as np
import pytest
import soundfile
import soxr

from made_music import tone, write_av, write_sndfile
from stemwise.audio import load
from stemwise.errors import AudioError
from stemwise.library.playback import content_type, rate_of, stretch, wav_bytes, write_flac

SOUND = tone(2, 44100)
CODED = {
    "a.mp3": ("mp3", "audio/mpeg"),
    "a.m4a": ("aac", "audio/mp4"),
    "b.m4a": ("alac", None),
    "a.opus": ("libopus", "audio/ogg"),
    "a.webm": ("libopus", "audio/webm"),
    "a.mka": ("libopus", None),
    "a.wma": ("wmav2", None),
    "a.wv": ("wavpack", None),
    "a.flac": ("flac", "audio/flac"),
    "a.mp2": ("mp2", None),
}


@pytest.mark.parametrize("name", CODED)
def test_what_browsers_play_is_known_by_its_content(tmp_path, name):
    codec, expected = CODED[name]
    rate_hz = 48000 if codec == "libopus" else 44100
    try:
        path = write_av(tmp_path / name, SOUND, codec, rate_hz)
    except Exception as error:
        pytest.skip(f"this FFmpeg does not write {codec}: {error}")
    assert content_type(path) == expected
    assert content_type(path.rename(tmp_path / "renamed.mp3")) == expected


@pytest.mark.parametrize(
    ("subtype", "expected"),
    [("PCM_16", "audio/wav"), ("FLOAT", "audio/wav"), ("IMA_ADPCM", None), ("DOUBLE", None)],
)
def test_odd_wavs_are_not_played(tmp_path, subtype, expected):
    path = write_sndfile(tmp_path / "a.wav", SOUND, 44100, subtype=subtype)
    assert content_type(path) == expected


def test_what_is_no_music_has_no_type(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"no music" * 99)
    assert content_type(tmp_path / "a.mp3") is None
    with pytest.raises(AudioError):
        content_type(tmp_path / "gone.mp3")


@pytest.mark.parametrize(("start", "end"), [(0, 2), (0.3, 1.7), (1.9, 5), (1, 1.00001)])
def test_a_stretch_is_that_of_the_whole(tmp_path, start, end):
    path = write_sndfile(tmp_path / "a.wav", SOUND, 44100)
    whole = load(path, 44100)
    found = np.concatenate([np.zeros(0, np.float32), *stretch(path, 44100, start, end)])
    assert np.array_equal(found, whole[round(start * 44100) : round(end * 44100)])


@pytest.mark.parametrize("samples", [0, 1, 44100, 88200, 100_000])
def test_a_wav_has_the_promised_length(samples):
    made = b"".join(wav_bytes([SOUND[:50_000], 3 * SOUND[50_000:]], 44100, samples))
    assert len(made) == 44 + 2 * samples
    sound, rate_hz = soundfile.read(io.BytesIO(made), dtype="float32")
    assert rate_hz == 44100
    expected = np.concatenate([SOUND[:50_000], 3 * SOUND[50_000:], np.zeros(12_000)])[:samples]
    assert np.abs(sound - np.clip(expected, -1, 1)).max(initial=0) < 1e-4


def test_flac_stands_in_for_the_file(tmp_path):
    path = write_sndfile(tmp_path / "a.wav", SOUND, 44100)
    write_flac(path, tmp_path / "out.flac")
    assert np.abs(load(tmp_path / "out.flac", 44100) - SOUND).max() < 1e-4
    fast = write_sndfile(tmp_path / "fast.wav", tone(1, 192_000), 192_000)
    assert rate_of(fast) == 48_000
    (tmp_path / "bad.wav").write_bytes(b"RIFF" * 99)
    with pytest.raises(AudioError):
        write_flac(tmp_path / "bad.wav", tmp_path / "bad.flac")
    assert not list(tmp_path.glob("bad.flac*"))


@pytest.mark.parametrize(
    ("name", "codec", "step"), [("a.m4a", "alac", 1e-4), ("a.wv", "wavpack", 1 / 128)]
)  # FFmpeg writes WavPack of 8 bits here
def test_flac_keeps_two_channels(tmp_path, name, codec, step):
    left, right = 0.8 * SOUND, 0.3 * tone(2, 44100, 5)
    path = write_av(tmp_path / name, np.stack([left, right]), codec)
    assert content_type(path) is None
    write_flac(path, tmp_path / "out.flac")
    found, rate_hz = soundfile.read(tmp_path / "out.flac")
    assert rate_hz == 44100
    assert found.shape == (len(SOUND), 2)
    assert np.abs(found - np.stack([left, right], axis=1)).max() < step


def test_flac_of_other_numbers_of_channels_and_of_high_rates_is_stereo_too(tmp_path):
    sounds = np.stack([SOUND, -SOUND / 2, SOUND, SOUND], axis=1)
    soundfile.write(tmp_path / "four.wav", sounds, 44100, subtype="DOUBLE")
    write_flac(tmp_path / "four.wav", tmp_path / "four.flac")
    four, _ = soundfile.read(tmp_path / "four.flac")
    assert np.abs(four - sounds.mean(axis=1, keepdims=True)).max() < 1e-4
    fast = np.stack([tone(1, 192_000), 0.2 * tone(1, 192_000, 3)], axis=1)
    soundfile.write(tmp_path / "fast.wav", fast, 192_000, subtype="DOUBLE")
    write_flac(tmp_path / "fast.wav", tmp_path / "fast.flac")
    slow, rate_hz = soundfile.read(tmp_path / "fast.flac")
    assert (rate_hz, slow.shape) == (48_000, (48_000, 2))
    expected = soxr.resample(fast, 192_000, 48_000)
    assert np.abs(slow - expected)[2000:-2000].max() < 1e-3


def test_the_flac_of_odd_samples_is_silent_there(tmp_path):
    odd = np.stack([SOUND, SOUND], axis=1)
    odd[1000] = np.nan
    soundfile.write(tmp_path / "odd.wav", odd, 44100, subtype="DOUBLE")
    write_flac(tmp_path / "odd.wav", tmp_path / "odd.flac")
    found, _ = soundfile.read(tmp_path / "odd.flac")
    assert (found[1000] == 0).all()
    assert np.abs(np.delete(found - odd, 1000, axis=0)).max() < 1e-4
