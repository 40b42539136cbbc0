import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_midi import band_midi, to_bytes

from stemwise.corpora.score import (
    BEND,
    Score,
    by_part,
    densest_stretch,
    excerpt,
    fold_tempo,
    read_score,
    tempo_bpm,
    transposed,
)
from stemwise.errors import CorpusError

MESSAGE = mido.Message


def midi(*tracks):
    return to_bytes(mido.MidiFile(ticks_per_beat=100, tracks=[mido.MidiTrack(t) for t in tracks]))


def test_parts_are_told_by_program_and_channel():
    score = read_score(band_midi())
    assert list(by_part(score)) == ["drums", "bass", "piano", "guitar"]
    drums, bass = by_part(score)["drums"][0], by_part(score)["bass"][0]
    assert {note.pitch for note in drums.notes} == {38}
    assert bass.program == 33
    assert bass.notes[1][:2] == pytest.approx((0.25, 0.5))
    assert score.end_seconds == pytest.approx(8.0)


def test_generated_files_name_their_bass_tracks():
    track = [
        mido.MetaMessage("track_name", name="Walk-Sus"),
        MESSAGE("program_change", program=24),
        MESSAGE("note_on", note=40, velocity=80),
        MESSAGE("note_off", note=40, time=100),
    ]
    assert list(by_part(read_score(midi(track)))) == ["guitar"]
    assert list(by_part(read_score(midi(track), bass_by_track_name=True))) == ["bass"]


def test_times_follow_the_tempo_changes_of_all_tracks():
    tempo = [
        mido.MetaMessage("set_tempo", tempo=500_000),
        mido.MetaMessage("set_tempo", tempo=1_000_000, time=100),
    ]
    notes = [
        MESSAGE("note_on", note=60, velocity=9, time=50),
        MESSAGE("note_off", note=60, time=100),
    ]
    score = read_score(midi(tempo, notes))
    assert score.voices[0].notes[0][:2] == pytest.approx((0.25, 1.0))
    assert score.tempos == ((0.0, 120.0), (0.5, 60.0))
    assert tempo_bpm(score) == 120.0
    assert tempo_bpm(Score(score.voices, score.tempos, 2.0)) == 60.0


def test_a_note_belongs_to_the_program_it_started_with():
    track = [
        MESSAGE("program_change", program=0),
        MESSAGE("note_on", note=60, velocity=80),
        MESSAGE("program_change", program=33, time=50),
        MESSAGE("note_off", note=60, time=50),
        MESSAGE("note_on", note=40, velocity=80),
        MESSAGE("note_on", note=40, velocity=0, time=50),  # a note-on of velocity 0 ends
    ]
    score = read_score(midi(track))
    assert [(v.part, v.notes[0].pitch) for v in score.voices] == [("piano", 60), ("bass", 40)]


def test_controllers_and_bends_are_kept_but_banks_are_not():
    track = [
        MESSAGE("control_change", control=0, value=5),
        MESSAGE("control_change", control=64, value=127),
        MESSAGE("note_on", note=60, velocity=80),
        MESSAGE("pitchwheel", pitch=-4000, time=50),
        MESSAGE("control_change", control=123, value=0),
        MESSAGE("note_off", note=60, time=50),
    ]
    controls = read_score(midi(track)).voices[0].controls
    assert [(c.number, c.value) for c in controls] == [(64, 127), (BEND, -4000)]


def test_a_note_without_end_lasts_to_the_last_event():
    track = [MESSAGE("note_on", note=60, velocity=80), MESSAGE("note_on", note=62, velocity=80),
             MESSAGE("note_off", note=62, time=200)]  # fmt: skip
    assert read_score(midi(track)).end_seconds == pytest.approx(1.0)


@pytest.mark.parametrize("content", [b"", b"MThd", b"not midi at all", band_midi()[:60]])
def test_damaged_files_are_one_clear_line(content):
    with pytest.raises(CorpusError) as caught:
        read_score(content)
    assert "\n" not in str(caught.value)


def test_a_file_without_notes_is_refused():
    with pytest.raises(CorpusError, match="no note"):
        read_score(midi([MESSAGE("program_change", program=3)]))


def long_score():
    """The bass plays for 30 s; the piano from 18 s to 24 s only."""
    bass = [MESSAGE("program_change", channel=0, program=33)]
    piano = [MESSAGE("control_change", channel=1, control=7, value=50)]
    for _ in range(60):
        bass += [MESSAGE("note_on", note=40, velocity=80),
                 MESSAGE("note_off", note=40, time=100)]  # fmt: skip
    for i in range(12):
        piano += [MESSAGE("note_on", channel=1, note=60, velocity=80, time=0 if i else 3600),
                  MESSAGE("note_off", channel=1, note=60, time=100)]  # fmt: skip
    return read_score(midi(bass, piano))


def test_the_excerpt_is_where_most_parts_play():
    score = long_score()
    start_seconds = densest_stretch(score, seconds=8)
    assert 16 <= start_seconds <= 18
    cut = excerpt(score, start_seconds=start_seconds, seconds=8)
    assert set(by_part(cut)) == {"bass", "piano"}
    notes = [note for voice in cut.voices for note in voice.notes]
    assert min(note.start_seconds for note in notes) == 0
    assert max(note.end_seconds for note in notes) <= 8
    piano = by_part(cut)["piano"][0]
    assert [(c.at_seconds, c.value) for c in piano.controls] == [(0.0, 50)]


def test_a_short_piece_is_taken_whole_from_its_first_note():
    score = read_score(band_midi(notes=16))
    assert densest_stretch(score, seconds=90) == 0
    assert excerpt(score, start_seconds=0, seconds=90) == score


def test_an_excerpt_without_notes_is_refused():
    with pytest.raises(CorpusError, match="no note starts"):
        excerpt(long_score(), start_seconds=100, seconds=5)


def test_transposition_spares_drums_and_keeps_the_range():
    score = read_score(band_midi())
    moved = transposed(score, semitones=-3, tempo_factor=1.25)
    for before, after in zip(score.voices, moved.voices, strict=True):
        shift = 0 if before.part == "drums" else -3
        assert [n.pitch + shift for n in before.notes] == [n.pitch for n in after.notes]
        assert after.notes[-1].end_seconds == pytest.approx(before.notes[-1].end_seconds / 1.25)
    assert tempo_bpm(moved) == 150
    high = transposed(score, semitones=100, tempo_factor=1)
    assert all(0 <= n.pitch <= 127 for voice in high.voices for n in voice.notes)


@given(st.floats(1e-3, 1e6))
def test_tempos_fold_by_octaves(bpm):
    folded = fold_tempo(bpm)
    assert 60 <= folded <= 200
    assert (folded / bpm).hex().split("p")[0] in ("0x1.0000000000000", "0x1.fffffffffffff")


def test_known_tempos_fold():
    assert fold_tempo(512) == 128
    assert fold_tempo(30) == 60
    assert fold_tempo(200) == 200
    with pytest.raises(ValueError, match="above 0"):
        fold_tempo(0)
