import io
import json
from dataclasses import replace

import mido
import numpy as np
import pytest
import soundfile
from made_midi import band_midi, to_bytes

from stemwise.corpora.midi_collection import MidiFile
from stemwise.corpora.piece import check_audio, check_pieces
from stemwise.corpora.rendering import loudness_lufs
from stemwise.corpora.sounds import find_soundfonts
from stemwise.corpora.takes import Studio, Take, read_take
from stemwise.errors import CorpusError

TAKE = Take("one_0", "one", "train", "made", "CC0-1.0", "one.mid", 0, 0)


def midi_file(path, content):
    return MidiFile(path, "made", "CC0-1.0", path, content)


def silent_piano():
    """Everything plays, but the piano's channel has volume 0."""
    file = mido.MidiFile(file=io.BytesIO(band_midi()))
    file.tracks[3].insert(0, mido.Message("control_change", channel=1, control=7, value=0))
    return to_bytes(file)


@pytest.fixture(scope="module")
def studio():
    files = {
        "one.mid": band_midi(notes=40),
        "short.mid": band_midi(notes=8),
        "thin.mid": band_midi(parts=("drums", "bass")),
        "bad.mid": b"no midi",
        "silent.mid": silent_piano(),
    }
    made = Studio(
        soundfonts=find_soundfonts(["TimGM6mb"]),
        files=[midi_file(path, content) for path, content in files.items()],
        seed=0,
        seconds=6.0,
    )
    yield made
    made.close()


def test_a_take_is_a_whole_piece(studio, tmp_path):
    assert read_take(TAKE, tmp_path) is None
    assert studio.record(TAKE, tmp_path) == 6.0
    piece = read_take(TAKE, tmp_path)
    assert check_pieces([piece]) == []
    assert check_audio([piece]) == []
    assert list(piece.stems) == ["drums", "bass", "piano", "guitar"]
    assert (piece.tempo_bpm, piece.duration_seconds) == (120.0, 6.0)
    assert piece.rendering["piece"] == {"midi": "one.mid", "start_seconds": 0.0}
    assert piece.rendering["bass"]["soundfont"] == "TimGM6mb"
    assert 32 <= piece.rendering["bass"]["programs"]["33"] <= 39
    assert [path.name for path in tmp_path.iterdir()] == ["one_0"]


def test_stems_are_equally_loud_but_for_their_offsets(studio, tmp_path):
    studio.record(TAKE, tmp_path)
    piece = read_take(TAKE, tmp_path)
    total, levels = 0, []
    for part, (path,) in piece.stems.items():
        audio, _ = soundfile.read(path, dtype="float32")
        levels.append(loudness_lufs(audio) - piece.rendering[part]["offset_db"])
        total = total + audio
    assert max(levels) - min(levels) < 0.5
    assert 20 * np.log10(np.abs(total).max()) == pytest.approx(-1, abs=0.02)
    assert np.abs(total).max() <= 10 ** (-1 / 20)


def test_later_takes_differ_in_key_tempo_and_sound(studio, tmp_path):
    later = replace(TAKE, identifier="one_1", number=1)
    studio.record(TAKE, tmp_path)
    studio.record(later, tmp_path)
    first, second = read_take(TAKE, tmp_path), read_take(later, tmp_path)
    assert first.song == second.song
    about = second.rendering["piece"]
    assert -3 <= about["semitones"] <= 3
    assert second.tempo_bpm == pytest.approx(120 * about["tempo_factor"], abs=0.01)
    assert first.rendering["bass"] != second.rendering["bass"]


def test_recording_again_gives_the_same_bytes(studio, tmp_path):
    studio.record(TAKE, tmp_path / "a")
    studio.record(replace(TAKE, identifier="one_1", number=1), tmp_path / "a")
    studio.record(TAKE, tmp_path / "b")
    for path in (tmp_path / "a" / "one_0").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "one_0" / path.name).read_bytes()


def test_a_composed_song_is_recorded_with_its_styles(studio, tmp_path):
    take = Take("composed_0", "composed", "test", "composed", "CC0-1.0", "", 5, 0)
    studio.record(take, tmp_path)
    piece = read_take(take, tmp_path)
    assert {"drums", "bass"} <= set(piece.stems)
    assert piece.rendering["piece"]["composition_seed"] == 5
    assert piece.rendering["drums"]["style"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("bad.mid", "damaged"), ("short.mid", "s of notes"), ("thin.mid", "drums, bass sounds")],
)
def test_unusable_songs_leave_nothing(studio, tmp_path, path, message):
    with pytest.raises(CorpusError, match=message):
        studio.record(replace(TAKE, midi=path), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_silent_part_is_absent(studio, tmp_path):
    studio.record(replace(TAKE, midi="silent.mid"), tmp_path)
    record = json.loads((tmp_path / "one_0" / "piece.json").read_text())
    assert record["stems"] == ["drums", "bass", "guitar"]
    assert "piano" not in record["rendering"]


def test_what_a_broken_run_left_is_not_a_piece(studio, tmp_path):
    (tmp_path / ".one_0.partial").mkdir()
    (tmp_path / "one_0").mkdir()
    (tmp_path / "one_0" / "drums.flac").touch()
    assert read_take(TAKE, tmp_path) is None
    studio.record(TAKE, tmp_path)
    assert read_take(TAKE, tmp_path) is not None
    (tmp_path / "one_0" / "bass.flac").unlink()
    assert read_take(TAKE, tmp_path) is None
    (tmp_path / "one_0" / "piece.json").write_text("{")
    assert read_take(TAKE, tmp_path) is None
