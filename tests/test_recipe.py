import json
import shutil
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from stemwise.cli import app
from stemwise.errors import RecipeError
from stemwise.recipe import (
    CascadeRecipe,
    CleanRecipe,
    DirectMaskRecipe,
    DirectRecipe,
    Recipe,
    load_recipe,
)

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(FOLDER.rglob("*.toml"))
PAPER, COMPACT = FOLDER / "paper", FOLDER / "compact"
DA = COMPACT / "direct_da.toml"


def flat(tree, above=""):
    """Return {"table.key": value} of a recipe or a table of it."""
    if isinstance(tree, BaseModel):
        tree = tree.model_dump(exclude_none=True)
    found = {}
    for key, value in tree.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found


def name_of(path):
    return str(path.relative_to(FOLDER).with_suffix(""))


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_every_recipe_in_the_repository_loads(path):
    recipe = load_recipe(path)
    kinds = {"clean": CleanRecipe, "cascade": CascadeRecipe,
             "direct": DirectRecipe, "direct-reconst": DirectRecipe,
             "direct-mask": DirectMaskRecipe}  # fmt: skip
    assert type(recipe) is kinds[recipe.method]
    assert recipe.summary.endswith(".")
    assert all(getattr(recipe, stage) is not None for stage in recipe.stages)


def test_names_are_their_own():
    names = [load_recipe(path).name for path in RECIPES]
    assert len(set(names)) == len(names)


# --- what the paper says, and where it is silent the authors' published code

STFT = {"sample_rate_hz": 44100, "n_fft": 2048, "hop_samples": 512, "segment_seconds": 10.0}
FIVE = (16, 32, 64, 128, 256)
HASHIZUME = {"network": "hashizume", "channels": (32, 64, 128, 256, 512)}
MODELS = {
    "clean": {**STFT, "n_mels": 259, **HASHIZUME},
    "cascade": {**STFT, "n_mels": 259, "network": "unet", "channels": (*FIVE, 512),
                "separator_channels": (*FIVE, 512)},
    "direct": {**STFT, "n_mels": 0, "network": "unet", "channels": (*FIVE, 640),
               "pooling": "mean", "unit_blocks": False, "presence": "length", "f_min_hz": 0.0},
}  # fmt: skip
EVERY_STAGE = {"batch": 64, "epochs": 400, "patience_epochs": 100, "monitor": "loss",
               "mes_every_epochs": 0}  # fmt: skip
ON_TRIPLETS = {**EVERY_STAGE, "triplets_per_epoch": 20_000, "valid_triplets": 2_000, "margin": 0.2}


def triplets(learning_rate, plan, triplet, separation):
    return {**ON_TRIPLETS, "learning_rate": learning_rate, "plan": plan, "triplet": triplet,
            "separation": separation}  # fmt: skip


CLEAN = triplets(5e-5, "normal", 1, 0)
PRETRAINING = {**EVERY_STAGE, "learning_rate": 1e-4, "songs": 200, "segments_per_song": 300,
               "items_per_epoch": 32_426, "valid_items": 2_000}  # fmt: skip
MSS, FEATURES = triplets(5e-5, "pseudo", 0, 1), triplets(5e-5, "pseudo", 1, 0)
CASCADE = {"separation": MSS, "features": FEATURES}
DIRECT = {"clean": CLEAN, "pretraining": PRETRAINING}
EXPECTED = {  # method, model, seconds between segments, stages
    "clean": ("clean", "clean", 1.5, {"clean": CLEAN}),
    "cascade": ("cascade", "cascade", 3.0, CASCADE),
    "cascade_ft": ("cascade", "cascade", 3.0,
                   {**CASCADE, "finetuning": triplets(1e-5, "pseudo", 1, 1)}),
    "direct": ("direct", "direct", 1.5, {**DIRECT, "triplets": triplets(1e-4, "listed", 1, 0)}),
    "direct_da": ("direct", "direct", 1.5, {**DIRECT, "triplets": triplets(1e-4, "pseudo", 1, 0)}),
    "direct_reconst": ("direct-reconst", "direct", 1.5,
                       {**DIRECT, "triplets": triplets(1e-4, "pseudo", 1, 1)}),
}  # fmt: skip


