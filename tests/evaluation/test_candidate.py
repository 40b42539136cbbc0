import json
from pathlib import Path

import pytest
import torch

from stemwise.errors import ModelError, UsageError
from stemwise.evaluation import BASELINES, find_candidate
from stemwise.models.cascade import Clean, CleanShape
from stemwise.models.checkpoint import save_model

SHAPE = CleanShape(
    sample_rate_hz=2000, n_fft=256, hop_samples=128, n_mels=20, network="unet", channels=(3, 4, 5),
    parts=("bass",),
)  # fmt: skip


def write_run(run, costs, corpus="data/made", recipe=None):
    torch.manual_seed(0)
    provenance = {
        "recipe": recipe or {"name": "made", "seed": 3}, "costs": costs, "corpus": corpus,
        "commit": "abc",
    }  # fmt: skip
    run.mkdir()
    (run / "recipe.json").write_text(json.dumps({"name": "made"}))
    save_model(Clean(SHAPE), run / "made.safetensors", name="made", provenance=provenance)


def test_a_run_tells_its_corpus_its_cost_and_where_its_reports_go(tmp_path):
    run = tmp_path / "run"
    write_run(run, {"clean/bass": {"core_minutes": 1.5, "minutes": 1.0}, "x": {"core_minutes": 2}})
    found = find_candidate(str(run), "cpu")
    assert found.corpus == Path("data/made")
    assert found.reports == run / "report"
    assert found.sample_rate_hz == 2000
    about = found.about
    assert (about["name"], about["method"], about["takes_stems"]) == ("made", "clean", True)
    assert (about["recipe"], about["seed"], about["commit"]) == ("made", 3, "abc")
    assert about["core_minutes"] == 3.5
    assert about["parameters"] == sum(p.numel() for p in Clean(SHAPE).parameters())


@pytest.mark.parametrize("costs", [{}, {"a": {"core_minutes": 1.0}, "b": None}])
def test_a_cost_of_which_a_stage_is_missing_is_not_told(tmp_path, costs):
    write_run(tmp_path / "run", costs)
    assert find_candidate(str(tmp_path / "run"), "cpu").about["core_minutes"] is None


def test_the_settings_are_the_recipe_but_for_its_seed(tmp_path):
    found = []
    for number, recipe in enumerate(
        ({"name": "a", "seed": 1}, {"name": "a", "seed": 2}, {"name": "b"})
    ):
        run = tmp_path / str(number)
        write_run(run, {}, recipe=recipe)
        found.append(find_candidate(str(run), "cpu").about["settings"])
    assert found[0] == found[1] != found[2]


def test_a_models_file_does_not_speak_for_a_corpus(tmp_path):
    write_run(tmp_path / "run", {})
    found = find_candidate(str(tmp_path / "run" / "made.safetensors"), "cpu")
    assert found.reports == Path("reports") / "made"
    with pytest.raises(UsageError, match="made does not tell a corpus; name one with --corpus"):
        _ = found.corpus


def test_baselines_and_shipped_models_go_by_their_names():
    for name in BASELINES:
        about = find_candidate(name).about
        assert (about["method"], about["takes_stems"]) == ("baseline", name == "stem-mel")
    shipped = find_candidate("compact", "cpu").about
    assert (shipped["method"], shipped["takes_stems"]) == ("direct-mask", False)


def test_what_is_no_candidate_is_refused_in_a_line(tmp_path):
    with pytest.raises(ModelError, match=r"holds no recipe\.json"):
        find_candidate(str(tmp_path))
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "made"}))
    with pytest.raises(ModelError, match="is not finished; go on"):
        find_candidate(str(tmp_path))
    with pytest.raises(ModelError, match="no model 'nothing'"):
        find_candidate("nothing")
