import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stemwise.scores.abx import Agreement, agreed, agreement, majority

ANSWERS = ("A+", "A-", "B+", "B-", "NA", "N/A")


def majority_read_aloud(answers):
    sides = [answer[0] for answer in answers if answer not in ("NA", "N/A")]
    for side in "AB":
        if len(sides) >= 3 and 4 * sides.count(side) > 3 * len(sides):
            return side
    return None


def agreement_read_aloud(reference, a, b, majorities):
    points = []
    for x, y, z, side in zip(reference, a, b, majorities, strict=True):
        if side is not None:
            to_a, to_b = math.dist(x, y), math.dist(x, z)
            points.append(0.5 if to_a == to_b else float((to_a < to_b) == (side == "A")))
    return sum(points) / len(points) if points else None


def made(seed, count=200):
    rng = np.random.default_rng(seed)
    x, a, b = rng.integers(-2, 3, (3, count, 2)).astype(float)  # small whole numbers tie at times
    return x, a, b, [("A", "B", None)[i] for i in rng.integers(0, 3, count)]


def tensors(x, a, b):
    return {"reference": torch.tensor(x), "a": torch.tensor(a), "b": torch.tensor(b)}


@given(st.lists(st.sampled_from(ANSWERS), max_size=12))
def test_the_majority_is_over_three_quarters_of_three_or_more(answers):
    assert majority(answers) == majority_read_aloud(answers)


@pytest.mark.parametrize(
    ("answers", "side"),
    [
        (["A+", "A-", "A+"], "A"),
        (["B-", "B-", "B-"], "B"),
        (["A+", "A+", "B-"], None),  # two of three
        (["A+", "A+", "A+", "B-"], None),  # just three quarters
        (["A-", "A-", "A-", "A-", "B+"], "A"),  # plus and minus play no role
        (["A+", "A+", "NA", "N/A"], None),  # two valid answers
        (["B+", "NA", "B+", "B-"], "B"),
        (["NA", "NA", "NA"], None),
        ([], None),
    ],
)
def test_majorities(answers, side):
    assert majority(answers) == side


def test_an_unknown_answer_is_refused():
    with pytest.raises(ValueError, match=r"got \['C\+', 'a-'\]"):
        majority(["A+", "a-", "C+"])


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_slow_loop(seed):
    x, a, b, majorities = made(seed)
    told = agreement(**tensors(x, a, b), majorities=majorities)
    assert told.share == pytest.approx(agreement_read_aloud(x, a, b, majorities))
    assert told.triplets == sum(side is not None for side in majorities)
    assert told.ties > 0


@pytest.mark.parametrize("seed", range(3))
def test_exchanging_a_and_b_changes_nothing(seed):
    x, a, b, majorities = made(seed)
    turned = [{"A": "B", "B": "A", None: None}[side] for side in majorities]
    assert agreement(**tensors(x, a, b), majorities=majorities) == agreement(
        **tensors(x, b, a), majorities=turned
    )


def test_every_triplet_gets_its_number():
    vectors = tensors([[0.0]] * 4, [[1.0], [1.0], [3.0], [1.0]], [[2.0], [2.0], [-3.0], [2.0]])
    answers = agreed(**vectors, majorities=["A", "B", "B", None])
    assert answers.dtype == torch.float64
    assert answers[:3].tolist() == [1, 0, 0.5]
    assert answers[3].isnan()
    assert agreement(**vectors, majorities=["A", "B", "B", None]) == Agreement(0.5, 3, 1)


def test_a_model_that_tells_nothing_apart_scores_chance():
    same = dict.fromkeys(("reference", "a", "b"), torch.ones(4, 128))
    for majorities in product("AB", repeat=4):
        assert agreement(**same, majorities=majorities) == Agreement(0.5, 4, 4)


def test_single_precision_is_compared_in_double():
    vectors = tensors([[1.0]], [[1.0 + 2**-23]], [[1.0 - 2**-24]])
    vectors = {name: x.float() for name, x in vectors.items()}
    assert agreed(**vectors, majorities=["B"]).tolist() == [1]


def test_nothing_to_judge():
    nobody = {"majorities": [None, None]} | dict.fromkeys(
        ("reference", "a", "b"), torch.zeros(2, 3)
    )
    assert agreement(**nobody) == Agreement(None, 0, 0)
    empty = {"majorities": []} | dict.fromkeys(("reference", "a", "b"), torch.zeros(0, 3))
    assert agreement(**empty) == Agreement(None, 0, 0)


def test_wrong_arguments_are_refused():
    two, three = torch.zeros(2, 3), torch.zeros(3, 3)
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        agreed(reference=two, a=two, b=three, majorities=["A", "B"])
    with pytest.raises(ValueError, match="S majorities"):
        agreed(reference=two, a=two, b=two, majorities=["A"])
    with pytest.raises(ValueError, match="S majorities"):
        agreed(reference=two[0], a=two[0], b=two[0], majorities=["A"] * 3)
    with pytest.raises(ValueError, match="majorities A, B or None"):
        agreed(reference=two, a=two, b=two, majorities=["A", "C"])
    with pytest.raises(ValueError, match="finite"):
        agreed(reference=two, a=two, b=two.fill_(torch.nan), majorities=["A", "B"])
