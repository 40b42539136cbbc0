import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemwise.clock import clock, read_clock
from stemwise.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("42", 42), ("42.5", 42.5), ("0:42", 42), ("1:02:03", 3723), ("90:00", 5400),
     (" 3:05.25 ", 185.25), ("754", 754)],
)  # fmt: skip
def test_times_are_read(text, seconds):
    assert read_clock(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:99:00", "a", "1:2:3:4", ":3", "1e3", "nan"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="is not a time"):
        read_clock(text)


@given(st.integers(0, 10**6))
def test_what_is_written_is_read_again(seconds):
    assert read_clock(clock(seconds)) == seconds


def test_fractions_are_cut():
    assert clock(59.99) == "0:59"
    assert clock(3599.9) == "59:59"
