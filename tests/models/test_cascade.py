import copy

import librosa
import numpy as np
import pytest
import torch
from made_networks import SHAPES, made, noise
from pydantic import ValidationError

from oracles import standardised_mel_read_aloud
from stemwise.models.cascade import CleanShape, length_logits
from stemwise.models.checkpoint import METHODS
from stemwise.parts import PARTS


def inputs(method, batch=2, samples=2000, seed=0):
    return noise(batch, 5, samples, seed=seed) if method == "clean" else noise(batch, samples)


class Gain(torch.nn.Module):
    """A separator whose mask is the same everywhere."""

    def __init__(self, gain):
        super().__init__()
        self.gain = gain

    def forward(self, magnitude):
        return self.gain * magnitude


@pytest.mark.parametrize("method", ["clean", "cascade"])
def test_a_block_is_its_own_networks_work(method):
    """The log-mel of the part's magnitudes, by the slow definition, through its own extractor."""
    network = made(method)
    sound = inputs(method)
    filters = librosa.filters.mel(sr=8000, n_fft=256, n_mels=20)
    with torch.no_grad():
        embedding = network.embed(sound)
        assert embedding.shape == (2, 5, 128)
        for i, part in enumerate(PARTS):
            if method == "clean":
                magnitude = network.front_end.magnitude(sound[:, i])
            else:
                magnitude = network.separators[part](network.front_end.magnitude(sound))
            mels = [standardised_mel_read_aloud(m, filters) for m in magnitude.double().numpy()]
            expected = network.extractors[part](torch.tensor(np.stack(mels)).float()[:, None])
            torch.testing.assert_close(embedding[:, i], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("method", "kind"), [
    ("clean", "extractors"), ("cascade", "extractors"), ("cascade", "separators"),
])  # fmt: skip
def test_a_parts_networks_move_its_own_block_only(method, kind):
    network = made(method)
    sound = inputs(method)
    with torch.no_grad():
        before = network.embed(sound)
        for parameter in getattr(network, kind)["piano"].parameters():
            parameter.mul_(1.5)
        moved = (network.embed(sound) - before).abs().amax(dim=(0, 2))
    assert (moved > 0).tolist() == [part == "piano" for part in PARTS]


@pytest.mark.parametrize("method", ["clean", "cascade"])
def test_one_part_alone_is_the_same_block_at_less_cost(method):
    network = made(method).eval()
    sound = inputs(method)
    with torch.no_grad():
        whole, alone = network.embed(sound), network.embed(sound, "guitar")
    assert torch.equal(alone[:, 3], whole[:, 3])
    assert not alone[:, [0, 1, 2, 4]].any()


def test_clean_hears_its_own_stem_only():
    network, stems = made("clean"), inputs("clean")
    other = stems.clone()
    other[:, 3] = noise(2, 2000, seed=9)
    with torch.no_grad():
        moved = (network.embed(other) - network.embed(stems)).abs().amax(dim=(0, 2))
    assert (moved > 0).tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("method", ["clean", "cascade"])
def test_parts_without_networks_have_zero_blocks(method):
    network = made(method, parts=("bass", "guitar"))
    assert list(network.extractors) == ["bass", "guitar"]
    with torch.no_grad():
        lengths = network.embed(inputs(method)).norm(dim=-1)
    assert ((lengths > 0) == torch.tensor([False, True, False, True, False])).all()


def test_a_part_alone_gives_the_block_it_gives_among_all():
    whole, sound = made("cascade"), inputs("cascade")
    one = made("cascade", parts=("residuals",), seed=1)
    own = {k: v for k, v in whole.state_dict().items() if ".residuals." in k}
    one.load_state_dict(own)
    with torch.no_grad():
        torch.testing.assert_close(one.embed(sound)[:, 4], whole.embed(sound)[:, 4])
        torch.testing.assert_close(one.separate(sound)[:, 4], whole.separate(sound)[:, 4])
        assert one.separate(sound)[:, :4].abs().max() == 0


def test_parts_of_a_shape_are_known_and_in_order():
    plain = SHAPES["clean"].model_dump()
    shape = CleanShape(**(plain | {"parts": ("guitar", "drums", "guitar")}))
    assert shape.parts == ("drums", "guitar")
    for parts in ((), ("drum",)):
        with pytest.raises(ValidationError, match="choose from drums, bass, piano"):
            CleanShape(**(plain | {"parts": parts}))


