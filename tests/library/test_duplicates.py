import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from made_music import write_sndfile
from made_vectors import made, piece, unit
from stemwise.audio import load
from stemwise.library.calibration import recording_radius_of
from stemwise.library.duplicates import (
    Recording,
    Recordings,
    duplicates,
    radius_between,
    recording_distance,
    same_recording,
    same_recordings,
)
from stemwise.library.embed import embed_files
from stemwise.library.vectors import RECORDING_RADIUS, vectors_in_memory
from stemwise.models.checkpoint import load_model

MUSIC = Path(__file__).parents[2] / "demo" / "music"
RATE_HZ = 48000


def recording(rng, segments=5, seconds=50.0):
    sounding = rng.random((segments, 5)) < 0.8
    return Recording(seconds, 10.0 * np.arange(segments), unit(rng, segments, 5),
                     sounding.astype(np.float32))  # fmt: skip


def moved(rng, one, noise, **changes):
    embeddings = one.embeddings + (noise / 128**0.5) * rng.standard_normal(one.embeddings.shape)
    return dataclasses.replace(one, embeddings=embeddings.astype(np.float32), **changes)


def slow(a, b):
    found = []
    for s, start in enumerate(a.start_seconds):
        t = min(range(len(b.start_seconds)), key=lambda t: (abs(b.start_seconds[t] - start), t))
        found += [
            float(((a.embeddings[s, p] - b.embeddings[t, p]) ** 2).sum())
            for p in range(5)
            if a.sounding[s, p] and b.sounding[t, p]
        ]
    return np.mean(found)


def test_the_distance_is_that_of_aligned_segments():
    rng = np.random.default_rng(0)
    a = recording(rng)
    b = moved(rng, a, 0.3, duration_seconds=48.8, start_seconds=a.start_seconds[:4])
    b = dataclasses.replace(b, embeddings=b.embeddings[:4], presence=b.presence[:4])
    assert recording_distance(b, a) == pytest.approx(slow(b, a), rel=1e-5)
    assert recording_distance(a, a) == 0


def test_what_makes_a_recording_another():
    rng = np.random.default_rng(1)
    a = recording(rng)
    assert same_recording(a, moved(rng, a, 0.1), 0.02)  # 0.01
    assert not same_recording(a, moved(rng, a, 0.2), 0.02)  # 0.04
    assert same_recording(a, moved(rng, a, 0.2), 0.06)
    assert same_recording(a, moved(rng, a, 0.1, duration_seconds=51.9), 0.02)
    assert not same_recording(a, moved(rng, a, 0.1, duration_seconds=52.1), 0.02)
    fewer = a.presence.copy()
    fewer[:2] = 0.2
    assert not same_recording(a, moved(rng, a, 0.1, presence=fewer), 0.02)  # 3 of 5 agree
    fewer[:2] = np.where(a.sounding[:2], 0.3, 0.0)
    assert same_recording(a, moved(rng, a, 0.1, presence=fewer), 0.02)  # 2 may well
    silent = moved(rng, a, 0.0, presence=0.4 * a.presence)
    assert not same_recording(silent, silent, 0.02)


def test_the_radius_takes_in_copies_and_no_other_song():
    rng = np.random.default_rng(2)
    pieces = [recording(rng) for _ in range(4)]
    pieces.append(moved(rng, pieces[0], 0.5))  # 0.25, the nearest other song
    songs = np.arange(5)
    copies = {1: moved(rng, pieces[1], 0.1), 3: moved(rng, pieces[3], 0.2, duration_seconds=9.0)}
    wanted = slow(copies[3], pieces[3])
    assert radius_between(pieces, songs, copies) == pytest.approx(wanted, rel=1e-5)
    copies[2] = moved(rng, pieces[2], 0.4)  # 0.16, nearer to another song than four times that
    nearest = slow(pieces[0], pieces[4])
    assert radius_between(pieces, songs, copies) == pytest.approx(nearest / 4, rel=1e-5)
    songs[4] = 0  # another take of the first song
    wanted = slow(copies[2], pieces[2])
    assert radius_between(pieces, songs, copies) == pytest.approx(wanted, rel=1e-5)
    assert radius_between(pieces, songs, {}) == RECORDING_RADIUS


