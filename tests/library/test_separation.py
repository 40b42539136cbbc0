import numpy as np
import pytest
import torch

from made_music import TINY, tone
from stemwise.errors import ModelError, UsageError
from stemwise.library.separation import separated
from stemwise.models.checkpoint import Model
from stemwise.models.direct import DirectReconst


@pytest.fixture(scope="module")
def separator():
    torch.manual_seed(0)
    shape = TINY.model_copy(update={"n_mels": 0, "pooling": "mean", "channels": (5, 10)})
    return Model(DirectReconst(shape), "separating", {})


@pytest.mark.parametrize("seconds", [0.5, 2, 2.1, 7.3])
def test_a_part_has_the_length_of_the_mixture_however_it_is_cut(separator, seconds):
    assert separator.separates
    mixture = tone(seconds, 8000)
    found = np.concatenate(list(separated([mixture], separator, "bass")))
    assert found.shape == mixture.shape
    assert np.isfinite(found).all()
    pieces = np.array_split(mixture, 5)
    again = np.concatenate(list(separated(pieces, separator, "bass")))
    assert np.array_equal(again, found)


@pytest.mark.parametrize("skip", [0, 1, 7999, 8000, 16001, 40000, 58399, 58400, 99999])
def test_what_is_skipped_changes_nothing_of_the_rest(separator, skip):
    mixture = np.array_split(tone(7.3, 8000), 5)
    whole = np.concatenate(list(separated(mixture, separator, "bass")))
    rest = np.concatenate([whole[:0], *separated(mixture, separator, "bass", skip)])
    np.testing.assert_array_equal(rest, whole[skip:])


def test_the_first_window_is_the_models_own_up_to_the_overlap(separator):
    mixture = tone(5, 8000)
    window = torch.tensor(mixture[:16000])[None]
    with torch.inference_mode():
        expected = separator.separate(window)[0, 1].numpy()
    found = np.concatenate(list(separated([mixture], separator, "bass")))
    assert np.allclose(found[:8000], expected[:8000], atol=1e-6)


def test_what_cannot_be_separated_is_told(separator, tiny_model):
    assert not tiny_model.separates
    with pytest.raises(ModelError, match="does not separate"):
        list(separated([tone(2, 8000)], tiny_model, "bass"))
    with pytest.raises(UsageError, match="flute"):
        list(separated([tone(2, 8000)], separator, "flute"))
    assert list(separated([], separator, "bass")) == []
