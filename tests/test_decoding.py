import os
import socket

import av
import numpy as np
import pytest

from made_files import changed, coded, cut, joined, many_channels, sized, sound
from made_music import tone, write_av, write_sndfile
from stemwise import decoding
from stemwise.decoding import decode, open_file
from stemwise.errors import AudioError

MAKERS = {
    "wav": sound("s.wav"), "flac": sound("s.flac"), "mp3": sound("s.mp3"), "ogg": sound("s.ogg"),
    "m4a": coded("s.m4a", "aac"), "wv": coded("s.wv", "wavpack"),
}  # fmt: skip


def decoded(path):
    rates, chunks = zip(*decode(path), strict=True)
    assert len(set(rates)) == 1
    assert all(chunk.dtype == np.float32 and chunk.ndim == 1 for chunk in chunks)
    return rates[0], np.concatenate(chunks)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_content_decides_and_not_the_name(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    rate_hz, wanted = decoded(path)
    assert rate_hz == 44100
    for name in ("a.wav", "a.mp3", "a.flac", "a.jpg", "a.m3u8", "none", "http:", "caf\udce9.ogg"):
        path = path.rename(tmp_path / name)
        np.testing.assert_array_equal(decoded(path)[1], wanted)


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    file = sound("s.wav")(tmp_path)
    with open_file(file) as opened:
        assert opened.read(4) == b"RIFF"
    (tmp_path / "link.wav").symlink_to(file)
    with open_file(tmp_path / "link.wav") as opened:
        assert opened.read(4) == b"RIFF"
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    for name in ("pipe", "socket", "/dev/null", "."):
        with pytest.raises(AudioError, match=f"^{name} cannot be opened: it is not a regular file"):
            open_file(name)
    with pytest.raises(AudioError, match=r"^gone cannot be opened: No such file or directory$"):
        open_file("gone")
    with pytest.raises(AudioError, match="File name too long"):
        open_file("x" * 300)
    with pytest.raises(AudioError, match="null byte"):
        open_file("a\0b")


def test_a_pipe_put_in_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    file = sound("s.wav")(tmp_path)
    seen = os.stat(file)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("stemwise.decoding.os.stat", lambda path: seen)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(AudioError, match="it is not a regular file"):
        open_file(tmp_path / "pipe")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", MAKERS)
def test_files_are_closed_however_it_ends(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    decoded(path)
    chunks = decode(path)
    next(chunks)
    assert len(os.listdir("/proc/self/fd")) > before
    chunks.close()
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(AudioError):
        list(decode(path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_lists_of_files_lead_nowhere(tmp_path):
    sound("s.mp3")(tmp_path)
    lists = {
        "concat.mp3": "ffconcat version 1.0\nfile s.mp3\n",
        "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\ns.mp3\n#EXT-X-ENDLIST\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with av.open(str(tmp_path / name)) as container:  # what FFmpeg does if it is let
            assert sum(frame.samples for frame in container.decode(audio=0)) > 200_000
        with pytest.raises(AudioError, match="cannot be decoded"):
            list(decode(tmp_path / name))


@pytest.mark.parametrize(
    "size", [0, 0x7FFFF000, 2**31 - 37, 2**31 - 1, 2**31, 2**32 - 45, 2**32 - 1]
)
def test_a_length_that_its_writer_did_not_know(tmp_path, size):
    path = changed(sound("s.wav"), sized(size))(tmp_path)
    np.testing.assert_allclose(decoded(path)[1], tone(5), atol=1e-4)


@pytest.mark.parametrize("size", [10**7, 1_900_000_000, 2_500_000_000, 4_000_000_000])
def test_a_length_that_is_not_there(tmp_path, size):
    path = changed(sound("s.wav"), sized(size))(tmp_path)
    with pytest.raises(AudioError, match=rf"5\.0 of {size / 88200:.1f} s can be read"):
        list(decode(path))


def test_a_file_may_lack_a_second_and_one_percent(tmp_path):
    path = write_sndfile(tmp_path / "s.wav", tone(60, 8000), 8000)
    whole = path.read_bytes()
    for lacking_seconds, refused in ((1.0, False), (1.5, False), (1.7, True), (30, True)):
        path.write_bytes(whole[: len(whole) - round(lacking_seconds * 16000)])
        if refused:
            with pytest.raises(AudioError, match=r"of 60\.0 s can be read"):
                list(decode(path))
        else:
            assert len(decoded(path)[1]) == pytest.approx((60 - lacking_seconds) * 8000, abs=1)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "m4a", "wv"])
def test_a_file_that_shrinks_while_it_is_read(tmp_path, kind):
    path = changed(MAKERS[kind], lambda content: content)(tmp_path)
    wave = tone(60)
    if kind in ("m4a", "wv"):
        codec = {"m4a": "aac", "wv": "wavpack"}[kind]
        path = write_av(tmp_path / f"long.{kind}", wave, codec)
    else:
        path = write_sndfile(tmp_path / f"long.{kind}", wave)
    chunks = decode(path)
    next(chunks)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(AudioError, match=r"can be read|cannot be decoded"):
        list(chunks)


def test_a_change_of_channels_on_the_way_is_followed(tmp_path):
    mono = write_av(tmp_path / "mono.aac", tone(3), "aac", layout="mono")
    stereo = write_av(tmp_path / "stereo.aac", tone(4, seed=1), "aac")
    both = tmp_path / "both.aac"
    for first, second in ((mono, stereo), (stereo, mono)):
        both.write_bytes(first.read_bytes() + second.read_bytes())
        rate_hz, wave = decoded(both)
        assert len(wave) / rate_hz == pytest.approx(7, abs=0.1)
        start = decoded(first)[1]
        np.testing.assert_array_equal(wave[: len(start)], start)


def test_a_change_of_rate_on_the_way_is_refused(tmp_path):
    path = joined("s.mp3", 44100, 22050)(tmp_path)
    with pytest.raises(AudioError, match="changes its sample rate from 44100 to 22050 Hz"):
        list(decode(path))


def test_many_channels_are_read_a_little_at_a_time(tmp_path):
    path = sound("s.wav", 8000, channels=1000)(tmp_path)
    chunks = [chunk for _, chunk in decode(path)]
    assert max(map(len, chunks)) * 1000 <= 65536 * 8
    np.testing.assert_allclose(np.concatenate(chunks), tone(5, 8000), atol=1e-4)


@pytest.mark.parametrize(
    "layout",
    ["mono", "stereo", "5.1", "7 channels", "7.1", "9 channels", "16 channels", "64 channels"],
)
def test_codecs_that_keep_channels_apart(tmp_path, layout):
    # with eight channels and more PyAV miscounts, and the process would die
    found = decoded(many_channels(tmp_path, layout=layout))[1]
    np.testing.assert_allclose(found, tone(5), atol=0.005)


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.uint8, np.int32])
def test_two_channels_are_halved_to_the_last_bit(kind):
    rng = np.random.default_rng(0)
    if kind is np.float32:
        channels = rng.normal(size=(2, 50_000)).astype(kind)
        channels[:, 0] = np.finfo(kind).max
    else:
        most = np.iinfo(kind)
        channels = rng.integers(most.min, most.max, (2, 50_000), kind, endpoint=True)
    found = decoding._mixed(channels, np.float64, stereo=False)
    wanted = (channels[0].astype(np.float64) + channels[1]) / 2
    np.testing.assert_array_equal(found.astype(np.float32), wanted.astype(np.float32))


def test_aac_of_eight_channels(tmp_path):
    rate_hz, found = decoded(many_channels(tmp_path, "s.m4a", "aac", "7.1"))
    assert len(found) / rate_hz == pytest.approx(5, abs=0.05)
    assert np.corrcoef(found[:200_000], tone(5)[:200_000])[0, 1] > 0.99


def test_chained_ogg_is_read_to_its_end(tmp_path):
    rate_hz, wave = decoded(joined("s.ogg", 44100, 44100)(tmp_path))
    for seed, start in ((0, 0), (1, 2 * 44100)):
        wanted = tone(2, seed=seed)[4410:-4410]
        likeness = [
            np.corrcoef(wave[start + shift + 4410 :][: len(wanted)], wanted)[0, 1]
            for shift in range(0, 512, 32)  # the second link starts a block later
        ]
        assert max(likeness) > 0.99
    assert len(wave) / rate_hz == pytest.approx(4, abs=0.02)


def test_nothing_is_printed(tmp_path, capfd):
    refused = 0
    for make in MAKERS.values():
        for share in (0.01, 0.2, 0.6):
            try:
                list(decode(changed(make, cut(share))(tmp_path)))
            except AudioError:
                refused += 1
    assert refused >= 15
    assert capfd.readouterr() == ("", "")
