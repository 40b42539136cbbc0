import os
import subprocess
import sys

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_music import tone, write_av, write_sndfile
from stemwise import audio
from stemwise.errors import AudioError

SECONDS = 3.0
SOURCE = tone(SECONDS)


def alike(found, wanted):
    """Cosine between two sounds at the best shift of up to 50 ms at 8 kHz."""
    size = min(len(found), len(wanted)) - 800
    middle = wanted[400 : 400 + size]
    return max(
        float(found[s : s + size] @ middle)
        / float(np.linalg.norm(found[s : s + size]) * np.linalg.norm(middle))
        for s in range(0, 800)
    )


@pytest.fixture(scope="module")
def at_8k(tmp_path_factory):
    return audio.load(write_sndfile(tmp_path_factory.mktemp("source") / "s.wav", SOURCE), 8000)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("s.wav", {}), ("s.wav", {"subtype": "PCM_U8"}), ("s.wav", {"subtype": "PCM_24"}),
        ("s.wav", {"subtype": "FLOAT"}), ("s.flac", {}), ("s.ogg", {}), ("s.mp3", {}),
        ("s.aiff", {}), ("s.au", {}), ("s.caf", {}), ("s.w64", {}), ("s.rf64", {}),
    ],
)  # fmt: skip
def test_formats_of_libsndfile(tmp_path, at_8k, name, options):
    found = audio.load(write_sndfile(tmp_path / name, SOURCE, **options), 8000)
    assert abs(len(found) - len(at_8k)) <= 1
    assert found.dtype == np.float32
    assert alike(found, at_8k) > 0.998


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("s.m4a", "aac", 44100), ("s.m4a", "alac", 44100), ("s.mp4", "aac", 44100),
        ("s.aac", "aac", 44100), ("s.wma", "wmav2", 44100), ("s.webm", "libopus", 48000),
        ("s.opus", "libopus", 48000), ("s.mka", "flac", 44100),
        ("s.wv", "wavpack", 44100), ("s.mp3", "libmp3lame", 44100), ("s.tta", "tta", 44100),
        ("s.flac", "flac", 96000), ("s.wav", "pcm_s16le", 22050), ("s.mka", "pcm_s32le", 44100),
        ("s.mp2", "mp2", 44100), ("s.wav", "adpcm_ms", 44100),
    ],
)  # fmt: skip
def test_formats_of_ffmpeg(tmp_path, at_8k, name, codec, rate_hz):
    form = {"s.mka": "matroska"}.get(name)
    path = write_av(tmp_path / name, tone(SECONDS, rate_hz), codec, rate_hz, format=form)
    found = audio.load(path, 8000)
    assert abs(len(found) / 8000 - SECONDS) < 0.1  # codecs pad, and raw streams cannot say so
    if rate_hz == 44100:
        assert alike(found, at_8k) > 0.97


@pytest.mark.parametrize("channels", [2, 6])
def test_mono_is_the_mean_over_channels(tmp_path, channels):
    sounds = np.stack([tone(1, seed=c) for c in range(channels)], axis=1)
    path = write_sndfile(tmp_path / "s.wav", sounds, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(path, 44100), sounds.mean(axis=1), atol=1e-6)


def test_planar_and_packed_integers_keep_their_scale(tmp_path):
    for codec in ("pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f32le", "pcm_f64le"):
        path = write_av(tmp_path / "s.mka", SOURCE, codec, format="matroska")
        np.testing.assert_allclose(audio.load(path, 44100), SOURCE, atol=0.006)


@pytest.mark.parametrize("level", [10, 2.0**23])
def test_loud_float_files_are_not_clipped(tmp_path, level):
    path = write_sndfile(tmp_path / "s.wav", SOURCE * level, subtype="FLOAT")
    np.testing.assert_array_equal(audio.load(path, 44100), SOURCE * level)


def test_samples_that_are_no_sound_are_refused(tmp_path):
    for value, reason in (
        (np.nan, "not finite"), (-np.inf, "not finite"),
        (-1e12, r"samples of 1\.0e\+12 times full scale"),
    ):  # fmt: skip
        sound = SOURCE.copy()
        sound[70_000] = value  # in the second chunk
        path = write_sndfile(tmp_path / "s.wav", sound, subtype="FLOAT")
        heard = []
        with pytest.raises(AudioError, match=reason):
            heard.extend(audio.stream(path, 44100, 0.5))
        assert all(np.array_equal(h, SOURCE[: len(h)]) for h in heard[:1])
    loudest = np.full(9, audio.LOUDEST, np.float32)
    np.testing.assert_array_equal(
        audio.load(write_sndfile(path, loudest, subtype="FLOAT"), 44100), loudest
    )


