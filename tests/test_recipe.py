from pathlib import Path

import pytest

from stemwise.errors import RecipeError
from stemwise.recipe import Recipe, load_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").rglob("*.toml"))
COMPACT = Path(__file__).parents[1] / "recipes" / "compact" / "direct.toml"


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_in_the_repository_loads(path):
    assert load_recipe(path).name


def test_overrides_win():
    recipe = load_recipe(COMPACT, ["training.steps=7", "name=other", "training.learning_rate=1e-4"])
    assert (recipe.training.steps, recipe.name) == (7, "other")
    assert recipe.training.learning_rate == 1e-4


def test_a_base_is_extended(tmp_path):
    (tmp_path / "top.toml").write_text(f'base = "{COMPACT}"\n[training]\nsteps = 9\n')
    recipe = load_recipe(tmp_path / "top.toml")
    assert recipe.training.steps == 9
    assert recipe.model == load_recipe(COMPACT).model


def test_a_base_of_a_base_is_refused(tmp_path):
    (tmp_path / "one.toml").write_text(f'base = "{COMPACT}"\n')
    (tmp_path / "two.toml").write_text('base = "one.toml"\n')
    with pytest.raises(RecipeError, match="one level"):
        load_recipe(tmp_path / "two.toml")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.step=7", "training.step; did you mean steps"),
        ("trainin.steps=7", "trainin; did you mean training"),
        ("training.steps=0", "training.steps.*greater than 0.*got 0"),
        ("training.steps=many", "training.steps.*got 'many'"),
        ("sampling.mixtures=7", "multiple of 2"),
        ("training", "table.key=value"),
    ],
)
def test_mistakes_are_named(override, said):
    with pytest.raises(RecipeError, match=said):
        load_recipe(COMPACT, [override])


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(RecipeError, match="not TOML"):
        load_recipe(tmp_path / "broken.toml")


def test_every_field_says_what_it_is():
    def walk(model):
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                walk(field.annotation)
            else:
                assert field.description, f"{model.__name__}.{name} has no sentence"

    walk(Recipe)
