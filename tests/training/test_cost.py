import time

import pytest

from stemwise.training.cost import Cost


def test_it_counts_processor_and_clock_apart():
    cost = Cost()
    time.sleep(0.05)
    cost.on_train_epoch_end(None, None)
    assert cost.minutes >= 0.05 / 60
    assert cost.core_minutes < 0.04 / 60
    started = time.process_time()
    while time.process_time() - started < 0.05:
        pass
    before = cost.core_minutes
    cost.on_train_epoch_end(None, None)
    assert cost.core_minutes - before >= 0.05 / 60


def test_a_sitting_adds_to_the_ones_before():
    cost = Cost()
    cost.load_state_dict({"core_minutes": 7.0, "minutes": 3.5})
    cost.on_train_epoch_end(None, None)
    assert cost.state_dict() == {
        "core_minutes": pytest.approx(7.0, abs=0.1), "minutes": pytest.approx(3.5, abs=0.1),
    }  # fmt: skip
    assert cost.core_minutes > 7
