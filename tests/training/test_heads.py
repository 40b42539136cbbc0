import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn import functional

from made_corpus import RATE_HZ, write_corpus
from made_recipes import RECIPES, small_recipe
from stemwise.corpora.bank import bank_of
from stemwise.training.assembly import network_of
from stemwise.training.batches import Source
from stemwise.training.heads import Scatter, fit_heads

LABELS, WIDTH = 9, 6


def items(number=400, seed=0):
    """Return items (N, W) around a centre per label, noisy in one direction above all."""
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, LABELS, number)
    centres = chance.normal(size=(LABELS, WIDTH))
    noise = chance.normal(size=(number, WIDTH)) * [5, 1, 0.5, 0.5, 0.3, 0.2]
    return (centres[labels] + noise).astype(np.float32), labels


def scatter_of(numbers, labels, labels_in_all=LABELS):
    scatter = Scatter(labels_in_all, WIDTH)
    for rows in np.array_split(np.arange(len(labels)), 7):
        scatter.add(numbers[rows], labels[rows])
    return scatter


def test_axes_are_those_of_linear_discriminant_analysis():
    numbers, labels = items()
    weights, bias = scatter_of(numbers, labels).projection(WIDTH, shrinkage=1e-12)
    exact = numbers.astype(float)
    reference = LinearDiscriminantAnalysis(solver="eigen").fit(exact, labels)
    for row, axis in zip(weights, reference.scalings_.T, strict=False):
        cosine = row @ axis / np.linalg.norm(row) / np.linalg.norm(axis)
        assert abs(cosine) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose((exact @ weights.T + bias).mean(axis=0), 0, atol=1e-9)


def test_an_axis_counts_by_what_an_item_tells_of_its_label_there():
    numbers, labels = items()
    weights, bias = scatter_of(numbers, labels).projection(WIDTH, shrinkage=1e-12)
    found = numbers.astype(float) @ weights.T + bias
    means = np.stack([found[labels == k].mean(axis=0) for k in range(LABELS)])
    within = np.var(found - means[labels], axis=0)
    between = np.var(means[labels], axis=0)
    ratio = between / within
    np.testing.assert_allclose(np.sqrt(within), ratio / (1 + ratio), rtol=1e-6)
    assert (np.diff(ratio) <= 0).all()


def test_labels_without_items_and_axes_that_are_not_there_count_nothing():
    numbers, labels = items()
    plain = scatter_of(numbers, labels).projection(WIDTH, 0.3)
    spread = scatter_of(numbers, 3 * labels + 1, 3 * LABELS + 2).projection(WIDTH + 2, 0.3)
    np.testing.assert_allclose(np.abs(spread[0][:WIDTH]), np.abs(plain[0]), atol=1e-9)
    assert not spread[0][WIDTH:].any()
    assert not spread[1][WIDTH:].any()


def test_shrinkage_adds_to_the_variance_within():
    numbers, labels = items()
    exact = numbers.astype(float)
    centred = exact - np.stack([exact[labels == k].mean(axis=0) for k in range(LABELS)])[labels]
    within = centred.T @ centred / len(exact)
    between = np.cov(exact.T, bias=True) - within
    within += 0.5 * np.trace(within) / WIDTH * np.eye(WIDTH)
    wanted = scipy.linalg.eigh(between, within, eigvals_only=True)[::-1]
    weights, _ = scatter_of(numbers, labels).projection(WIDTH, shrinkage=0.5)
    spans = np.sqrt(np.einsum("dw,wv,dv->d", weights, within, weights))  # l / (1 + l)
    np.testing.assert_allclose(spans, wanted / (1 + wanted), rtol=1e-6)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 20})
    bank = bank_of(directory, RATE_HZ)
    return Source(bank, bank.segments("train", 1.0, 0.5), seed=0)


def fitted(source, *words, seed=0):
    torch.manual_seed(0)
    recipe = small_recipe(RECIPES / "stemwise_heads.toml", *words)
    network = network_of(recipe)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    fit_heads(network, source, recipe.heads, seed)
    return network, before


def test_only_the_last_layers_of_the_extractors_move(source):
    network, before = fitted(source)
    moved = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {f"readers.{i}.head.{k}" for i in range(5) for k in ("weight", "bias")}


def test_the_same_seed_gives_the_same_layers_and_another_gives_others(source):
    one, two, other = (fitted(source, seed=seed)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["readers.2.head.weight"], other["readers.2.head.weight"])


def test_each_layer_learns_to_hear_its_own_part(source):
    """All parts are given the mixture's spectrum; a tone in the part's octave tells the song."""
    torch.manual_seed(0)
    recipe = small_recipe(
        RECIPES / "stemwise_heads.toml",
        "heads.draws=10",
        "heads.mixtures=8",
        "heads.heard_in=4",
        "heads.speed_semitones=0.0",
        "heads.shrinkage=0.3",
    )
    network = network_of(recipe)
    width = network.readers[0].head.in_features

    def spectrum(mel):
        levels = (mel.mean(dim=2) + 1e-3).log()
        return functional.pad(levels, (0, width - levels.shape[1]))[:, None].expand(-1, 5, -1)

    network.pooled = spectrum
    segments, chance = source.segments, torch.Generator().manual_seed(7)
    stems = torch.stack([torch.stack([torch.from_numpy(
        source.bank.stem(int(piece), part, 0, segments.length_samples)) for part in range(5)])
        for piece in segments.pieces])  # fmt: skip
    labels = torch.cat([torch.rand(20, 5, generator=chance).argsort(dim=0) for _ in range(4)])
    heard = spectrum(network.see(stems[labels, torch.arange(5)].sum(dim=1)))

    def known():
        right = []
        for part, reader in enumerate(network.readers):
            block = functional.normalize(reader.head(heard[:, part]).detach(), dim=1)
            nearest = (block @ block.T - 3 * torch.eye(len(block))).argmax(dim=1)
            right.append((labels[nearest, part] == labels[:, part]).float().mean().item())
        return right

    before = known()
    fit_heads(network, source, recipe.heads, 0)
    assert max(before) < 0.3
    assert min(known()) > 0.5
