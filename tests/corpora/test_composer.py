"""Composed songs: playable, the same everywhere, and each part recognisable as its song's."""

import hashlib
import io
import itertools
import json
from typing import NamedTuple

import numpy as np
import pretty_midi
import pytest

from stemwise.corpora import composer
from stemwise.corpora.composer import Composition, compose
from stemwise.corpora.dice import Dice
from stemwise.corpora.figures import Event, Line
from stemwise.corpora.harmony import MODES, chord_of, guitar_shape, voice
from stemwise.corpora.outline import Outline, draw_outline
from stemwise.parts import PARTS, program_part

SONGS = 30
SECONDS = 60.0
# Notes of seed 123, 30 s. Another value means that every composed corpus changes.
GOLDEN = {
    "drums": "7451e73a3792",
    "bass": "d854250ebd42",
    "piano": "c698b6ff6001",
    "guitar": "11d4c525025b",
    "residuals": "9f99c4e099c9",
}


class Song(NamedTuple):
    composition: Composition
    outline: Outline


class Note(NamedTuple):
    start: float
    end: float
    pitch: int
    velocity: int


@pytest.fixture(scope="module")
def songs() -> list[Song]:
    return [
        Song(compose(seed, seconds=SECONDS), draw_outline(seed, seconds=SECONDS))
        for seed in range(SONGS)
    ]


def notes_of(composition: Composition, part: str) -> list[Note]:
    return [
        Note(note.start, note.end, note.pitch, note.velocity)
        for track in composition.midi.instruments
        if program_part(track.program, is_drum=track.is_drum) == part
        for note in track.notes
    ]


def bars_of(song: Song, part: str) -> list[frozenset[tuple[int, int]]]:
    """Return each sounding bar as (step in bar, drum note or interval above the chord's root)."""
    outline = song.outline
    times = np.array([outline.seconds_at(step) for step in range(outline.steps)])
    bars: dict[int, set[tuple[int, int]]] = {}
    for note in notes_of(song.composition, part):
        step = int(np.argmin(np.abs(times - note.start)))
        bar, place = divmod(step, outline.meter.steps)
        tone = note.pitch if part == "drums" else (note.pitch - outline.chords[step].root) % 12
        bars.setdefault(bar, set()).add((place, tone))
    return [frozenset(bars[bar]) for bar in sorted(bars)]


def jaccard(one: frozenset[tuple[int, int]], other: frozenset[tuple[int, int]]) -> float:
    return len(one & other) / len(one | other)


def similarities(bars: list[list[frozenset[tuple[int, int]]]]) -> tuple[float, float]:
    """Return the mean Jaccard index of two bars within a song and of two songs."""
    within = [
        np.mean([jaccard(a, b) for a, b in itertools.combinations(song[::2] + song[1::2], 2)])
        for song in bars
    ]
    between = [
        jaccard(a, b)
        for one, other in itertools.combinations(bars, 2)
        for a in one[1::5]
        for b in other[2::5]
    ]
    return float(np.mean(within)), float(np.mean(between))


@pytest.mark.parametrize(
    ("part", "least_within", "most_between"),
    [
        ("drums", 0.7, 0.2),
        ("bass", 0.45, 0.25),
        ("piano", 0.45, 0.25),
        ("guitar", 0.5, 0.3),
        ("residuals", 0.4, 0.2),
    ],
)
def test_bars_of_one_song_are_alike_and_those_of_two_differ(
    songs: list[Song], part: str, least_within: float, most_between: float
) -> None:
    within, between = similarities([bars_of(song, part) for song in songs])
    assert within > least_within
    assert between < most_between
    assert within > 2.5 * between


def test_the_likeness_vanishes_when_bars_are_dealt_out_among_songs(songs: list[Song]) -> None:
    deck = [bar for song in songs for bar in bars_of(song, "bass")]
    order = np.random.default_rng(0).permutation(len(deck))
    dealt = [[deck[i] for i in hand] for hand in np.array_split(order, SONGS)]
    within, between = similarities(dealt)
    assert within < 1.5 * between


