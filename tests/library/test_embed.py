import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from soundfile import SoundFile

from made_music import TINY, tone, write_av, write_sndfile
from stemwise.audio import level_db, segments
from stemwise.errors import AudioError, ModelError
from stemwise.library.description import describe_segment
from stemwise.library.embed import (
    FileEmbedding,
    FileFailure,
    FileMatch,
    content_hash,
    embed_file,
    embed_files,
)
from stemwise.models.cascade import Clean, CleanShape
from stemwise.models.checkpoint import Model, save_model
from stemwise.models.direct import Direct

ARRAYS = ("start_seconds", "embeddings", "presence", "level_db")


@pytest.fixture
def files(tmp_path):
    return [
        write_sndfile(tmp_path / "a.wav", tone(5.3, seed=1)),
        write_sndfile(tmp_path / "b.flac", tone(2.0, 22050, seed=2), 22050),
        write_sndfile(tmp_path / "c.mp3", tone(7, seed=3)),
        write_av(tmp_path / "d.m4a", tone(4, seed=4), "aac"),
        write_sndfile(tmp_path / "e.ogg", tone(1.2, seed=5)),
    ]


def same(one, other):
    return one.content == other.content and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS
    )


def test_a_file_gives_one_vector_per_segment(files, tiny_model):
    found = embed_file(files[0], tiny_model)
    assert found.embeddings.shape == (3, 5, 128)
    assert found.presence.shape == (3, 5)
    assert {found.embeddings.dtype, found.presence.dtype, found.level_db.dtype} == {np.dtype("f4")}
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(found.start_seconds, [0, 2, 3.3], atol=1e-3)
    assert found.duration_seconds == pytest.approx(5.3, abs=1e-3)
    assert embed_file(files[4], tiny_model).duration_seconds == pytest.approx(1.2, abs=1e-3)
    for s, (start_seconds, wave) in enumerate(segments(files[0], 8000, 2.0)):
        with torch.inference_mode():
            embedding, presence = tiny_model.describe(torch.tensor(wave)[None])
        assert found.start_seconds[s] == start_seconds
        np.testing.assert_allclose(found.embeddings[s], embedding[0], atol=1e-5)
        np.testing.assert_allclose(found.presence[s], presence[0], atol=1e-5)
        assert found.level_db[s] == pytest.approx(float(level_db(wave)), abs=1e-4)


