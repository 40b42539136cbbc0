import json

import pytest
import torch
from safetensors.torch import save_file

from stemwise.errors import ModelError
from stemwise.models.checkpoint import load_model, save_model, shipped_models
from stemwise.models.direct import Direct, DirectShape

SMALL = DirectShape(
    sample_rate_hz=8000, n_fft=512, hop_samples=256, n_mels=32, channels=(4, 8), unit_blocks=True
)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Direct(SMALL).eval()


@pytest.mark.parametrize(("half", "tolerance"), [(False, 0), (True, 2e-3)])
def test_what_is_saved_comes_back(network, tmp_path, half, tolerance):
    save_model(network, tmp_path / "m.safetensors", name="small", provenance={"seed": 3}, half=half)
    model = load_model(tmp_path / "m.safetensors")
    mixture = torch.randn(2, 8000)
    torch.testing.assert_close(model.embed(mixture), network.embed(mixture), atol=tolerance, rtol=0)
    assert (model.name, model.provenance) == ("small", {"seed": 3})
    assert (model.sample_rate_hz, model.segment_seconds) == (8000, 10.0)
    assert not list(tmp_path.glob("*.partial"))


def test_fingerprint_is_of_weights_and_front_end(network, tmp_path):
    def print_of(net, name="same"):
        save_model(net, tmp_path / "m.safetensors", name=name, provenance={})
        return load_model(tmp_path / "m.safetensors").fingerprint

    first = print_of(network)
    assert len(first) == 16
    assert print_of(network, name="other name") == first
    with torch.no_grad():
        network.head.bias[0] += 0.5
    moved = print_of(network)
    assert moved != first
    other = Direct(SMALL.model_copy(update={"segment_seconds": 5.0}))
    other.load_state_dict(network.state_dict())
    assert print_of(other) != moved


def test_a_loaded_model_cannot_be_trained(network, tmp_path):
    save_model(network, tmp_path / "m.safetensors", name="small", provenance={})
    model = load_model(tmp_path / "m.safetensors")
    assert not model.network.training
    with pytest.raises(ModelError, match="stemwise train"):
        model.train()


def test_mistakes_are_one_clear_line(network, tmp_path):
    with pytest.raises(ModelError, match=r"nowhere.*neither a file nor shipped"):
        load_model("nowhere")
    (tmp_path / "text.safetensors").write_text("not weights at all")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        load_model(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "alien.safetensors", metadata={"format": "other"})
    with pytest.raises(ModelError, match="not a Stemwise model: found other"):
        load_model(tmp_path / "alien.safetensors")
    metadata = {"format": "stemwise-model-1", "shape": SMALL.model_dump_json(), "name": "x"}
    save_file({"x": torch.zeros(1)}, tmp_path / "hollow.safetensors", metadata=metadata)
    with pytest.raises(ModelError, match="does not fit its own description"):
        load_model(tmp_path / "hollow.safetensors")


@pytest.mark.parametrize("name", ["compact"])
def test_shipped_models(name):
    path = shipped_models()[name]
    assert path.stat().st_size < 30e6
    model = load_model(name)
    assert sum(p.numel() for p in model.parameters()) <= 4_000_000
    assert json.dumps(model.provenance)
    assert model.provenance["commit"] != "unknown"