@pytest.mark.parametrize("part", PARTS)
def test_the_nearest_bar_is_most_often_of_the_same_song(songs: list[Song], part: str) -> None:
    bars = [bars_of(song, part)[:-1] for song in songs]
    found = 0
    for number, own in enumerate(bars):
        query, rest = own[len(own) // 2], own[: len(own) // 2] + own[len(own) // 2 + 1 :]
        others = (bar for i, song in enumerate(bars) if i != number for bar in song)
        found += max(jaccard(query, bar) for bar in rest) > max(
            jaccard(query, bar) for bar in others
        )
    assert found >= 0.75 * SONGS


def test_notes_are_playable(songs: list[Song]) -> None:
    for song in songs:
        for part in PARTS:
            notes = notes_of(song.composition, part)
            assert len(notes) >= 20
            assert all(0 <= note.start < note.end <= SECONDS + 1e-6 for note in notes)
            assert all(0 <= note.pitch <= 127 and 1 <= note.velocity <= 127 for note in notes)
            assert len({note.velocity for note in notes}) > 5


def test_registers_fit_the_parts(songs: list[Song]) -> None:
    ranges = {"bass": (23, 72), "piano": (21, 108), "guitar": (36, 96), "drums": (35, 82)}
    for song in songs:
        for part, (low, high) in ranges.items():
            pitches = [note.pitch for note in notes_of(song.composition, part)]
            assert low <= min(pitches)
            assert max(pitches) <= high


def test_notes_of_one_pitch_never_overlap(songs: list[Song]) -> None:
    for song in songs:
        for track in song.composition.midi.instruments:
            for pitch in {note.pitch for note in track.notes}:
                line = sorted((n.start, n.end) for n in track.notes if n.pitch == pitch)
                assert all(end <= start for (_, end), (start, _) in itertools.pairwise(line))


def test_tracks_are_named_by_their_part_and_keep_to_its_programs(songs: list[Song]) -> None:
    for song in songs:
        tracks = song.composition.midi.instruments
        names = [track.name for track in tracks]
        assert names[:5] == ["drums", "bass", "piano", "guitar", "residuals-1"]
        assert names[5:] in ([], ["residuals-2"])
        for track in tracks:
            part = program_part(track.program, is_drum=track.is_drum)
            assert part == track.name.split("-")[0]


def test_every_part_sounds_in_most_of_the_song(songs: list[Song]) -> None:
    shares = []
    for song in songs:
        first = song.outline.sections[0]
        intro_steps = first.bars * song.outline.meter.steps if first.name == "intro" else 0
        start = song.outline.seconds_at(intro_steps)
        windows = np.arange(start, song.outline.seconds_at(song.outline.steps) - 3.0, 3.0)
        for part in PARTS:
            notes = notes_of(song.composition, part)
            sounds = [any(n.start < at + 3 and n.end > at for n in notes) for at in windows]
            shares.append(np.mean(sounds))
    assert min(shares) >= 0.7
    assert np.mean(shares) >= 0.95


def test_time_and_length(songs: list[Song]) -> None:
    for seed, song in enumerate(songs):
        composition = song.composition
        assert 70 <= composition.tempo_bpm <= 180
        assert composition.title == f"composed-{seed:06d}"
        (tempo,) = composition.midi.get_tempo_changes()[1]
        assert tempo == pytest.approx(composition.tempo_bpm)
        bar_seconds = song.outline.meter.steps * 15.0 / composition.tempo_bpm
        assert SECONDS - bar_seconds - 0.5 <= composition.midi.get_end_time() <= SECONDS + 1e-6
    meters = {song.outline.meter.denominator * song.outline.meter.numerator for song in songs}
    assert len(meters) >= 2


def test_styles_survive_json_and_differ_between_songs(songs: list[Song]) -> None:
    for song in songs:
        styles = song.composition.styles
        assert tuple(styles) == PARTS
        assert json.loads(json.dumps(styles)) == styles
    for part in PARTS:
        assert len({json.dumps(song.composition.styles[part]) for song in songs}) == SONGS


def test_families_of_two_parts_are_drawn_independently() -> None:
    drawn = [compose(seed, seconds=15.0).styles for seed in range(200)]
    families = [(styles["bass"]["family"], styles["guitar"]["family"]) for styles in drawn]
    assert len({bass for bass, _ in families}) >= 9
    assert len({guitar for _, guitar in families}) == 7
    assert len(set(families)) >= 45


def fingerprint(composition: Composition, part: str) -> str:
    text = repr([(round(n.start, 5), n.pitch, n.velocity) for n in notes_of(composition, part)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_the_same_seed_gives_the_same_notes_and_another_seed_others() -> None:
    one, again, other = compose(5), compose(5), compose(6)
    for part in PARTS:
        assert notes_of(one, part) == notes_of(again, part)
        assert notes_of(one, part) != notes_of(other, part)
    assert one.styles == again.styles


def test_notes_are_those_of_every_platform() -> None:
    composition = compose(123, seconds=30.0)
    assert {part: fingerprint(composition, part) for part in PARTS} == GOLDEN


def test_another_bass_player_leaves_the_other_parts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compose(3, seconds=20.0)

    def play(dice: Dice, outline: Outline) -> list[Line]:
        pitches = [dice.whole(30, 40) for _ in range(outline.steps // 4)]
        events = [Event(4 * i, 2, pitch, 90) for i, pitch in enumerate(pitches)]
        return [Line(name="bass", program=33, events=events, style={})]

    monkeypatch.setitem(composer._PLAYERS, "bass", play)
    after = compose(3, seconds=20.0)
    for part in PARTS:
        assert (notes_of(before, part) == notes_of(after, part)) == (part != "bass")


def test_a_written_file_reads_back(songs: list[Song]) -> None:
    midi = songs[0].composition.midi
    file = io.BytesIO()
    midi.write(file)
    file.seek(0)
    read = pretty_midi.PrettyMIDI(file)
    counts = {track.name: len(track.notes) for track in midi.instruments}
    assert {track.name: len(track.notes) for track in read.instruments} == counts


def test_some_pianos_use_the_pedal_and_lift_it(songs: list[Song]) -> None:
    changes = [song.composition.midi.instruments[2].control_changes for song in songs]
    pedalled = [song for song in changes if song]
    assert 0 < len(pedalled) < SONGS
    for song in pedalled:
        assert [change.value for change in song] == [127, 0] * (len(song) // 2)
        assert all(a.time < b.time for a, b in itertools.pairwise(song))


@pytest.mark.parametrize("seconds", [15.0, 17.3, 240.0])
def test_any_length_is_kept(seconds: float) -> None:
    for seed in range(4):
        end = compose(seed, seconds=seconds).midi.get_end_time()
        assert seconds - 5.0 < end <= seconds + 1e-6


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="got -1"):
        compose(-1)
    with pytest.raises(ValueError, match=r"got 3\.0"):
        compose(0, seconds=3.0)
    with pytest.raises(ValueError, match="got nan"):
        compose(0, seconds=float("nan"))


def test_chords_are_spelt_as_in_a_songbook() -> None:
    c_major = chord_of("I", tonic=0, mode="major", seventh=False)
    assert (c_major.root, c_major.tones, c_major.scale) == (0, (0, 4, 7), MODES["major"])
    assert chord_of("V", tonic=9, mode="minor", seventh=True).tones == (0, 4, 7, 10)
    b_flat = chord_of("bVII", tonic=0, mode="major", seventh=False)
    assert b_flat.root == 10
    assert b_flat.degree_pitch(2, low_pitch=36) == 50
    assert voice(c_major, "close", low_pitch=55) == [55, 60, 64]


@pytest.mark.parametrize(
    ("numeral", "position", "frets"),
    [
        ("I", 0, [48, 52, 55, 60, 64]),  # x32010
        ("IV", 1, [41, 48, 53, 57, 60, 65]),  # 133211
        ("V", 0, [43, 47, 50, 55, 59, 67]),  # 320003
        ("vi", 0, [45, 52, 57, 60, 64]),  # x02210
        ("ii", 5, [50, 57, 62, 65, 69]),  # x57765
    ],
)
def test_guitar_shapes_are_those_of_the_hand(numeral: str, position: int, frets: list[int]) -> None:
    chord = chord_of(numeral, tonic=0, mode="major", seventh=False)
    assert guitar_shape(chord, position=position, capo=0) == frets
