from pathlib import Path

import pytest

from made_vectors import piece
from stemwise.clock import read_clock
from stemwise.errors import UsageError
from stemwise.library.filters import Filter, parse_range

TAGGED = piece(
    0, path=Path("/music/jazz/Kind of Blue/1.flac"), artist="Miles Davis", genre="Modal Jazz",
    bpm=136.0, year=1959, duration_seconds=545.0,
)  # fmt: skip
BARE = piece(1, path=Path("/music/new/2.flac"), duration_seconds=60.0)


@pytest.mark.parametrize(
    ("wanted", "tagged", "bare"),
    [
        (Filter(), True, True),
        (Filter(folders=("/music/jazz",)), True, False),
        (Filter(folders=("/music/ja", "/music/new/")), False, True),
        (Filter(folders=("/music/new/../jazz/Kind of Blue",)), True, False),
        (Filter(artists=("MILES davis",)), True, False),
        (Filter(artists=("Miles",)), False, False),
        (Filter(genres=("jazz", "rock")), True, False),
        (Filter(bpm=(136, 136)), True, False),
        (Filter(bpm=(None, 135.9)), False, False),
        (Filter(years=(1950, None)), True, False),
        (Filter(years=(None, 2000)), True, False),
        (Filter(durations_seconds=(None, 60)), False, True),
        (Filter(durations_seconds=(60.1, None)), True, False),
        (Filter(genres=("jazz",), years=(1960, None)), False, False),
    ],
)
def test_what_a_filter_lets_through(wanted, tagged, bare):
    assert wanted.accepts([TAGGED]) == tagged
    assert wanted.accepts([BARE]) == bare


def test_of_equal_files_one_is_enough_but_wholly():
    assert Filter(folders=("/music/jazz",)).accepts([BARE, TAGGED])
    assert not Filter(folders=("/music/new",), artists=("Miles Davis",)).accepts([BARE, TAGGED])


@pytest.mark.parametrize("bad", [(5, 3), (-1, None), (None, -1), (float("nan"), None)])
@pytest.mark.parametrize("name", ["bpm", "years", "durations_seconds"])
def test_ranges_that_cannot_be(name, bad):
    with pytest.raises(UsageError, match=f"a range of {name} must rise"):
        Filter(**{name: bad})


def test_ranges_in_words():
    assert parse_range("90-120", "bpm") == (90, 120)
    assert parse_range("90.5 - ", "bpm") == (90.5, None)
    assert parse_range("-120", "bpm") == (None, 120)
    assert parse_range("1968", "years") == (1968, 1968)
    assert parse_range("2:00-1:00:00", "durations", read_clock) == (120, 3600)
    for text in ("", "-", "fast", "90-x", "90-100-110"):
        with pytest.raises(UsageError, match="is no range of bpm; write it as"):
            parse_range(text, "bpm")
    with pytest.raises(UsageError, match="'1:70-' is no range of durations"):
        parse_range("1:70-", "durations", read_clock)