def test_all_of_the_papers_recipes_are_expected():
    assert {path.stem for path in PAPER.glob("*.toml")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_papers_values(name):
    method, model, hop, stages = EXPECTED[name]
    recipe = load_recipe(PAPER / f"{name}.toml")
    assert (recipe.method, recipe.precision, recipe.name) == (method, "16-mixed", name)
    assert recipe.stages == tuple(stages)
    segments = {"seconds": 3.0, "hop_seconds": hop, "silence_rule": "range"}
    assert recipe.segments.model_dump() == segments
    parts = {"parts": ("drums", "bass", "piano", "guitar", "residuals")}
    shape = MODELS[model] if method.startswith("direct") else MODELS[model] | parts
    assert recipe.model.model_dump() == shape
    for stage, values in stages.items():
        assert getattr(recipe, stage).model_dump() == values, stage
    if "pretraining" in stages:
        assert recipe.teacher.model_dump() == MODELS["clean"] | parts


def test_steps_of_the_papers_epochs():
    recipe = load_recipe(PAPER / "direct_da.toml")
    assert recipe.triplets.steps_per_epoch == 313
    assert recipe.pretraining.steps_per_epoch == 507


@pytest.mark.parametrize("folder", [PAPER, COMPACT], ids=["paper", "compact"])
def test_directs_teacher_is_clean_itself(folder):
    """So that a finished run of clean.toml is taken over as it is."""
    clean = load_recipe(folder / "clean.toml")
    direct = [path for path in folder.rglob("direct*.toml")
              if "pretraining" in load_recipe(path).stages]  # fmt: skip
    assert len(direct) >= 5
    for path in direct:
        recipe = load_recipe(path)
        assert recipe.teacher == clean.model, path
        assert recipe.clean == clean.clean, path
        assert recipe.segments == clean.segments, path
        assert (recipe.seed, recipe.precision) == (clean.seed, clean.precision), path


NORMAL = ("pseudo", "normal")
NO_FINETUNING = {
    "stages": (("separation", "features", "finetuning"), ("separation", "features"))
}  # fmt: skip
LISTED = {"triplets.plan": ("pseudo", "listed")}
NO_PRETRAINING = {"stages": (("clean", "pretraining", "triplets"), ("triplets",))}
RECONST = {"method": ("direct", "direct-reconst"), "triplets.separation": (0.0, 1.0)}
TO_HASHIZUME = {
    "model.n_mels": (0, 259), "model.network": ("unet", "hashizume"),
    "model.channels": ((*FIVE, 640), HASHIZUME["channels"]),
}  # fmt: skip
FEWER = {  # five decoders are slow: a step costs several of Direct's
    "triplets.batch": (16, 8), "triplets.triplets_per_epoch": (3_200, 960),
    "triplets.valid_triplets": (320, 80), "triplets.epochs": (12, 8),
    "triplets.patience_epochs": (12, 8),
}  # fmt: skip
HEADS = {
    f"heads.{key}": (None, value) for key, value in {
        "hop_seconds": 5.0, "draws": 12, "mixtures": 64, "heard_in": 10, "gain_deviation_db": 3.0,
        "eq_deviation_db": 3.0, "speed_semitones": 0.35, "shrinkage": 1.0}.items()
}  # fmt: skip
LONG = ("masked", "lengthened", "presence")
DELTAS = {  # recipe: its baseline and {key: (there, here)}
    "paper/cascade": ("paper/cascade_ft", NO_FINETUNING),
    "paper/direct": ("paper/direct_da", LISTED),
    "paper/direct_reconst": ("paper/direct_da", RECONST),
    "paper/ablations/cascade_ft_normal": (
        "paper/cascade_ft", {"features.plan": NORMAL, "finetuning.plan": NORMAL}),
    "paper/ablations/cascade_normal": ("paper/cascade", {"features.plan": NORMAL}),
    "paper/ablations/clean_unet": ("paper/clean", {
        "model.network": ("hashizume", "unet"),
        "model.channels": (HASHIZUME["channels"], (*FIVE, 512))}),
    "paper/ablations/direct_hashizume": ("paper/direct", TO_HASHIZUME),
    "paper/ablations/direct_normal": ("paper/direct_da", {"triplets.plan": NORMAL}),
    "paper/ablations/direct_reconst_normal": (
        "paper/direct_reconst", {"triplets.plan": NORMAL}),
    "paper/ablations/direct_scratch": ("paper/direct_da", NO_PRETRAINING),
    "compact/cascade": ("compact/cascade_ft", NO_FINETUNING),
    "compact/cascade_ft_normal": (
        "compact/cascade_ft", {"features.plan": NORMAL, "finetuning.plan": NORMAL}),
    "compact/cascade_normal": ("compact/cascade", {"features.plan": NORMAL}),
    "compact/direct": ("compact/direct_da", LISTED),
    "compact/direct_hashizume": ("compact/direct", {
        "model.n_mels": (0, 96), "model.network": ("unet", "hashizume"),
        "model.channels": ((16, 32, 64, 128, 320), (8, 16, 32, 64, 128))}),
    "compact/direct_normal": ("compact/direct_da", {"triplets.plan": NORMAL}),
    "compact/direct_reconst": ("compact/direct_da", RECONST | FEWER),
    "compact/direct_reconst_normal": ("compact/direct_reconst", {"triplets.plan": NORMAL}),
    "compact/direct_scratch": ("compact/direct_da", NO_PRETRAINING),
    "compact/contrast_twins": ("compact/contrast", {
        "contrastive.mixtures": (48, 32), "contrastive.twins": (0, 16),
        "contrastive.steps": (10_000, 6_000)}),
    "compact": ("stemwise", {
        "model.hop_samples": (1_024, 2_048), "model.n_mels": (128, 96),
        "model.mask_channels": ((24, 48, 96, 144, 192), (8, 16, 48, 128, 192)),
        "model.channels": ((12, 24, 48, 64, 96), (6, 12, 24, 32, 48)),
        "masked.separation_only_steps": (2_000, 3_000), "masked.mes_every_epochs": (8, 7),
        "masked.steps": (8_000, 14_000), "lengthened.steps": (13_000, 15_000),
        "masked.steps_per_epoch": (250, 500), "lengthened.steps_per_epoch": (250, 500),
        "lengthened.mes_every_epochs": (13, 15)}),
    "stemwise_adamw": ("stemwise", {
        "stages": (LONG, ("masked", "presence")),
        "model.mask_channels": ((24, 48, 96, 144, 192), (16, 32, 64, 96, 128)),
        "model.mask_frames": (True, None), "model.kept_frames": (3, None),
        **{f"{stage}.{key}": values for stage in ("masked", "lengthened") for key, values in {
            "kept_parts": ((0.5, 0.5, 1.0, 1.0, 7.0), (1.0, 1.0, 1.0, 1.0, 3.0)),
            "eq_deviation_db": (4.0, 3.0), "speed_semitones": (0.35, 0.0)}.items()},
        "masked.muon_learning_rate": (2e-2, None), "masked.mes_every_epochs": (8, 5),
        "masked.separation_only_steps": (2_000, 1_200), "masked.steps": (8_000, 5_000)}),
    "stemwise_heads": ("stemwise", HEADS | {
        "stages": (LONG, (*LONG, "heads"))}),
}  # fmt: skip
BASELINES = {"paper/clean", "paper/cascade_ft", "paper/direct_da", "compact/clean",
             "compact/cascade_ft", "compact/direct_da", "compact/contrast",
             "compact/direct_mask", "stemwise"}  # fmt: skip


def test_every_recipe_is_a_baseline_or_a_delta():
    assert {name_of(path) for path in RECIPES} == BASELINES | set(DELTAS)
    for name in BASELINES:
        assert "base" not in tomllib.loads((FOLDER / f"{name}.toml").read_text())


@pytest.mark.parametrize("name", DELTAS)
def test_an_ablation_changes_what_it_says_and_no_more(name):
    baseline, delta = DELTAS[name]
    there, here = (flat(load_recipe(FOLDER / f"{one}.toml")) for one in (baseline, name))
    keys = (there.keys() | here.keys()) - {"name", "summary"}
    changed = {key: (there.get(key), here.get(key)) for key in keys
               if there.get(key) != here.get(key)}  # fmt: skip
    assert changed == delta


METHODICAL = ("method", "stages", ".plan", ".triplet", ".separation", ".margin", ".pooling",
              ".unit_blocks", ".presence", "silence_rule", "segments.seconds")  # fmt: skip


OURS = ("contrast", "direct_mask")


@pytest.mark.parametrize("path", [p for p in RECIPES if p.parent == COMPACT and
                                  not p.stem.startswith(OURS)], ids=name_of)  # fmt: skip
def test_compact_is_the_paper_at_another_size(path):
    """The same method, stages, plans and weights: sizes and rates alone differ."""
    (twin,) = PAPER.rglob(path.name)
    small, large = flat(load_recipe(path)), flat(load_recipe(twin))
    assert small.keys() == large.keys()
    assert load_recipe(path).name == f"compact_{load_recipe(twin).name}"
    for key in small:
        if key.endswith(METHODICAL):
            assert small[key] == large[key], key


# --- bases, overrides, mistakes


def test_overrides_win():
    recipe = load_recipe(DA, ["triplets.batch=7", "name=other", "triplets.learning_rate=1e-4"])
    assert (recipe.triplets.batch, recipe.name, recipe.triplets.learning_rate) == (7, "other", 1e-4)
    before = load_recipe(DA)
    assert recipe.pretraining == before.pretraining
    assert recipe.triplets.margin == before.triplets.margin


def test_longer_segments_are_learnt_as_the_others_but_for_what_is_told():
    recipe = load_recipe(FOLDER / "stemwise.toml",
                         ["masked.temperature=0.3", "masked.begin_with=compact"])  # fmt: skip
    longer = recipe.lengthened
    assert (longer.temperature, longer.begin_with, longer.separation_only_steps) == (0.3, "", 0)
    assert longer.mixtures != recipe.masked.mixtures
    assert longer.seconds > recipe.segments.seconds
    assert longer.kept_parts == recipe.masked.kept_parts


@pytest.mark.parametrize("text", ["a word", "näch'st", 'quo"te', "a\\b"])
def test_an_override_that_is_not_toml_is_text(text):
    assert load_recipe(DA, [f"name={text}"]).name == text


def test_an_override_may_be_a_list_or_a_later_word():
    recipe = load_recipe(DA, ["model.channels=[4, 8]", "seed=1", "seed=2", 'name="x=y"'])
    assert (recipe.model.channels, recipe.seed, recipe.name) == ((4, 8), 2, "x=y")


def test_a_base_is_extended(tmp_path):
    (tmp_path / "top.toml").write_text(f'base = "{DA}"\n[triplets]\nbatch = 9\n')
    recipe = load_recipe(tmp_path / "top.toml")
    assert recipe.triplets == load_recipe(DA).triplets.model_copy(update={"batch": 9})
    assert recipe.model == load_recipe(DA).model


def test_a_base_is_found_beside_the_recipe_wherever_one_stands(tmp_path, monkeypatch):
    shutil.copytree(COMPACT, tmp_path / "recipes")
    monkeypatch.chdir("/")
    assert load_recipe(tmp_path / "recipes" / "direct.toml").triplets.plan == "listed"


def test_a_base_of_a_base_is_refused(tmp_path):
    (tmp_path / "one.toml").write_text(f'base = "{DA}"\n')
    (tmp_path / "two.toml").write_text('base = "one.toml"\n')
    with pytest.raises(RecipeError, match="one level"):
        load_recipe(tmp_path / "two.toml")


def test_recipes_cannot_be_changed():
    recipe = load_recipe(DA)
    for table in (recipe, recipe.triplets, recipe.model):
        with pytest.raises(ValueError, match="frozen"):
            table.seed = 3


MISTAKES = [
    # unknown keys at any depth, in every kind of recipe
    ("compact/direct_da", "triplets.epoch=7", "unknown key triplets.epoch; did you mean epochs?"),
    ("compact/direct_da", "triplet.epochs=7", "unknown key triplet; did you mean triplets?"),
    ("compact/direct_da", "sed=7", "unknown key sed; did you mean seed?"),
    ("compact/direct_da", "model.chanels=[1]", "unknown key model.chanels; did you mean channels?"),
    ("compact/direct_da", "teacher.nmels=9", "unknown key teacher.nmels; did you mean n_mels?"),
    ("compact/direct_da", "pretraining.song=9", "key pretraining.song; did you mean songs?"),
    ("compact/direct_da", "clean.rate=9", "unknown key clean.rate; did you mean"),
    ("compact/contrast", "contrastive.twin=1", "key contrastive.twin; did you mean twins?"),
    ("compact/cascade_ft", "finetuning.seperation=1", "finetuning.seperation; .* separation?"),
    ("compact/cascade_ft", "model.separator_channel=1", "did you mean separator_channels?"),
    ("compact/clean", "model.separator_channels=[1, 2]", "unknown key model.separator_channels"),
    ("compact/clean", "segments.hop=1.5", "unknown key segments.hop; did you mean hop_seconds?"),
    ("compact/clean", "triplets.batch=3", "unknown key triplets; did you mean"),
    # values out of range
    ("compact/direct_da", "triplets.batch=0", "triplets.batch: .*greater than 0.*got 0"),
    ("compact/direct_da", "triplets.batch=many", "triplets.batch: .*got 'many'"),
    ("compact/direct_da", "triplets.margin=-0.1", "triplets.margin: .*got -0.1"),
    ("compact/direct_da", "triplets.plan=guess", "triplets.plan: .*'pseudo', 'normal' or 'listed'"),
    ("compact/direct_da", "triplets=3", "triplets: .*dictionary.*got 3"),
    ("compact/direct_da", "precision=8", "precision: Input should be '32-true'"),
    ("compact/contrast", "contrastive.mixtures=7", "contrastive.mixtures: .*multiple of 2"),
    ("compact/clean", 'model.parts=["drum"]', "model.parts: choose from drums, bass, piano"),
    # what does not go together
    ("compact/direct_da", "method=guess", "method is 'guess'; choose from clean, cascade, direct"),
    ("compact/direct_da", "method=cascade", "unknown key .*; did you mean"),
    (
        "compact/direct_da",
        'stages=["triplets", "pretraining"]',
        "Direct's stages are one of: clean",
    ),
    (
        "compact/direct_da",
        'stages=["pretraining", "triplets"]',
        "Direct's stages are one of: clean",
    ),
    ("compact/direct_da", "stages=[]", "stages: .*at least 1"),
    ("compact/direct_da", 'stages=["rest"]', r"stage 'rest' has no table \[rest\]"),
    ("compact/direct_da", 'stages=["contrastive"]', r"stage 'contrastive' has no table"),
    ("compact/direct_da", 'stages=["segments"]', "Direct's stages are one of"),
    ("compact/cascade_ft", 'stages=["features", "separation"]', "Cascade's stages are separation"),
    ("compact/cascade_ft", 'stages=["separation"]', "Cascade's stages are separation, features"),
    ("compact/cascade_ft", 'stages=["separation", "finetuning"]', "Cascade's stages are"),
    ("compact/clean", 'stages=["segments"]', "Clean has one stage: clean"),
    ("compact/clean", "clean.separation=1.0", "Clean has nothing to separate"),
    ("compact/clean", "clean.triplet=0.0", "clean: a stage needs a weight above 0"),
    ("stemwise", 'stages=["masked"]', "presence = linear the stages are: masked, presence"),
    ("stemwise", 'stages=["lengthened", "masked", "presence"]', "lengthened may follow masked"),
    ("stemwise", 'stages=["masked", "presence", "lengthened"]', "lengthened may follow masked"),
    ("stemwise", 'stages=["lengthened", "presence"]', "lengthened may follow masked"),
    ("compact/direct_mask", "model.presence=linear", "presence = linear the stages are: masked,"),
    ("compact/clean", 'stages=["clean", "clean"]', "Clean has one stage: clean"),
    ("compact/clean", "clean.plan=listed", "clean: plan = listed is for Direct's triplets alone"),
    ("compact/direct_da", "clean.plan=listed", "clean: plan = listed is for Direct's triplets"),
    ("compact/cascade_ft", "features.plan=listed", "features: plan = listed is for Direct's"),
    ("compact/direct", "triplets.triplets_per_epoch=3201", "triplets: the length .* must be even"),
    ("compact/direct_da", "teacher.sample_rate_hz=8000", "teacher and model .* one sample rate"),
    ("compact/direct_da", "triplets.separation=1", "above 0 goes with method direct-reconst"),
    ("compact/direct_da", "method=direct-reconst", "above 0 goes with method direct-reconst"),
    ("compact/contrast", "method=direct-reconst", "above 0 goes with method direct-reconst"),
    ("compact/direct_reconst", "model.n_mels=64", "Direct-Reconst needs linear magnitudes"),
    ("compact/direct_reconst", "model.network=hashizume", "Direct-Reconst needs linear"),
    ("compact/direct_reconst", "model.channels=[4, 8]", "last channels divisible by 5, got"),
    ("compact/direct_da", "model.unit_blocks=true", "model: unit blocks have no length"),
    ("compact/contrast", "model.n_mels=0", "contrastive stage needs presence = linear and n_mels"),
    ("compact/direct_da", "triplets.monitor=mes_pseudo", "needs mes_every_epochs = 1"),
    # not an override at all
    ("compact/direct_da", "triplets", "override 'triplets' is not of the form table.key=value"),
    ("compact/direct_da", "two words=3", "two words=3 is not of the form table.key=value"),
]


@pytest.mark.parametrize(("name", "override", "said"), MISTAKES, ids=lambda x: str(x)[:40])
def test_mistakes_are_named_in_one_line(name, override, said):
    path = FOLDER / f"{name}.toml"
    with pytest.raises(RecipeError, match=said) as caught:
        load_recipe(path, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("base", ["clean", "cascade_ft", "direct_da"])
def test_every_key_left_out_or_misspelt_is_named(base, tmp_path):
    """A misspelt key is a missing one, too; the spelling is what helps."""
    tree = tomllib.loads((COMPACT / f"{base}.toml").read_text())
    path = tmp_path / "r.toml"
    optional = {"monitor", "mes_every_epochs", "segment_seconds", "pooling", "unit_blocks",
                "presence", "network", "teacher", "clean", "pretraining", "triplets",
                "finetuning"}  # fmt: skip
    for table, fields in [(None, tree), *((k, v) for k, v in tree.items() if isinstance(v, dict))]:
        for key in fields:
            if key == "method":
                continue
            wrong = {f"{k}_s" if k == key else k: v for k, v in fields.items()}
            less = {k: v for k, v in fields.items() if k != key}
            where = f"{table}.{key}" if table else key
            path.write_text(toml(wrong if table is None else tree | {table: wrong}))
            with pytest.raises(RecipeError, match=f"unknown key {where}_s; did you mean {key}"):
                load_recipe(path)
            if key in optional:
                continue
            path.write_text(toml(less if table is None else tree | {table: less}))
            with pytest.raises(RecipeError, match=rf"{where} is missing$"):
                load_recipe(path)


def toml(tree):
    lines = [f"{k} = {json.dumps(v)}" for k, v in tree.items() if not isinstance(v, dict)]
    for table, fields in tree.items():
        if isinstance(fields, dict):
            lines += [f"[{table}]", *(f"{k} = {json.dumps(v)}" for k, v in fields.items())]
    return "\n".join(lines)


def test_a_missing_teacher(tmp_path):
    tree = tomllib.loads(DA.read_text())
    del tree["teacher"]
    (tmp_path / "r.toml").write_text(toml(tree))
    with pytest.raises(RecipeError, match=r"pretraining needs the Clean networks' shape, \[teach"):
        load_recipe(tmp_path / "r.toml")


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(RecipeError, match="not TOML"):
        load_recipe(tmp_path / "broken.toml")
    (tmp_path / "latin.toml").write_bytes('name = "größe"'.encode("latin-1"))
    with pytest.raises(RecipeError, match="not TOML"):
        load_recipe(tmp_path / "latin.toml")
    (tmp_path / "orphan.toml").write_text('base = "gone.toml"')
    with pytest.raises(RecipeError, match=r"gone\.toml cannot be read"):
        load_recipe(tmp_path / "orphan.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(RecipeError, match="method is None; choose from clean"):
        load_recipe(tmp_path / "empty.toml")


def test_every_field_says_what_it_is():
    seen = set()

    def walk(model):
        seen.add(model.__name__)
        for name, field in model.model_fields.items():
            kinds = get_args(field.annotation) or (field.annotation,)
            tables = [kind for kind in kinds if hasattr(kind, "model_fields")]
            for table in tables:
                walk(table)
            if not tables and name != "method":  # told once, in Recipe
                assert field.description, f"{model.__name__}.{name} has no sentence"
                assert field.description.endswith("."), f"{model.__name__}.{name}"

    assert Recipe.model_fields["method"].description

    for kind in (CleanRecipe, CascadeRecipe, DirectRecipe):
        walk(kind)
    assert {"TripletSettings", "PretrainingSettings", "ContrastiveSettings", "CleanShape",
            "CascadeShape", "DirectShape", "SegmentSettings"} <= seen  # fmt: skip


# --- stemwise recipe show


def shown(*arguments):
    result = CliRunner().invoke(app, ["recipe", "show", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("clean", {"extractors": 5 * 5_829_856, "total": 5 * 5_829_856}),
        ("cascade_ft", {"separators": 5 * 9_823_313, "extractors": 5 * 4_695_008}),
        ("direct", {"total": 12_151_648, "embedding": 12_151_648}),
        ("direct_da", {"total": 12_151_648, "embedding": 12_151_648}),
        ("direct_reconst", {"total": 43_523_093, "embedding": 12_151_648}),
        ("ablations/clean_unet", {"extractors": 5 * 4_695_008}),
        ("ablations/direct_hashizume", {"total": 10_286_816}),
    ],
)
def test_parameters_shown_for_the_papers_recipes(name, counts):
    told = json.loads(shown(PAPER / f"{name}.toml", "--json"))
    assert counts.items() <= told["parameters"].items()
    assert told["recipe"]["name"] == Path(name).name


def test_layers_shown_are_those_of_a_training_segment_or_of_the_length_asked_for():
    path = PAPER / "ablations" / "direct_hashizume.toml"
    layers = json.loads(shown(path, "--json"))["layers"]
    assert [x["kind"] for x in layers].count("Conv2d") == 10
    assert [x["kind"] for x in layers].count("MaxPool2d") == 4
    assert layers[0] == {"name": "encoder.0", "kind": "Conv2d", "size": [32, 259, 259],
                         "parameters": 320}  # fmt: skip
    assert layers[-1] == {"name": "head", "kind": "Linear", "size": [640],
                          "parameters": 8_704 * 640 + 640}  # fmt: skip
    longer = json.loads(shown(path, "--json", "--seconds", 10))["layers"]
    assert longer[0]["size"] == [32, 259, 862]


def test_parts_of_cascade_are_alike_and_shown_once():
    layers = json.loads(shown(COMPACT / "cascade.toml", "--json"))["layers"]
    assert {x["name"].split(".")[1] for x in layers} == {"drums"}
    assert [x["kind"] for x in layers].count("ConvTranspose2d") == 5


@pytest.mark.parametrize("name", ["clean", "cascade_ft", "direct", "direct_reconst", "contrast"])
def test_the_text_shown_is_the_recipe_itself(name, tmp_path):
    """What stands above the layers is TOML, resolved, and loads as the same recipe."""
    path = COMPACT / f"{name}.toml"
    text = shown(path)
    above, header, below = text.partition("\nlayer ")
    assert header
    (tmp_path / "again.toml").write_text(above)
    assert load_recipe(tmp_path / "again.toml") == load_recipe(path)
    told = json.loads(shown(path, "--json"))
    assert tomllib.loads(above) == told["recipe"]
    rows = [line.split() for line in below.splitlines()[1:] if line.strip()]
    *rows, last = rows
    assert [row[0] for row in rows] == [x["name"] for x in told["layers"]]
    assert [row[2] for row in rows] == ["x".join(map(str, x["size"])) for x in told["layers"]]
    assert [row[3] for row in rows] == [f"{x['parameters']:,}" for x in told["layers"]]
    assert last[0] == "parameters:"
    for count_name, count in told["parameters"].items():
        assert f"{count_name} {count:,}" in " ".join(last)


def test_overrides_are_shown(tmp_path):
    told = json.loads(shown(DA, "--json", "--set", "triplets.margin=0.3", "--set", "seed=5"))
    assert (told["recipe"]["triplets"]["margin"], told["recipe"]["seed"]) == (0.3, 5)
    bad = CliRunner().invoke(app, ["recipe", "show", str(DA), "--set", "triplets.margn=0.3"])
    assert isinstance(bad.exception, RecipeError)
    assert "did you mean margin?" in str(bad.exception)