def test_resampling_keeps_what_fits_and_removes_what_does_not(tmp_path):
    time = np.arange(4 * 44100) / 44100
    for frequency_hz, gain in ((500, 1), (3000, 1), (3600, 1), (4500, 0), (15000, 0)):
        wave = np.sin(2 * np.pi * frequency_hz * time)
        found = audio.load(write_sndfile(tmp_path / "s.wav", wave, subtype="FLOAT"), 8000)
        wanted = gain * np.sin(2 * np.pi * frequency_hz * np.arange(len(found)) / 8000)
        # away from the ends: within 0.01 dB and in time, or 80 dB down
        limit = 1e-3 if gain else 1e-4
        np.testing.assert_allclose(found[2000:-2000], wanted[2000:-2000], atol=limit)


def test_blocks_join_to_the_whole_whatever_their_length(tmp_path):
    path = write_sndfile(tmp_path / "s.flac", SOURCE)
    whole = audio.load(path, 22050)
    assert len(whole) == pytest.approx(SECONDS * 22050, abs=1)
    for block_seconds in (0.1, 0.7, 60):
        blocks = list(audio.stream(path, 22050, block_seconds))
        assert {len(b) for b in blocks[:-1]} <= {round(block_seconds * 22050)}
        np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_a_stretch_equals_the_same_samples_of_the_whole(tmp_path):
    path = write_av(tmp_path / "s.m4a", SOURCE, "aac")
    whole = audio.load(path, 8000)
    np.testing.assert_array_equal(audio.load(path, 8000, 1.25, 0.5), whole[10000:14000])
    np.testing.assert_array_equal(audio.load(path, 8000, 2.5, 99), whole[20000:])
    with pytest.raises(AudioError, match=r"lasts 3\.0 s; nothing lies after 8\.0 s"):
        audio.load(path, 8000, 8)
    with pytest.raises(ValueError, match="stretch"):
        audio.load(path, 8000, -1)


@pytest.mark.parametrize("seconds", [1.0, 1.9, 2.0, 2.1, 6.0, 7.3])
def test_segments_cover_every_sample(tmp_path, seconds):
    path = write_sndfile(tmp_path / "s.wav", tone(seconds, 8000), 8000, subtype="FLOAT")
    whole = audio.load(path, 8000)
    cut = list(audio.segments(path, 8000, 2.0))
    assert all(len(wave) == 16000 and wave.dtype == np.float32 for _, wave in cut)
    if seconds < 2:
        ((start, wave),) = cut  # repeated up to one segment
        np.testing.assert_array_equal(wave, np.tile(whole, 2)[:16000])
        assert start == 0
        return
    heard = np.zeros(len(whole), bool)
    for start, wave in cut:
        first = round(start * 8000)
        np.testing.assert_array_equal(wave, whole[first : first + 16000])
        heard[first : first + 16000] = True
    assert heard.all()
    starts = [start for start, _ in cut]
    assert starts[:-1] == [2.0 * i for i in range(len(cut) - 1)]
    assert starts[-1] == pytest.approx(seconds - 2)


def test_under_a_second_is_too_short(tmp_path):
    path = write_sndfile(tmp_path / "s.wav", tone(0.9, 8000), 8000)
    with pytest.raises(AudioError, match=r"lasts 0.90 s; at least 1 s"):
        list(audio.segments(path, 8000, 2.0))


def broken(tmp_path, kind):
    """Write a file that cannot be used, and return its path."""
    path = tmp_path / f"{kind}.wav"
    if kind == "missing":
        return path
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "no samples":
        write_sndfile(path, SOURCE[:0])
    elif kind in ("nan", "inf"):
        write_sndfile(path, np.append(SOURCE, np.float32(kind)), subtype="FLOAT")
    elif kind == "text":
        path = tmp_path / "text.mp3"
        path.write_text("These are the words of a song.\n" * 3000)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(200_000))
    elif kind == "video only":
        path = tmp_path / "film.mp4"
        with av.open(str(path), "w") as container:
            track = container.add_stream("mpeg4", rate=10)
            track.width = track.height = 64
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
            container.mux([*track.encode(frame), *track.encode(None)])
    return path


def test_a_block_of_more_than_a_segment_is_refused():
    whole = np.zeros(25, np.float32)
    with pytest.raises(ValueError, match="25 samples for segments of 10"):
        list(audio.cut([whole], 10, 1.0, name="made"))
    starts = [
        start for start, _ in audio.cut([whole[:10], whole[:10], whole[:5]], 10, 1.0, name="x")
    ]
    assert starts == [0.0, 1.0, 1.5]


