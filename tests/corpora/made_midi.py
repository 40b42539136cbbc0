"""Small MIDI files and collections for tests."""

import csv
import io

import mido
import numpy as np

PARTS = {"drums": (9, 0, 38), "bass": (0, 33, 40), "piano": (1, 0, 60), "guitar": (2, 27, 64)}
COLUMNS = ("path", "source", "licence", "n_drums", "n_bass", "n_piano", "n_guitar")


def band_midi(*, parts=tuple(PARTS), notes=32, bpm=120.0, seed=0, transposition=0):
    """Return the bytes of a file in which every part plays `notes` eighths, drawn by `seed`."""
    rng = np.random.default_rng(seed)
    file = mido.MidiFile(ticks_per_beat=96)
    head = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))])
    file.tracks.append(head)
    for part in parts:
        channel, program, pitch = PARTS[part]
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
        for step in rng.integers(0, 12, notes):
            note = pitch if part == "drums" else pitch + int(step) + transposition
            track.append(mido.Message("note_on", channel=channel, note=note, velocity=90))
            track.append(mido.Message("note_off", channel=channel, note=note, time=48))
        file.tracks.append(track)
    return to_bytes(file)


def to_bytes(file):
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


def write_collection(folder, files, source="made"):
    """Write path to bytes as a collection of which all files count as usable."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "index.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for path, content in files.items():
            (folder / path).write_bytes(content)
            writer.writerow(
                dict(zip(COLUMNS, (path, source, "CC0-1.0", 30, 30, 30, 30), strict=True))
            )
    return folder
