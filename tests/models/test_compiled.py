"""OpenVINO against torch."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from made_collection import add_song
from made_music import TINY
from stemwise import load_model
from stemwise.errors import ModelError
from stemwise.library.embed import embed_files
from stemwise.models.cascade import Clean, CleanShape
from stemwise.models.checkpoint import Model, shipped_models
from stemwise.models.direct import Direct


def noises(model, number):
    size = round(model.segment_seconds * model.sample_rate_hz)
    return 0.1 * torch.randn(number, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_shipped_models_give_the_same_vectors(name):
    plain, fast = load_model(name), load_model(name).use_openvino()
    assert fast.fingerprint == plain.fingerprint
    for wave in noises(plain, 2):
        with torch.inference_mode():
            wanted, found = plain.describe(wave[None]), fast.describe(wave[None])
        torch.testing.assert_close(found[0], wanted[0], atol=2e-6, rtol=0)
        torch.testing.assert_close(found[1], wanted[1], atol=2e-5, rtol=0)
        assert not torch.equal(found[0], wanted[0])  # it is another runtime


def test_threads_and_order_change_no_bit():
    torch.manual_seed(0)
    model = Model(Direct(TINY), "tiny", {}).use_openvino()
    waves = noises(model, 40)
    alone = [model.describe(wave[None])[0] for wave in waves]
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda wave: model.describe(wave[None])[0], waves.flip(0)))
    for one, other in zip(alone, reversed(again), strict=True):
        assert torch.equal(one, other)


def test_another_process_takes_over_what_is_compiled(monkeypatch):
    torch.manual_seed(0)
    model = Model(Direct(TINY), "tiny", {}).use_openvino()
    pickled = pickle.dumps(model)
    monkeypatch.setattr(torch.export, "export", None)  # nothing is converted again
    again = pickle.loads(pickled)
    for wave in noises(model, 2):
        assert torch.equal(again.describe(wave[None])[0], model.describe(wave[None])[0])


def test_files_get_the_vectors_that_torch_gives_them(tmp_path):
    torch.manual_seed(0)
    network = Direct(TINY)
    plain, fast = Model(network, "tiny", {}), Model(network, "tiny", {}).use_openvino()
    files = [add_song(tmp_path / f"{seed}.wav", 1.5 + 2 * seed, seed) for seed in range(4)]
    for one, other in zip(embed_files(files, plain, 2), embed_files(files, fast, 2), strict=True):
        np.testing.assert_array_equal(one.start_seconds, other.start_seconds)
        np.testing.assert_allclose(one.embeddings, other.embeddings, atol=2e-6)
        np.testing.assert_allclose(one.presence, other.presence, atol=2e-5)


def test_other_lengths_and_batches_go_through_torch():
    torch.manual_seed(0)
    network = Direct(TINY)
    plain, fast = Model(network, "tiny", {}), Model(network, "tiny", {}).use_openvino()
    waves = noises(plain, 3)
    for mixture in (waves, waves[:1, :-7]):
        assert torch.equal(plain.describe(mixture)[0], fast.describe(mixture)[0])


def test_nothing_reports_its_use_to_its_makers():
    Model(Direct(TINY), "tiny", {}).use_openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_a_method_that_cannot_is_refused():
    shape = CleanShape(
        network="unet", sample_rate_hz=8000, n_fft=512, hop_samples=256, n_mels=32, channels=(4, 8)
    )
    with pytest.raises(ModelError, match="runtime openvino is for direct models, and tiny is"):
        Model(Clean(shape), "tiny", {}).use_openvino()


def test_without_openvino_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError, match=r"pip install 'stemwise\[openvino\]'"):
        Model(Direct(TINY), "tiny", {}).use_openvino()