@pytest.mark.parametrize("method", METHODS)
def test_neighbours_in_the_batch_do_not_matter(method):
    network, sound = made(method), inputs(method, batch=4)
    with torch.no_grad():
        together = network.embed(sound)
        for b in range(4):
            alone = network.embed(sound[b : b + 1])[0]
            torch.testing.assert_close(together[b], alone, rtol=1e-4, atol=1e-5)
        moved = network.embed(sound.flip(0)).flip(0)
    torch.testing.assert_close(together, moved, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_silence_is_finite_and_short_input_refused(method):
    network = made(method)
    with torch.no_grad():
        embedding, presence = network.describe(torch.zeros_like(inputs(method)))
    assert torch.isfinite(embedding).all()
    assert torch.isfinite(presence).all()
    with pytest.raises(ValueError, match="N > 128"):
        network.embed(inputs(method)[..., :128])


@pytest.mark.parametrize("method", ["clean", "cascade", "direct", "direct-reconst"])
def test_presence_is_read_off_the_length(method):
    """The logistic function of log n is n / (n + 1)."""
    with torch.no_grad():
        embedding, presence = made(method).describe(inputs(method))
    length = embedding.norm(dim=-1)
    torch.testing.assert_close(presence, length / (length + 1))
    torch.testing.assert_close(length_logits(embedding), length.log())
    assert length_logits(torch.zeros(1, 5, 128)).isfinite().all()


@pytest.mark.parametrize("samples", [1984, 2000, 2047])
def test_masks_of_ones_give_the_mixture_back(samples):
    network, mixture = made("cascade"), noise(2, samples)
    for part in PARTS:
        network.separators[part] = Gain(1.0)
    parts = network.separate(mixture)
    assert parts.shape == (2, 5, samples)
    expected = mixture[:, None].expand(2, 5, samples)
    torch.testing.assert_close(parts, expected, rtol=1e-4, atol=1e-5)


def test_masks_that_share_out_the_mixture_give_parts_that_sum_to_it():
    network, mixture = made("cascade"), noise(2, 2000)
    gains = (0.4, 0.3, 0.15, 0.1, 0.05)
    for part, gain in zip(PARTS, gains, strict=True):
        network.separators[part] = Gain(gain)
    parts = network.separate(mixture)
    torch.testing.assert_close(parts.sum(dim=1), mixture, rtol=1e-4, atol=1e-5)
    for i, gain in enumerate(gains):
        torch.testing.assert_close(parts[:, i], gain * mixture, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["cascade", "direct-reconst", "direct-mask"])
@pytest.mark.parametrize("hop", [64, 128])
@pytest.mark.parametrize("samples", [1920, 1985, 2000, 2040, 2047])
def test_separated_parts_are_no_louder_than_the_mixture(method, hop, samples):
    """Also at the end, where windows that overlap by half have nothing to divide by."""
    network = made(method, hop_samples=hop)
    with torch.no_grad():
        parts = network.separate(noise(1, samples))
    assert parts.shape == (1, 5, samples)
    assert parts.abs().max() < 2 * noise(1, samples).abs().max()
    assert parts.abs().amax(dim=2).min() > 0


def test_separation_of_silence_is_silence():
    for method in ("cascade", "direct-reconst"):
        with torch.no_grad():
            assert made(method).separate(torch.zeros(1, 2000)).abs().max() == 0


def step(network, mixture):
    """One step of training on a loss in which everything takes part."""
    moving = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(moving, 0.1)
    (network.embed(mixture) - 1).square().mean().backward()
    optimizer.step()


def test_frozen_separators_stand_still_while_extractors_learn():
    network = made("cascade")
    network.freeze_separators()
    network.train()
    assert network.training
    assert not any(module.training for module in network.separators.modules())
    assert all(module.training for module in network.extractors.modules())
    before = copy.deepcopy(network.state_dict())
    step(network, noise(4, 2000))
    assert all(p.grad is None for p in network.separators.parameters())
    moved = {name for name, value in network.state_dict().items()
             if not torch.equal(value, before[name])}  # fmt: skip
    assert not [name for name in moved if name.startswith("separators.")]
    for part in PARTS:
        ends = ("encoder.0.0.weight", "encoder.0.1.running_mean", "head.weight")
        assert {f"extractors.{part}.{end}" for end in ends} <= moved
    network.eval()
    assert not network.extractors.training


def test_unfrozen_separators_learn_through_the_extractors():
    """End to end: the loss of the embedding reaches the first layer of the separator."""
    network = made("cascade").train()
    before = copy.deepcopy(network.state_dict())
    step(network, noise(4, 2000))
    for part in PARTS:
        gradient = network.separators[part].encoder[0][0].weight.grad
        assert gradient is not None
        assert gradient.abs().max() > 0
    moved = [name for name, value in network.separators.state_dict(prefix="separators.").items()
             if not torch.equal(value, before[name])]  # fmt: skip
    assert any(name.endswith("running_mean") for name in moved)
    assert any(name.endswith("weight") for name in moved)
