"""Segments that go through the model together; a file's own: tests/library/test_embed.py."""

import threading

import numpy as np
import pytest
import torch

from made_collection import add_song, damage
from made_music import TINY
from stemwise.errors import ModelError
from stemwise.library import description
from stemwise.library.description import (
    batch_that_fits,
    describe_segment,
    describe_segments,
    describer,
)
from stemwise.library.embed import FileEmbedding, FileFailure, embed_files
from stemwise.models.checkpoint import Model
from stemwise.models.direct import Direct

SIZE = 16000  # of a segment of the tiny model


@pytest.fixture
def waves():
    made = 0.1 * np.random.default_rng(0).standard_normal((12, SIZE)).astype(np.float32)
    made[4] = 0  # silence
    return made


@pytest.fixture
def seen(monkeypatch):
    """The sizes of the batches that go through the model."""
    sizes = []
    plain = description.describe_segments

    def noting(waves, model):
        sizes.append(len(waves))
        return plain(waves, model)

    monkeypatch.setattr(description, "describe_segments", noting)
    return sizes


def near(one, other):
    np.testing.assert_allclose(one[0], other[0], atol=1e-5)
    np.testing.assert_allclose(one[1], other[1], atol=1e-5)


def test_a_batch_describes_its_segments(waves, tiny_model):
    embeddings, presences = describe_segments(waves, tiny_model)
    assert embeddings.shape == (12, 5, 128)
    assert presences.shape == (12, 5)
    for k, wave in enumerate(waves):
        near((embeddings[k], presences[k]), describe_segment(wave, tiny_model))
    assert not embeddings[4].any()
    assert not presences[4].any()


def test_a_single_sample_makes_a_segment_sound(tiny_model):
    waves = np.full((4, SIZE), 0.25, np.float32)  # a constant is silence
    waves[1, 77] += 2e-4
    waves[2, 78] += 5e-5  # less than counts
    waves[3] += 0.1 * np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    embeddings, presences = describe_segments(waves, tiny_model)
    assert embeddings.any(axis=(1, 2)).tolist() == [False, True, False, True]
    assert presences.any(axis=1).tolist() == [False, True, False, True]
    waves.flags.writeable = False
    np.testing.assert_array_equal(describe_segments(waves, tiny_model)[0], embeddings)


def test_what_is_asked_while_the_model_works_goes_together(waves, tiny_model, seen, monkeypatch):
    busy, free = threading.Event(), threading.Event()
    plain = description.describe_segments

    def slow(waves, model):
        busy.set()
        assert free.wait(60)
        return plain(waves, model)

    monkeypatch.setattr(description, "describe_segments", slow)
    wanted = describe_segments(waves, tiny_model)
    with describer(tiny_model, 5) as network:
        first = network.ask(waves[:1])
        assert busy.wait(60)
        others = [network.ask(waves[k : k + 1]) for k in range(1, 9)]
        free.set()
        for k, future in enumerate([first, *others]):
            near(future.result(60), (wanted[0][k : k + 1], wanted[1][k : k + 1]))
    assert seen == [1, 5, 3]
    assert "describe" not in [thread.name for thread in threading.enumerate()]


def test_a_batch_that_does_not_fit_is_halved_from_then_on(waves, tiny_model, seen, monkeypatch):
    plain = description.describe_segments

    def small(waves, model):
        if len(waves) > 3:
            raise torch.OutOfMemoryError("too much")
        return plain(waves, model)

    monkeypatch.setattr(description, "describe_segments", small)
    together = description._Together(tiny_model, 12)
    together.close()
    asked = [(waves[k : k + 1], description.Future()) for k in range(12)]
    together._answer(asked)
    assert seen == [3, 3, 3, 3]
    assert together._most == 3
    wanted = describe_segments(waves, tiny_model)
    for k, (_, future) in enumerate(asked):
        near(future.result(0), (wanted[0][k : k + 1], wanted[1][k : k + 1]))


def test_one_odd_segment_fails_alone(waves, tiny_model, monkeypatch):
    plain = description.describe_segments

    def odd(some, model):
        if any(np.array_equal(wave, waves[7]) for wave in some):
            raise RuntimeError("odd")
        return plain(some, model)

    monkeypatch.setattr(description, "describe_segments", odd)
    with describer(tiny_model, 12) as network:
        futures = [network.ask(waves[k : k + 1]) for k in range(12)]
        failed = [future.exception(60) is not None for future in futures]
    assert failed == [k == 7 for k in range(12)]


def test_a_model_that_cannot_be_used_is_refused_once(waves, seen):
    torch.manual_seed(0)
    loose = Model(Direct(TINY.model_copy(update={"unit_blocks": False})), "loose", {})
    together = description._Together(loose, 12)
    together.close()
    asked = [(waves[k : k + 1], description.Future()) for k in range(12)]
    together._answer(asked)
    assert seen == [12]
    for _, future in asked:
        with pytest.raises(ModelError, match="loose gives blocks of length"):
            future.result(0)


def test_files_that_go_together_get_their_own_vectors(tmp_path, tiny_model, seen):
    files = [add_song(tmp_path / f"{seed}.wav", 3 + 2 * seed, seed) for seed in range(6)]
    damage(tmp_path / "bad.mp3")
    files.insert(2, tmp_path / "bad.mp3")
    together = list(embed_files(files, tiny_model, 3, batch=8))
    assert max(seen) > 1
    assert max(seen) <= 8
    alone = list(embed_files(files, tiny_model, 1))
    for one, other in zip(together, alone, strict=True):
        if isinstance(other, FileEmbedding):
            assert one.path == other.path
            np.testing.assert_array_equal(one.start_seconds, other.start_seconds)
            near((one.embeddings, one.presence), (other.embeddings, other.presence))
        else:
            assert one == other
    assert sum(isinstance(result, FileFailure) for result in together) == 1
    before = set(threading.enumerate())
    results = embed_files(files, tiny_model, 2, batch=8)
    next(results)
    results.close()  # stops
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name.startswith(("embed", "describe"))]


def test_the_batch_follows_from_the_memory(tiny_model, monkeypatch):
    assert batch_that_fits(tiny_model) == 1  # on a CPU

    class Pretended:
        """A model whose parameters say that they lie on a GPU of 8 GB."""

        segment_seconds, sample_rate_hz = 2.0, 8000

        def parameters(self):
            yield type("Parameter", (), {"device": torch.device("cuda", 0)})

        def describe(self, wave):
            assert wave.shape == (2, SIZE)

    def memory(segment_bytes):
        monkeypatch.setattr(
            torch.cuda, "max_memory_allocated", lambda device: 100 + segment_bytes * 2
        )

    monkeypatch.setattr(torch, "zeros", lambda *shape, device: np.zeros(shape))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    properties = type("Properties", (), {"total_memory": 8e9})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    for segment_bytes, share, batch in (
        (1e8, 1.0, 40),
        (1e8, 0.25, 10),
        (1e10, 1.0, 1),
        (1, 1, 256),
    ):
        memory(segment_bytes)
        assert batch_that_fits(Pretended(), share) == batch
