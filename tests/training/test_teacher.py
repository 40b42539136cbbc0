import numpy as np
import pytest
import torch

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, small_recipe
from stemwise.corpora.bank import bank_of
from stemwise.models.cascade import Clean
from stemwise.training.batches import Source
from stemwise.training.teacher import SEGMENTS_AT_A_TIME, clean_vectors, pretraining_aims

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 6, "valid": 3}, absent={(0, "guitar")})
    bank = bank_of(directory, RATE_HZ)
    return {
        split: Source(bank, bank.segments(split, 1.0, 0.5), seed)
        for seed, split in enumerate(("train", "valid"))
    }


@pytest.fixture(scope="module")
def clean():
    torch.manual_seed(0)
    shape = small_recipe(COMPACT / "clean.toml", parts=("drums", "bass")).model
    return Clean(shape).eval()


def test_vectors_are_those_of_the_stems(sources, clean, tmp_path):
    source = sources["train"]
    rows = np.array([0, 5, 30, 31, 100])
    aims = clean_vectors(clean, source, rows, tmp_path / "v.npy", CPU)
    assert aims.vectors.shape == (5, 5, 128)
    for row, vectors in zip(rows, aims.vectors, strict=True):
        piece = int(source.segments.pieces[source.segments.rows[row]])
        start = int(source.segments.starts[row])
        stems = np.stack([source.bank.stem(piece, i, start, RATE_HZ) for i in range(5)])
        with torch.inference_mode():
            expected = clean.embed(torch.from_numpy(stems)[None])[0]
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert not aims.vectors[:, 2:].any()  # no network for these parts


def test_a_stopped_computation_goes_on(sources, clean, tmp_path):
    source, path = sources["train"], tmp_path / "v.npy"
    rows = np.arange(2 * SEGMENTS_AT_A_TIME + 5)
    told = []

    def stop(done, total):
        told.append((done, total))
        if done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean_vectors(clean, source, rows, path, CPU, stop)
    again = []
    aims = clean_vectors(clean, source, rows, path, CPU, lambda *x: again.append(x))
    assert told == [(SEGMENTS_AT_A_TIME, len(rows))]
    assert again == [(2 * SEGMENTS_AT_A_TIME, len(rows)), (len(rows), len(rows))]
    whole = clean_vectors(clean, source, rows, tmp_path / "w.npy", CPU)
    np.testing.assert_allclose(aims.vectors, whole.vectors, atol=1e-5)


def test_aims_cover_what_pretraining_draws(sources, clean, tmp_path):
    told = small_recipe(COMPACT / "direct_da.toml", "pretraining.segments_per_song=4").pretraining
    aims = pretraining_aims([clean], told, sources, tmp_path, CPU)
    assert len(aims["train"].rows) == 6 * 4
    assert 0 < len(aims["valid"].rows) <= told.valid_items
    assert np.all(np.diff(aims["train"].rows) > 0)