@pytest.mark.parametrize(
    "kind",
    ["missing", "empty", "folder", "no samples", "nan", "inf", "text", "noise", "video only"],
)
def test_what_is_no_music_is_one_clear_line(tmp_path, kind, capfd):
    path = broken(tmp_path, kind)
    with pytest.raises(AudioError) as caught:
        audio.load(path, 8000)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["s.wav", "s.aiff", "s.flac", "s.mp3", "s.m4a", "s.webm", "s.wv"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_truncated_file_is_an_error(tmp_path, name, share, capfd):
    rate_hz = 48000 if name == "s.webm" else 44100
    sound = tone(8, rate_hz)
    codecs = {"s.m4a": "aac", "s.webm": "libopus", "s.wv": "wavpack"}
    if name in codecs:
        path = write_av(tmp_path / name, sound, codecs[name], rate_hz)
    else:
        path = write_sndfile(tmp_path / name, sound)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(AudioError, match=r"truncated|damaged|cannot be decoded"):
        audio.load(path, 8000)
    assert capfd.readouterr() == ("", "")


def test_a_few_bad_bytes_in_an_mp3_are_passed_over_in_silence(tmp_path, capfd, at_8k):
    path = write_sndfile(tmp_path / "s.mp3", SOURCE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(data)
    assert abs(len(audio.load(path, 8000)) - len(at_8k)) < 2000
    assert capfd.readouterr() == ("", "")


def test_a_wav_from_a_pipe_names_no_length(tmp_path):
    path = write_sndfile(tmp_path / "s.wav", SOURCE)
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = data[4:8] = b"\xff" * 4
    path.write_bytes(data)
    assert len(audio.load(path, 44100)) == len(SOURCE)


@pytest.mark.parametrize(
    "stem", ["日本語 – naïve 🎸", "x" * 240, "a'b\"c;d%e\\f", " - ", "$(x)`y`"]
)
def test_odd_names(tmp_path, stem):
    wanted = len(SOURCE)
    assert len(audio.load(write_sndfile(tmp_path / f"{stem}.wav", SOURCE), 44100)) == wanted
    assert audio.load(write_av(tmp_path / f"{stem}.m4a", SOURCE, "aac"), 44100).any()


def test_a_name_that_is_no_unicode_is_read_or_told(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    write_sndfile(os.fsencode(path), SOURCE, format="WAV")
    assert len(audio.load(path, 44100)) == len(SOURCE)


@pytest.mark.parametrize("name", ["long.flac", "long.aac"])  # libsndfile, FFmpeg
def test_memory_stays_flat_over_a_long_file(tmp_path, name):
    path = tmp_path / name
    if name == "long.aac":
        minute = write_av(tmp_path / "minute.aac", tone(60, 8000), "aac", 8000, "mono")
        path.write_bytes(minute.read_bytes() * 40)
    else:
        write_sndfile(path, np.tile(tone(60, 8000), 40), 8000)
    code = (
        "import sys, resource; from stemwise import audio\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "blocks = audio.stream(sys.argv[1], 11025, 10); next(blocks); early = peak()\n"
        "print(sum(map(len, blocks)), peak() - early)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    samples, grown_kb = map(int, done.stdout.split())
    assert samples == pytest.approx(2390 * 11025, rel=5e-3)
    assert grown_kb < 20_000  # the whole is 105 MB


def rule_a(segment, step=5000):
    """Rule A, read aloud: silent if any quarter-length window has max - min < 1e-4."""
    window = len(segment) // 4
    start = 0
    while start + window <= len(segment):
        lowest = highest = segment[start]
        for sample in segment[start : start + window]:
            lowest, highest = min(lowest, sample), max(highest, sample)
        if highest - lowest < 1e-4:
            return False
        start += step
    return True


def rule_b(segment):
    """Rule B, read aloud: sounding if the mean of the squared samples exceeds 1e-4."""
    total = 0.0
    for sample in segment:
        total += float(sample) ** 2
    return total / len(segment) > 1e-4


@given(
    st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 5e-5, 1e-3, 9e-3, 1.1e-2, 0.5]),
    st.integers(0, 3000), st.integers(0, 3000),
)  # fmt: skip
def test_silence_rules_equal_the_rules_read_aloud(seed, level, first, length):
    wave = (np.random.default_rng(seed).standard_normal((2, 3, 3000)) * level).astype(np.float32)
    wave[0, 1, first : first + length] = 0
    by_range, by_power = audio.sounding_by_range(wave, 500), audio.sounding_by_power(wave)
    assert by_range.shape == by_power.shape == (2, 3)
    for place in np.ndindex(2, 3):
        assert by_range[place] == rule_a(wave[place], 500)
        assert by_power[place] == rule_b(wave[place])


def test_silence_rules_at_their_edges():
    assert not audio.sounding_by_range(np.zeros(44100, np.float32))
    assert not audio.sounding_by_power(np.zeros((2, 44100), np.float32)).any()
    assert not audio.sounding_by_range(np.zeros((4, 0), np.float32)).any()
    assert not audio.sounding_by_power(np.zeros((4, 0), np.float32)).any()
    late = tone(10)
    late[: 44100 * 3] = 0  # three of ten seconds: more than a quarter
    assert not audio.sounding_by_range(late)
    assert audio.sounding_by_power(late)
    assert audio.sounding_by_range(np.full(9, 1, np.float32) * np.array([0, 1] * 4 + [0])).all()


def test_levels():
    square = np.tile(np.float32([1, -1]), 500)
    np.testing.assert_allclose(audio.level_db(np.stack([square, square / 10])), [0, -20], atol=1e-4)
    assert audio.level_db(np.zeros(5, np.float32)) == audio.FLOOR_DB
    assert audio.level_db(np.zeros(0, np.float32)) == audio.FLOOR_DB