@pytest.mark.parametrize("jobs", [1, 2, 5])
@pytest.mark.parametrize("threads", [1, 2])
def test_not_a_bit_depends_on_neighbours_jobs_or_threads(files, tiny_model, jobs, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        alone = [embed_file(path, tiny_model) for path in files]
        together = list(embed_files(files, tiny_model, jobs))
        backwards = list(embed_files(files[::-1], tiny_model, jobs))[::-1]
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert [result.path for result in together] == files
    for a, b, c in zip(alone, together, backwards, strict=True):
        assert same(a, b)
        assert same(a, c)


def test_sixteen_segments_go_through_at_once_and_are_those_one_by_one(
    tmp_path, tiny_model, monkeypatch
):
    sound = tone(42.5, 8000)
    sound[12 * 8000 : 16 * 8000] = 0  # two silent segments, of which the model sees nothing
    file = write_sndfile(tmp_path / "long.wav", sound, 8000)
    sizes = []
    plain = Model.describe

    def noting(model, mixture):
        sizes.append(len(mixture))
        return plain(model, mixture)

    monkeypatch.setattr(Model, "describe", noting)
    found = embed_file(file, tiny_model)
    assert sizes == [14, 6]
    for s, (start_seconds, wave) in enumerate(segments(file, 8000, 2.0)):
        embedding, presence = describe_segment(wave, tiny_model)
        assert found.start_seconds[s] == start_seconds
        np.testing.assert_allclose(found.embeddings[s], embedding, atol=1e-5)
        np.testing.assert_allclose(found.presence[s], presence, atol=1e-5)
        assert found.level_db[s] == pytest.approx(float(level_db(wave)), abs=1e-4)
    assert found.segments == 22


def test_threads_of_the_caller_are_left_alone(files, tiny_model):
    before = torch.get_num_threads()
    list(embed_files(files, tiny_model, 2))
    embed_file(files[0], tiny_model)
    results = embed_files(files, tiny_model, 2)
    next(results)
    results.close()
    assert torch.get_num_threads() == before
    code = []
    thread = threading.Thread(target=lambda: code.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert code == [before]


def test_silent_segments_have_no_parts(tmp_path, tiny_model):
    sound = tone(6)
    sound[2 * 44100 : 4 * 44100 + 2000] = 0.25  # a constant is silence too
    found = embed_file(write_sndfile(tmp_path / "s.wav", sound, subtype="FLOAT"), tiny_model)
    np.testing.assert_array_equal(found.presence.any(axis=1), [True, True, True])
    quiet = write_sndfile(tmp_path / "q.wav", np.zeros(44100 * 5, np.float32))
    found = embed_file(quiet, tiny_model)
    assert not found.presence.any()
    assert not found.embeddings.any()
    np.testing.assert_array_equal(found.level_db, -120)


def test_bad_files_stop_nothing(files, tmp_path, tiny_model):
    (tmp_path / "bad.mp3").write_text("not music")
    short = write_sndfile(tmp_path / "short.wav", tone(0.2))
    order = [files[0], tmp_path / "bad.mp3", files[1], short, tmp_path / "gone.wav"]
    results = list(embed_files(order, tiny_model, 2))
    assert [r.path for r in results] == order
    assert [type(r) for r in results] == [
        FileEmbedding, FileFailure, FileEmbedding, FileFailure, FileFailure,
    ]  # fmt: skip
    assert "cannot be decoded" in results[1].reason
    assert "0.20 s" in results[3].reason
    assert "No such file" in results[4].reason
    with pytest.raises(AudioError):
        embed_file(short, tiny_model)


def test_an_unforeseen_error_is_recorded_too(files, tiny_model, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(tiny_model.network, "describe", fail)
    (result,) = embed_files(files[:1], tiny_model)
    assert result.reason == f"{files[0]} failed unexpectedly: RuntimeError: out of luck"


def test_known_content_is_not_decoded(files, tmp_path, tiny_model):
    copy = shutil.copy(files[2], tmp_path / "copy.mp3")
    known = {content_hash(files[2])}
    first, second = embed_files([copy, files[0]], tiny_model, known=known)
    assert first == FileMatch(copy, *known)
    assert isinstance(second, FileEmbedding)


def test_many_files_keep_their_order_in_bounded_memory(tmp_path, tiny_model):
    path = write_sndfile(tmp_path / "s.wav", tone(1))
    asked = []

    def paths():
        for i in range(200):
            asked.append(i)
            yield path

    results = embed_files(paths(), tiny_model, jobs=2)
    for taken, result in enumerate(results, start=1):
        assert isinstance(result, FileEmbedding)
        assert len(asked) - taken <= 2 * 16 + 1
    assert taken == 200


def test_a_long_file_holds_nobody_up_unless_order_is_asked_for(tmp_path, tiny_model):
    long = write_sndfile(tmp_path / "long.wav", tone(600, 8000), 8000)
    short = [write_sndfile(tmp_path / f"{k}.wav", tone(1 + k / 9, 8000), 8000) for k in range(9)]
    free = [r.path for r in embed_files([long, *short], tiny_model, 2, in_order=False)]
    assert sorted(free) == sorted([long, *short])
    assert free[0] != long
    assert [r.path for r in embed_files([long, *short], tiny_model, 2)] == [long, *short]


def test_closing_stops_the_workers_within_a_segment(tmp_path, tiny_model, monkeypatch):
    long = write_sndfile(tmp_path / "long.wav", tone(300, 8000), 8000)
    short = write_sndfile(tmp_path / "short.wav", tone(2, 8000), 8000)
    describe = tiny_model.network.describe
    heard = []

    def slow(mixture):
        heard.append(1)
        time.sleep(0.02)
        return describe(mixture)

    monkeypatch.setattr(tiny_model.network, "describe", slow)
    results = embed_files([short, long], tiny_model, 2)
    assert next(results).path == short
    results.close()
    assert len(heard) < 60  # of 151


def test_a_file_that_changes_while_it_is_read_is_not_taken(files, tiny_model, monkeypatch):
    def touch(path):
        content = content_hash(path)
        os.utime(path, ns=(5, 5))
        return content

    monkeypatch.setattr("stemwise.library.embed.content_hash", touch)
    (result,) = embed_files(files[:1], tiny_model)
    assert result.reason == f"{files[0]} changed while it was read; the next index reads it again"
    assert not result.unread


def test_what_cannot_be_opened_is_told_apart_from_what_is_no_music(tmp_path, tiny_model):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    os.mkfifo(tmp_path / "pipe.wav")
    names = ("bad.wav", "gone.wav", "pipe.wav")
    results = list(embed_files([tmp_path / name for name in names], tiny_model))
    assert [result.unread for result in results] == [False, True, True]


def test_vectors_that_are_no_numbers_are_the_files_fault(files, tiny_model, monkeypatch):
    nothing = torch.full((1, 5, 128), torch.nan), torch.ones(1, 5)
    monkeypatch.setattr(tiny_model.network, "describe", lambda mixture: nothing)
    (result,) = embed_files(files[:1], tiny_model)
    assert "gives vectors that are not finite near 0 s" in result.reason


PEAK = """
import resource, sys
from pathlib import Path
from stemwise.library.embed import embed_file
from stemwise.models.checkpoint import load_model
model = load_model(sys.argv[1])
for path in sys.argv[2:]:
    found = embed_file(Path(path), model)
    print(len(found.start_seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_grows_with_the_vectors_not_with_the_sound(tmp_path):
    files = []
    minute = tone(60, 8000)
    for name, minutes in (("short", 10), ("long", 120)):
        path = tmp_path / f"{name}.flac"
        with SoundFile(path, "w", 8000, 1) as file:
            for _ in range(minutes):
                file.write(minute)
        files.append(path)
    model = tmp_path / "model.safetensors"
    shape = TINY.model_copy(update={"segment_seconds": 10.0})
    save_model(Direct(shape), model, name="long segments", provenance={})
    command = [sys.executable, "-c", PEAK, model, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (short, before_kb), (long, after_kb) = (
        map(int, line.split()) for line in done.stdout.splitlines()
    )
    assert (short, long) == (60, 720)
    sound_kb = 110 * 60 * 8000 * 4 / 1024
    assert after_kb - before_kb < 20_000 < sound_kb / 5


def test_a_model_without_unit_blocks_is_refused(files):
    torch.manual_seed(0)
    loose = Model(Direct(TINY.model_copy(update={"unit_blocks": False})), "loose", {})
    with pytest.raises(ModelError, match="loose gives blocks of length"):
        embed_file(files[0], loose)
    with pytest.raises(ModelError):
        list(embed_files(files, loose))


def test_a_model_that_reads_stems_is_refused(files):
    shape = CleanShape(sample_rate_hz=8000, n_fft=256, hop_samples=128, n_mels=32, network="unet",
                       channels=(4, 8))  # fmt: skip
    with pytest.raises(ModelError, match="clean reads stems, and music files are mixtures"):
        embed_file(files[0], Model(Clean(shape), "clean", {}))
    with pytest.raises(ValueError, match=r"expected stems \(B, 5, N\), got \(1, 8000\)"):
        Clean(shape).embed(torch.zeros(1, 8000))
