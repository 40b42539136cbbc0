import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemwise import parts
from stemwise.errors import UsageError


def test_order_and_blocks_are_the_papers():
    assert parts.PARTS == ("drums", "bass", "piano", "guitar", "residuals")
    assert [parts.block(p) for p in parts.PARTS] == [
        slice(128 * i, 128 * (i + 1)) for i in range(5)
    ]


@pytest.mark.parametrize(
    ("program", "part"),
    [(0, "piano"), (7, "piano"), (8, "residuals"), (24, "guitar"), (31, "guitar"),
     (32, "bass"), (39, "bass"), (40, "residuals"), (127, "residuals")],
)  # fmt: skip
def test_general_midi_groups(program, part):
    assert parts.program_part(program, is_drum=False) == part
    assert parts.program_part(program, is_drum=True) == "drums"


@pytest.mark.parametrize("program", [-1, 128])
def test_program_out_of_range(program):
    with pytest.raises(ValueError, match=str(program)):
        parts.program_part(program, is_drum=False)


def test_weights_come_in_part_order():
    assert list(parts.parse_weights(" bass=0.5, drums ").items()) == [("drums", 1.0), ("bass", 0.5)]


@pytest.mark.parametrize(
    ("text", "said"),
    [("drumz=1", "drumz"), ("drums=x", "'x'"), ("drums=-1", "-1"), ("drums=inf", "inf"),
     ("drums=nan", "nan"), ("drums=0", "above 0"), ("", "above 0"), ("drums,drums", "twice")],
)  # fmt: skip
def test_bad_weights_say_what_is_wrong(text, said):
    with pytest.raises(UsageError, match=said):
        parts.parse_weights(text)


@given(st.dictionaries(st.sampled_from(parts.PARTS), st.floats(0.001, 1e6), min_size=1))
def test_weights_round_trip(weights):
    text = ",".join(f"{part}={weight!r}" for part, weight in weights.items())
    assert parts.parse_weights(text) == weights
