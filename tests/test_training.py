"""The real training, evaluation and command line, on a tiny made corpus."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from made_corpus import RATE_HZ, write_corpus
from stemwise import losses
from stemwise.cli import app
from stemwise.corpora.bank import bank_of
from stemwise.errors import CorpusError
from stemwise.evaluation import Pseudo10x5, evaluate
from stemwise.models.checkpoint import load_model
from stemwise.models.direct import Direct
from stemwise.recipe import load_recipe
from stemwise.sampling import contrastive_plan
from stemwise.training import train

COMPACT = Path(__file__).parents[1] / "recipes" / "compact" / "direct.toml"
SMALL = [
    f"model.sample_rate_hz={RATE_HZ}", "model.n_fft=512", "model.hop_samples=256",
    "model.n_mels=32", "model.channels=[8, 16, 16, 16]", "sampling.mixtures=4",
    "sampling.segment_seconds=1.0", "sampling.hop_seconds=0.5", "training.steps=6",
    "training.steps_per_epoch=3", "training.warmup_steps=1", "training.precision='32-true'",
    "training.validate_every_epochs=2", "loss.separation=1.0", "loss.mask_layer=3",
    "loss.separated_mixtures=2",
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 12, "valid": 15, "test": 15}, absent={(0, "guitar")})
    return directory


@pytest.fixture(scope="module")
def recipe():
    return load_recipe(COMPACT, SMALL)


@pytest.fixture(scope="module")
def bank(corpus):
    return bank_of(corpus, RATE_HZ)


def test_a_run_trains_validates_and_leaves_a_model(bank, recipe, tmp_path):
    path = train(recipe, bank, tmp_path / "run", commit="abc", progress=False)
    model = load_model(path)
    assert model.provenance["commit"] == "abc"
    assert model.provenance["recipe"]["training"]["steps"] == 6
    metrics = (tmp_path / "run" / "metrics" / "metrics.csv").read_text()
    assert "valid/accuracy_drums" in metrics
    assert "valid/leakage_residuals" in metrics


def test_a_stopped_run_goes_on_to_the_same_weights(bank, recipe, tmp_path):
    whole = load_model(train(recipe, bank, tmp_path / "whole", progress=False))
    half = recipe.model_copy(update={"training": recipe.training.model_copy(update={"steps": 3})})
    assert half.training.steps == 3

    class StoppedError(RuntimeError):
        pass

    calls = []
    original = losses.contrastive

    def stopping(*args, **kwargs):
        calls.append(1)
        if len(calls) > 4:  # in the second of two epochs
            raise StoppedError
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "contrastive", stopping)
        with pytest.raises(StoppedError):
            train(recipe, bank, tmp_path / "stopped", progress=False)
    again = load_model(train(recipe, bank, tmp_path / "stopped", progress=False))
    assert again.fingerprint == whole.fingerprint


def test_a_folder_of_another_run_and_a_bank_of_another_rate_are_refused(bank, recipe, tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(CorpusError, match="another recipe"):
        train(recipe, bank, tmp_path, progress=False)
    wrong = load_recipe(COMPACT, [*SMALL, "model.sample_rate_hz=16000"])
    with pytest.raises(CorpusError, match="8000 Hz, but the recipe wants 16000 Hz"):
        train(wrong, bank, tmp_path, progress=False)


def test_a_batch_is_learnt_by_heart(bank, recipe):
    torch.manual_seed(0)
    segments = bank.segments("train", 1.0, 0.5)
    plan = contrastive_plan(
        segments, 0, 0, 0, mixtures=4, kept_parts=(0, 0, 0, 0, 1), gain_deviation_db=0.0
    )
    mixture = torch.from_numpy(bank.gather(plan)[:, 0].sum(axis=1))
    labels = torch.from_numpy(plan.pieces[:, 0])
    network = Direct(recipe.model)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        loss = losses.contrastive(network(mixture)[0], labels, temperature=0.1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05


def test_evaluation_reports_both_scores_and_is_repeatable(bank, recipe):
    torch.manual_seed(0)
    network = Direct(recipe.model).eval()
    reports = [
        evaluate(bank, network.describe, "test", Pseudo10x5(segments_per_piece=1)) for _ in range(2)
    ]
    assert reports[0] == reports[1]
    pseudo = reports[0]["pseudo-10x5"]["drums"]
    assert (pseudo["queries"], pseudo["labels"], pseudo["chance"]) == (50, 10, 0.1)
    assert 0 <= pseudo["accuracy"] <= 1
    assert 0 <= pseudo["leakage"] <= 1
    assert reports[0]["normal"]["bass"]["labels"] == 15


def test_an_oracle_embedding_scores_all_and_leaks_nothing(bank):
    """The true pitch of the target as its embedding: the protocol must reward it fully."""

    def describe(mixture):
        power = torch.fft.rfft(mixture).abs()
        octaves = [power[:, 1000 * 2**i : 1000 * 2 ** (i + 1)] for i in range(5)]  # 10 s
        peaks = torch.stack([o.argmax(dim=1) / (1000 * 2**i) for i, o in enumerate(octaves)], 1)
        return peaks[:, :, None].expand(-1, -1, 128), torch.ones(len(mixture), 5)

    report = evaluate(bank, describe, "test")
    for part in ("drums", "bass", "piano", "guitar"):
        assert report["pseudo-10x5"][part]["accuracy"] > 0.95
        assert report["pseudo-10x5"][part]["leakage"] < 0.05


def test_command_line_from_recipe_to_scores(corpus, tmp_path):
    run = CliRunner().invoke
    sets = [word for item in SMALL for word in ("--set", item)]
    shown = run(app, ["recipe", "show", str(COMPACT), *sets])
    assert json.loads(shown.stdout)["training"]["steps"] == 6
    trained = run(
        app, ["train", str(COMPACT), "--corpus", str(corpus), "--run", str(tmp_path), *sets]
    )
    assert trained.exit_code == 0, trained.output
    path = trained.stdout.strip().splitlines()[-1]
    told = run(app, ["evaluate", path, "--corpus", str(corpus), "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout.strip().splitlines()[-1])
    assert report["split"] == "test"
    table = run(app, ["evaluate", path, "--corpus", str(corpus), "--split", "valid"])
    assert "| drums |" in table.stdout