def test_a_larger_radius_takes_more_files_together():
    vectors = collection()
    assert len(same_recordings(vectors)) == 2
    near = same_recordings(dataclasses.replace(vectors, recording_radius=1e-5))
    wide = same_recordings(dataclasses.replace(vectors, recording_radius=4.0))
    assert near == []
    assert set(wide[0]) > {4, 11, 12}


def collection(seed=0):
    """Return vectors of 30 pieces of one length; 4, 11, 12 are files of one recording, so 7, 8."""
    vectors = made(seed, pieces=30, most=4, share=0.9)
    rng = np.random.default_rng(seed)
    known = Recordings(vectors)
    parts = [known[k] for k in range(30)]
    for copy, original in ((11, 4), (12, 11), (8, 7)):
        parts[copy] = moved(rng, parts[original], 0.05)
    pieces = [dataclasses.replace(p, duration_seconds=50.0) for p in vectors.pieces]
    return vectors_in_memory(
        pieces, [one.start_seconds for one in parts], [one.embeddings for one in parts],
        [one.presence for one in parts],
    )  # fmt: skip


def test_groups_are_found_among_all_pairs():
    vectors = collection()
    assert sorted(same_recordings(vectors)) == [(4, 11, 12), (7, 8)]


def test_equal_bytes_are_duplicates_too():
    vectors = collection()
    twice = piece(2, path=Path("/m/zz.wav"))
    third = piece(8, path=Path("/m/aa.wav"))
    copies = dict(vectors.copies)
    copies[twice.content] = (vectors.pieces[2], twice)
    copies[third.content] = (third, vectors.pieces[8])
    found = duplicates(dataclasses.replace(vectors, copies=copies))
    names = [[p.path.stem for p in group.pieces] for group in found]
    assert names == [["11", "12", "4"], ["2", "zz"], ["7", "8", "aa"]]
    assert [group.identical for group in found] == [False, True, False]
    assert found[1].distance == 0
    assert 0 < found[0].distance < 0.02


def test_nothing_is_there_twice_in_nothing():
    assert duplicates(vectors_in_memory([], [], [], [])) == []
    assert duplicates(made(5)) == []


def write(path, sound, codec, bit_rate):
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=44100, layout="mono")
        track.bit_rate = bit_rate
        track.codec_context.open()
        size = track.codec_context.frame_size
        resampler = av.AudioResampler(track.codec_context.format, "mono", 44100, size)
        frame = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE_HZ, Fraction(1, RATE_HZ), 0
        for ready in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(track.encode(ready))


@pytest.mark.parametrize("model", ["compact", "stemwise"])
def test_other_files_of_real_recordings_are_known_and_a_remix_is_not(tmp_path, model):
    """With the shipped models: codecs, level, and a cut at the start."""
    names = ["d e3m3", "remix 4, bass of the da (old), rest of d e3m3", "composed 00003"]
    for name in names:
        sound = load(MUSIC / f"{name}.opus", RATE_HZ)
        for kind in ("mp3", "m4a", "ogg", "quiet", "cut"):
            (tmp_path / kind).mkdir(exist_ok=True)
        write(tmp_path / "mp3" / f"{name}.mp3", sound, "libmp3lame", 96_000)
        write(tmp_path / "m4a" / f"{name}.m4a", sound, "aac", 96_000)
        write_sndfile(tmp_path / "ogg" / f"{name}.ogg", sound, RATE_HZ, format="OGG",
                      subtype="VORBIS")  # fmt: skip
        write_sndfile(tmp_path / "quiet" / f"{name}.flac", sound * 0.25, RATE_HZ, format="FLAC")
        write_sndfile(tmp_path / "cut" / f"{name}.flac", sound[round(1.2 * RATE_HZ) :], RATE_HZ,
                      format="FLAC")  # fmt: skip
    files = sorted(tmp_path.rglob("*.*"))
    radius = recording_radius_of(model, load_model(model).fingerprint)
    known = {
        (result.path.stem, result.path.parent.name): Recording(
            result.duration_seconds, result.start_seconds, result.embeddings, result.presence
        )
        for result in embed_files(files, load_model(model))
    }
    assert len(known) == 15
    for (name, kind), a in known.items():
        for (other, second), b in known.items():
            assert same_recording(a, b, radius) == (name == other)
            if name == other and "cut" not in (kind, second):
                assert recording_distance(a, b) < 0.018
