import json

import pytest
import safetensors
import torch
from made_networks import SHAPES, made, noise
from safetensors.torch import load_file, save_file

from stemwise.errors import ModelError
from stemwise.models.checkpoint import (
    METHODS,
    Model,
    load_model,
    read_provenance,
    save_model,
    shipped_models,
)
from stemwise.models.direct import Direct, DirectShape
from stemwise.parts import PARTS

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


def sound_for(method):
    return noise(2, 5, 2000) if method == "clean" else noise(2, 2000)


def saved(method, path, **options):
    network = made(method)
    save_model(network, path, name=method, provenance={"seed": 3}, **options)
    return network


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("half", "tolerance"), [(False, 2e-6), (True, 2e-2)])
def test_every_method_comes_back(method, tmp_path, half, tolerance):
    network = saved(method, tmp_path / "m.safetensors", half=half)
    model = load_model(tmp_path / "m.safetensors")
    assert type(model.network) is type(network)
    assert model.network.shape == network.shape
    assert model.takes_stems == (method == "clean")
    assert model.parts == PARTS
    assert (model.name, model.provenance) == (method, {"seed": 3})
    assert not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    sound = sound_for(method)
    with torch.no_grad():
        for mine, theirs in zip(model.describe(sound), network.describe(sound), strict=True):
            torch.testing.assert_close(mine, theirs, atol=tolerance, rtol=0)
        torch.testing.assert_close(model.embed(sound), model.describe(sound)[0])


@pytest.mark.parametrize("half", [True, False])
def test_weights_lie_in_the_precision_asked_for(tmp_path, half):
    saved("cascade", tmp_path / "m.safetensors", half=half)
    kinds = {value.dtype for value in load_file(tmp_path / "m.safetensors").values()}
    assert kinds == {torch.float16 if half else torch.float32, torch.int64}


@pytest.mark.parametrize("method", METHODS)
def test_who_separates_and_who_says_that_it_does_not(method, tmp_path):
    network = saved(method, tmp_path / "m.safetensors", half=False)
    model = load_model(tmp_path / "m.safetensors")
    mixture = noise(2, 2000)
    if method in ("cascade", "direct-reconst", "direct-mask"):
        torch.testing.assert_close(model.separate(mixture), network.separate(mixture))
    else:
        wanted = f"^{method} is a {method} model and does not separate; use a cascade, direct-rec"
        with pytest.raises(ModelError, match=wanted):
            model.separate(mixture)


@pytest.mark.parametrize("method", ["clean", "cascade"])
def test_parts_are_those_with_networks(method, tmp_path):
    network = made(method, parts=("bass", "guitar"))
    save_model(network, tmp_path / "m.safetensors", name="two", provenance={})
    model = load_model(tmp_path / "m.safetensors")
    assert model.parts == ("bass", "guitar")
    lengths = model.embed(sound_for(method)).norm(dim=-1)
    assert ((lengths > 0) == torch.tensor([False, True, False, True, False])).all()


def rewritten(path, **changes):
    """Write the file's metadata anew; a change to None takes the entry out."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata() | changes
    kept = {key: value for key, value in metadata.items() if value is not None}
    save_file(load_file(path), path, metadata=kept)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": None}, "does not fit its own description: 'method'"),
        ({"method": "guess"}, "does not fit its own description: 'guess'"),
        ({"method": "cascade"}, "does not fit its own description"),
        ({"method": "direct-reconst"}, "does not fit its own description: Error.* DirectReconst"),
        ({"shape": None}, "does not fit its own description: 'shape'"),
        ({"shape": "{"}, "does not fit its own description"),
        ({"shape": "{}"}, "does not fit its own description"),
        ({"provenance": "{"}, "does not fit its own description"),
        ({"format": None}, "not a Stemwise model: found no format, wanted stemwise-model-1"),
    ],
    ids=str,
)
def test_damaged_descriptions_are_one_clear_line(tmp_path, changes, said):
    path = tmp_path / "m.safetensors"
    saved("direct", path)
    rewritten(path, **changes)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_shape_that_no_network_can_have_is_a_model_error(tmp_path):
    path = tmp_path / "m.safetensors"
    saved("direct-reconst", path)
    shape = SHAPES["direct-reconst"].model_copy(update={"n_mels": 16})
    rewritten(path, shape=shape.model_dump_json())
    with pytest.raises(ModelError, match="its own description: Direct-Reconst needs linear"):
        load_model(path)


def test_damaged_weights_are_a_model_error(tmp_path):
    path = tmp_path / "m.safetensors"
    saved("direct", path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for read in (load_model, read_provenance):
        with pytest.raises(ModelError, match="cannot be read as safetensors"):
            read(path)
    saved("direct", path)
    state = load_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for damaged in (
        {key: value for key, value in state.items() if key != "head.bias"},  # a weight less,
        state | {"more": torch.zeros(1)},  # one more,
        state | {"head.bias": torch.zeros(3)},  # one of another size
    ):
        save_file(damaged, path, metadata=metadata)
        with pytest.raises(ModelError, match="does not fit its own description"):
            load_model(path)


def test_provenance_is_read_without_the_weights(tmp_path):
    path = tmp_path / "m.safetensors"
    provenance = {"commit": "abc", "recipe": {"name": "größe", "seed": 3}}
    save_model(made("clean"), path, name="x", provenance=provenance)
    assert read_provenance(path) == provenance == load_model(path).provenance
    rewritten(path, provenance=None)
    assert read_provenance(path) == {}
    rewritten(path, provenance="{")
    with pytest.raises(ModelError, match="its provenance is not JSON"):
        read_provenance(path)
    with pytest.raises(ModelError, match="cannot be read"):
        read_provenance(tmp_path / "none.safetensors")


@pytest.mark.parametrize("method", METHODS)
def test_a_model_is_always_in_eval_mode(method):
    model = Model(made(method).train(), "x", {})
    assert not any(module.training for module in model.network.modules())
    with pytest.raises(ModelError, match="stemwise train"):
        model.train()
    assert model.eval() is model


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


@pytest.mark.parametrize(
    ("name", "fingerprint"), [("stemwise", "80574016596ff559"), ("compact", "2964cd8b92caa0fd")]
)
def test_shipped_models_keep_their_fingerprints(name, fingerprint):
    """Catalogues hold vectors by these: they change with the weights alone."""
    assert load_model(name).fingerprint == fingerprint


def test_fingerprints_tell_methods_and_parts_apart():
    networks = [made(method) for method in METHODS]
    networks.append(made("clean", parts=("drums",)))
    prints = {Model(network, "x", {}).fingerprint for network in networks}
    assert len(prints) == 6


@pytest.mark.parametrize(
    ("name", "most"),
    [("compact", 4_000_000), ("stemwise", 12_151_648)],  # Direct's in the paper
)
def test_shipped_models(name, most):
    path = shipped_models()[name]
    assert path.stat().st_size < 30e6
    model = load_model(name)
    assert sum(p.numel() for p in model.network.parameters()) <= most
    assert json.dumps(model.provenance)
    assert model.provenance["commit"] != "unknown"
