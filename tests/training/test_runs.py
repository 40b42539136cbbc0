"""The real runs and their command line, on a tiny made corpus."""

import csv
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from made_corpus import RATE_HZ, write_corpus
from made_recipes import COMPACT, RECIPES, small_overrides, small_recipe
from made_slakh import clustered_tracks, write_slakh
from stemwise.cli import app
from stemwise.corpora.bank import bank_of, open_bank
from stemwise.errors import CorpusError, ModelError, RecipeError, UsageError
from stemwise.evaluation import evaluate, subject_of
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS
from stemwise.protocols import Pseudo10x5
from stemwise.training import runs as runs_of_training
from stemwise.training import train, training_bank
from stemwise.training.assembly import begun_network, stage_of
from stemwise.training.setting import Setting
from stemwise.training.stages import Stage
from stemwise.training.units import Unit

CONTRAST = COMPACT / "contrast.toml"
EVERY = sorted(RECIPES.rglob("*.toml"))
pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    write_corpus(directory, {"train": 12, "valid": 15, "test": 15}, absent={(0, "guitar")})
    return directory


@pytest.fixture(scope="module")
def bank(corpus):
    return bank_of(corpus, RATE_HZ)


@pytest.fixture(scope="module")
def slakh(tmp_path_factory):
    """The bank of a made sample in Slakh2100's layout, by way of the command line."""
    folder = tmp_path_factory.mktemp("slakh")
    write_slakh(folder / "slakh2100", clustered_tracks(train=12, validation=15, test=15))
    command = ["data", "slakh", str(folder / "slakh2100"), str(folder / "corpus"), "--partial",
               "--rate", str(RATE_HZ)]  # fmt: skip
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 3, done.output  # most of the protocol's tracks are not there
    return open_bank(folder / "corpus" / f"bank-{RATE_HZ}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder that all recipes train in, so that they take over each other's stages."""
    return tmp_path_factory.mktemp("runs")


def cells(folder, column):
    """Return a column of the metrics of a fit, over all its sittings, by epoch."""
    found = {}
    for path in sorted(folder.glob("metrics/*/metrics.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                if row.get(column):
                    found[int(row["epoch"])] = float(row[column])
    return found


@pytest.mark.parametrize("path", EVERY, ids=lambda p: str(p.relative_to(RECIPES)))
def test_every_recipe_runs_from_stems_to_scores(path, slakh, runs):
    recipe = small_recipe(path)
    kind = path.relative_to(RECIPES).parts[0]
    model = load_model(train(recipe, slakh, runs / kind / recipe.name, progress=False))
    assert model.provenance["recipe"]["name"] == recipe.name
    protocol = Pseudo10x5(segments_per_piece=1)
    report, _ = evaluate(slakh, subject_of(model, "cpu"), "test", protocol, sdr_segments=4)
    parts = ["bass"] if recipe.method in ("clean", "cascade") else list(PARTS)
    assert list(report["normal"]) == parts
    assert 0 <= report["pseudo"]["bass"]["accuracy"] <= 1
    assert report["pseudo"]["bass"]["queries"] == 50
    assert ("sdr" in report) == (recipe.method in ("cascade", "direct-reconst", "direct-mask"))


def test_a_run_says_what_it_does_and_takes_over_what_others_finished(bank, tmp_path):
    lines = []
    for name in ("clean", "direct_da", "direct_reconst"):
        recipe = small_recipe(COMPACT / f"{name}.toml")
        train(recipe, bank, tmp_path / name, progress=False, announce=lines.append)
    assert [line.split(":")[1].strip().split(" in ")[0] for line in lines] == [
        "training",  # clean/bass
        "finished", "training", "training",  # Direct: clean, pretraining, triplets
        "finished", "finished", "training",  # Direct-Reconst
    ]  # fmt: skip
    assert lines[0].startswith("stage 1 of 1, clean/bass")
    other = small_recipe(COMPACT / "clean.toml", "clean.margin=0.5")
    train(other, bank, tmp_path / "other", progress=False, announce=lines.append)
    assert lines[-1].endswith("training")  # another margin is another stage


def test_cascade_keeps_what_its_earlier_stages_learnt(bank, tmp_path):
    recipe = small_recipe(COMPACT / "cascade.toml")
    path = train(recipe, bank, tmp_path / "run", progress=False)
    first = load_model(tmp_path / "run/separation/bass/weights.safetensors").network
    last = load_model(path).network
    old = first.separators.state_dict()
    new = last.separators.state_dict()
    for key, value in old.items():
        if value.is_floating_point():  # the run's model is in half precision
            assert torch.equal(value.half().float(), new[key]), key
    assert not torch.equal(
        first.extractors["bass"].head.weight.half().float(), last.extractors["bass"].head.weight
    )


def test_the_last_stages_fit_their_heads_and_leave_all_else(bank, tmp_path):
    recipe = small_recipe(RECIPES / "stemwise_heads.toml", epochs=2)
    path = train(recipe, bank, tmp_path / "run", progress=False)
    masked, lengthened, presence, heads = (
        load_model(tmp_path / f"run/{stage}/weights.safetensors").network.state_dict()
        for stage in recipe.stages
    )
    for key, value in lengthened.items():  # batch statistics as well
        assert torch.equal(value, presence[key]), key
    assert not torch.equal(masked["readers.0.head.weight"], lengthened["readers.0.head.weight"])
    steps = presence["presence_head.0.num_batches_tracked"]
    assert 0 < steps <= 2 * 3
    assert presence["presence_head.1.bias"].std() > 0
    last = load_model(path).network.state_dict()
    for key, value in presence.items():
        moves = key.startswith("readers.") and ".head." in key
        assert torch.equal(value, heads[key]) != moves, key
        kept = heads[key].half().float() if value.is_floating_point() else value
        assert torch.equal(kept, last[key]), key


def test_longer_segments_go_on_from_the_shorter_ones(bank, tmp_path):
    still = [f"lengthened.{key}=1e-12" for key in ("learning_rate", "muon_learning_rate")]
    recipe = small_recipe(RECIPES / "stemwise.toml", *still, "lengthened.weight_decay=0.0")
    train(recipe, bank, tmp_path / "run", progress=False)
    before, after = (tmp_path / f"run/{stage}/weights.safetensors" for stage in recipe.stages[:2])
    masked = load_model(before).network
    for key, value in load_model(after).network.named_parameters():
        torch.testing.assert_close(value, masked.get_parameter(key), atol=1e-6, rtol=0)
    setting = Setting(bank, bank, "cpu")
    stage = stage_of(
        recipe, Unit("lengthened"), {Unit("masked"): before}, setting, tmp_path / "stage"
    )
    assert stage.batches("train", 0)[0]["stems"].shape[2] == 1.5 * bank.sample_rate_hz


def test_training_goes_on_from_the_weights_of_a_model(bank, tmp_path):
    begun = train(small_recipe(RECIPES / "stemwise_heads.toml", epochs=2), bank,
                  tmp_path / "begun", progress=False)  # fmt: skip
    told = (f"masked.begin_with={begun}", "masked.learning_rate=1e-12", "masked.weight_decay=0.0",
            "masked.muon_learning_rate=1e-12")  # fmt: skip
    train(small_recipe(RECIPES / "stemwise.toml", *told, epochs=1), bank,
          tmp_path / "run", progress=False)  # fmt: skip
    first = dict(load_model(begun).network.named_parameters())
    on = load_model(tmp_path / "run/masked/weights.safetensors").network
    for key, value in on.named_parameters():
        if "presence" not in key:
            torch.testing.assert_close(value, first[key], atol=1e-6, rtol=0)


def test_training_goes_on_wider_from_the_weights_of_a_model(bank, tmp_path):
    begun = train(small_recipe(RECIPES / "stemwise_heads.toml", epochs=2), bank,
                  tmp_path / "begun", progress=False)  # fmt: skip
    shape = load_model(begun).network.shape
    wide = [width + 2 for width in shape.mask_channels]
    recipe = small_recipe(RECIPES / "stemwise.toml", f"masked.begin_with={begun}",
                          f"model.mask_channels={wide}", epochs=1)  # fmt: skip
    network, _ = begun_network(recipe, Unit("masked"), {})
    assert network.shape.mask_channels == tuple(wide)
    bands = torch.rand(2, shape.n_mels, 40)
    masks = load_model(begun).network.masks(bands)
    torch.testing.assert_close(network.eval().masks(bands), masks, atol=1e-5, rtol=1e-4)


def test_weights_of_another_shape_are_no_beginning(bank, tmp_path):
    recipe = small_recipe(RECIPES / "stemwise.toml", "masked.begin_with=compact")
    with pytest.raises(RecipeError, match="begin_with: compact is a network of another shape"):
        train(recipe, bank, tmp_path / "run", progress=False)


def test_the_best_epoch_is_kept_and_patience_ends_a_stage(bank, tmp_path):
    path = COMPACT / "clean.toml"
    wild = ("clean.patience_epochs=2", "clean.learning_rate=0.3", "clean.margin=5.0")
    recipe = small_recipe(path, *wild, epochs=30)
    kept = load_model(train(recipe, bank, tmp_path / "run", progress=False))
    losses = cells(tmp_path / "run/clean/bass", "valid/loss")
    best = min(losses, key=losses.get)
    assert len(losses) < 30
    assert len(losses) == best + 3  # two epochs of patience after the best
    until = small_recipe(path, *wild, epochs=best + 1)
    again = load_model(train(until, bank, tmp_path / "apart" / "run", progress=False))
    assert again.fingerprint == kept.fingerprint


def test_a_run_killed_after_patience_ended_it_trains_no_more(bank, tmp_path, monkeypatch):
    wild = ("clean.patience_epochs=1", "clean.learning_rate=0.3", "clean.margin=5.0")
    recipe = small_recipe(COMPACT / "clean.toml", *wild, epochs=30)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs_of_training, "_keep", killed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, bank, tmp_path / "run", progress=False)
    before = cells(tmp_path / "run/clean/bass", "valid/loss")
    train(recipe, bank, tmp_path / "run", progress=False)
    assert cells(tmp_path / "run/clean/bass", "valid/loss") == before


def test_a_stage_stopped_with_another_corpus_is_not_gone_on_with(bank, tmp_path):
    folder = tmp_path / "run/clean/bass"
    folder.mkdir(parents=True)
    (folder / "key").write_text("of another corpus")
    with pytest.raises(CorpusError, match="stopped with another corpus"):
        train(small_recipe(COMPACT / "clean.toml"), bank, tmp_path / "run", progress=False)


def test_metrics_tell_losses_and_scores(bank, tmp_path):
    recipe = small_recipe(
        COMPACT / "cascade_ft.toml", "finetuning.mes_every_epochs=1",
        "finetuning.monitor='mes_pseudo'",
    )  # fmt: skip
    train(recipe, bank, tmp_path / "run", progress=False)
    folder = tmp_path / "run/finetuning/bass"
    for column in ("train/triplet", "train/separation", "valid/loss", "valid/accuracy_bass",
                   "valid/leakage_bass", "valid/mes_pseudo"):  # fmt: skip
        assert cells(folder, column), column
    assert list(folder.glob("tensorboard/*/events.*"))
    assert not list(folder.glob("*.ckpt"))  # what resuming needed is gone


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from made_recipes import COMPACT, small_recipe
from stemwise.corpora.bank import open_bank
from stemwise.training import train, stages
calls = 0
plain = stages.Stage.training_step
def counting(self, *args):
    global calls
    calls += 1
    if calls == {kill_at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, *args)
stages.Stage.training_step = counting
recipe = small_recipe(COMPACT / {name!r}, *{told!r}, epochs=3)
train(recipe, open_bank(Path({bank!r})), Path({run!r}), progress=False)
"""


@pytest.mark.parametrize(
    ("name", "told", "kill_at", "loss"),
    [
        ("cascade_ft.toml", (), 15, "triplet"),
        ("direct_reconst.toml", (), 26, "triplet"),
        # in Muon's third step, the one of a shorter epoch
        ("../stemwise.toml", ("lengthened.steps_per_epoch=2",), 6, "presence"),
    ],
)
def test_a_killed_run_goes_on_to_the_same_losses_and_weights(
    bank, tmp_path, name, told, kill_at, loss
):
    recipe = small_recipe(COMPACT / name, *told, epochs=3)
    whole = load_model(train(recipe, bank, tmp_path / "a" / "whole", progress=False))
    killed = tmp_path / "b" / "killed"
    script = KILLED.format(
        tests=str(Path(__file__).parents[1]), name=name, told=told, bank=str(bank.directory),
        run=str(killed), kill_at=kill_at,
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    again = load_model(train(recipe, bank, killed, progress=False, resume=True))
    assert again.fingerprint == whole.fingerprint
    last = recipe.stages[-1] + ("/bass" if recipe.method == "cascade" else "")
    for column in ("valid/loss", "train/loss", f"train/{loss}"):
        expected = cells(tmp_path / "a/whole" / last, column)
        assert expected
        assert cells(killed / last, column) == expected


PROCESS = """
import os, pickle, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from made_recipes import COMPACT, small_recipe
from stemwise.corpora.bank import open_bank
from stemwise.training import batches, train
seen = []
plain = batches.Source.gather
def noting(self, plan):
    seen.append((self.share(plan.pieces).tolist(), self.share(plan.starts).tolist()))
    return plain(self, plan)
batches.Source.gather = noting
recipe = small_recipe(COMPACT / "direct_scratch.toml", batch=4)
path = train(recipe, open_bank(Path({bank!r})), Path({run!r}), progress=False)
name = "seen-" + os.environ.get("RANK", "0") + "-of-" + os.environ.get("WORLD_SIZE", "1")
(Path({run!r}) / name).write_bytes(pickle.dumps(seen))
"""


def test_two_launchers_share_out_the_same_batches(bank, tmp_path):
    """As on two machines: each has a `torchrun` of its own, as docs/scale.md starts them."""
    script = tmp_path / "train_it.py"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for machines in (1, 2):
        run = tmp_path / str(machines) / "run"
        script.write_text(
            PROCESS.format(
                tests=str(Path(__file__).parents[1]), bank=str(bank.directory), run=str(run)
            )
        )
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2",
                    "--nproc-per-node", "1", "--master-addr", "127.0.0.1",
                    "--master-port", port]  # fmt: skip
        commands = [[sys.executable, script]]
        if machines == 2:
            commands = [[*launcher, "--node-rank", str(rank), script] for rank in (0, 1)]
        started = [
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True,
                             env=os.environ | {"OMP_NUM_THREADS": "1"})
            for command in commands
        ]  # fmt: skip
        said = [process.communicate(timeout=300)[1] for process in started]
        assert [process.returncode for process in started] == [0] * machines, said[0][-3000:]
        assert load_model(run / "compact_direct_scratch.safetensors")
    whole = pickle.loads((tmp_path / "1/run/seen-0-of-1").read_bytes())
    shares = [pickle.loads((tmp_path / f"2/run/seen-{rank}-of-2").read_bytes()) for rank in (0, 1)]
    assert len(whole) == len(shares[0]) == len(shares[1]) > 3
    for both, *parts in zip(whole, *shares, strict=True):
        for what in (0, 1):
            joined = [None] * 4
            joined[0::2], joined[1::2] = parts[0][what], parts[1][what]
            assert joined == both[what]


def test_batches_that_cannot_be_shared_out_are_refused(bank, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(CorpusError, match="cannot be shared out among 3 processes"):
        train(small_recipe(COMPACT / "clean.toml"), bank, tmp_path / "run", progress=False)


@pytest.mark.parametrize("place", ["disk", "memory", "device"])
def test_a_bank_in_any_place_trains_the_same(bank, tmp_path, place):
    recipe = small_recipe(COMPACT / "cascade_ft.toml")
    gatherer = training_bank(bank, place, "cpu")
    path = train(recipe, bank, tmp_path / place / "run", progress=False, gatherer=gatherer,
                 device="cpu")  # fmt: skip
    whole = train(recipe, bank, tmp_path / "disk too" / "run", progress=False)
    assert load_model(path).fingerprint == load_model(whole).fingerprint


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")  # other tests load it; workers never
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker")  # on a single core
def test_workers_prepare_the_same_batches(bank, tmp_path):
    recipe = small_recipe(COMPACT / "clean.toml", epochs=2)
    alone, helped = (
        load_model(train(recipe, bank, tmp_path / str(n) / "run", progress=False, workers=n))
        for n in (0, 2)
    )
    assert alone.fingerprint == helped.fingerprint


def test_a_loss_that_is_no_number_ends_a_run_and_keeps_what_was_before(bank, tmp_path, monkeypatch):
    recipe, total = small_recipe(CONTRAST, "contrastive.steps=6"), Stage.total
    early = recipe.contrastive.steps_per_epoch

    def spoilt(self, batch, split):
        loss = total(self, batch, split)
        return loss * float("nan") if self.global_step >= early else loss

    monkeypatch.setattr(Stage, "total", spoilt)
    with pytest.raises(ModelError, match="is nan; train with --set precision=32"):
        train(recipe, bank, tmp_path, progress=False)
    kept = torch.load(tmp_path / "contrastive/last.ckpt", weights_only=False)
    assert kept["global_step"] == early
    assert all(weight.isfinite().all() for weight in kept["state_dict"].values())


def test_runs_that_cannot_be_are_refused_in_one_line(bank, tmp_path):
    recipe = small_recipe(CONTRAST)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "recipe.json").write_text("{}")
    with pytest.raises(CorpusError, match="another recipe"):
        train(recipe, bank, tmp_path / "taken", progress=False)
    with pytest.raises(RecipeError, match="no run to resume"):
        train(recipe, bank, tmp_path / "new", progress=False, resume=True)
    wrong = small_recipe(CONTRAST, rate_hz=16000)
    with pytest.raises(CorpusError, match="8000 Hz, but the recipe wants 16000 Hz"):
        train(wrong, bank, tmp_path / "wrong", progress=False)


def test_command_line_from_recipe_to_scores(corpus, tmp_path):
    run = CliRunner().invoke
    path = COMPACT / "clean.toml"
    sets = [word for item in small_overrides(path) for word in ("--set", item)]
    common = ["train", str(path), "--corpus", str(corpus), "--run", str(tmp_path / "run"), *sets]
    assert run(app, [*common, "--resume"]).exit_code == 1
    assert isinstance(run(app, [*common, "--bank", "cloud"]).exception, UsageError)
    both = run(app, [*common, "--device", "cpu", "--bank", "device", "--workers", "2"])
    assert isinstance(both.exception, UsageError)
    trained = run(app, [*common, "--device", "cpu", "--bank", "memory"])
    assert trained.exit_code == 0, trained.output
    model = trained.stdout.strip().splitlines()[-1]
    folder = tmp_path / "run"
    told = run(app, ["evaluate", str(folder), "--json"])  # on the run's own corpus
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout.strip().splitlines()[-1])
    assert report["split"] == "test"
    assert report["model"]["core_minutes"] > 0
    kept = folder / "report" / "test-pseudo-10x5"
    assert {path.name for path in kept.iterdir()} == {"report.json", "report.md", "report.html"}
    other = ["--corpus", str(corpus), "--split", "valid", "-o", str(tmp_path / "valid")]
    lines = run(app, ["evaluate", model, *other])
    assert "| bass |" in lines.stdout
    assert "| drums |" not in lines.stdout
    table = run(app, ["table", str(folder), str(tmp_path / "valid")])
    assert table.stdout.count("### MES-Pseudo") == 2 + 1  # two splits never share a table; paper
