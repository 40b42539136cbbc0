import statistics

import numpy as np
import pytest
import torch

from stemwise.scores.hubness import Hubness, hubness
from stemwise.scores.mes import nearest


def read_aloud(near, count):
    found = [sum(position in row for row in near) for position in range(count)]
    mean, deviation = statistics.fmean(found), statistics.pstdev(found)
    third = statistics.fmean((n - mean) ** 3 for n in found)
    return third / deviation**3, max(found) / len(near), found.count(0) / count


@pytest.mark.parametrize("dimensions", [2, 50])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_slow_loop(seed, dimensions):
    block = torch.from_numpy(np.random.default_rng(seed).standard_normal((80, dimensions)))
    near = nearest(block, torch.arange(80) % 20)
    told = hubness(near, 80)
    assert (told.skewness, told.largest, told.never) == pytest.approx(read_aloud(near.tolist(), 80))


def test_many_dimensions_make_hubs():
    blocks = [
        torch.from_numpy(np.random.default_rng(0).standard_normal((300, d))) for d in (2, 100)
    ]
    few, many = (hubness(nearest(block, torch.arange(300)), 300) for block in blocks)
    assert many.skewness > few.skewness + 1
    assert many.never > few.never


def test_a_hub_is_in_every_list():
    # 0 in the middle of the axes' ends: everybody's nearest
    block = torch.cat([torch.zeros(1, 10), torch.eye(10), -torch.eye(10)])
    told = hubness(nearest(block, torch.arange(21), neighbours=1), 21)
    # the hub's own nearest is segment 1; the other 20 lists hold the hub
    assert told.largest == pytest.approx(20 / 21)
    assert told.never == pytest.approx(19 / 21)
    assert told.skewness > 4


def test_a_ring_has_no_hub():
    ring = torch.arange(6)
    near = torch.stack([(ring + 1) % 6, (ring - 1) % 6], dim=1)
    assert hubness(near, 6) == Hubness(skewness=None, largest=2 / 6, never=0)


def test_segments_that_no_query_is_may_be_found_too():
    assert hubness(torch.tensor([[2], [2]]), 4) == Hubness(pytest.approx(1.1547, abs=1e-4), 1, 0.75)


def test_places_that_are_empty_count_for_nobody():
    near = torch.tensor([[1, -1], [0, -1], [0, 1]])
    assert hubness(near, 3) == Hubness(pytest.approx(-(0.5**0.5)), 2 / 3, 1 / 3)
    assert hubness(torch.full((3, 5), -1), 3) == Hubness(None, 0, 1)


def test_nothing_there():
    empty = torch.zeros(0, 5, dtype=torch.long)
    assert hubness(empty, 0) == Hubness(None, None, None)
    assert hubness(empty, 4) == Hubness(None, None, 1)
    assert hubness(torch.zeros(3, 0, dtype=torch.long), 3) == Hubness(None, 0, 1)


@pytest.mark.parametrize("near", [[[0, 3]], [[-2, 0]], [0, 1]])
def test_wrong_positions_are_refused(near):
    with pytest.raises(ValueError, match=r"positions in -1\.\.2"):
        hubness(torch.tensor(near), 3)
