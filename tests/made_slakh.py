"""A made sample in exactly the layout of Slakh2100-redux."""

import mido
import numpy as np
import soundfile
import yaml

from stemwise.corpora.slakh import identifier, protocol

FOLDERS = {"train": "train", "validation": "valid", "test": "test"}
# (program, class, plugin); a guitar and the residuals are of two stems each
STEMS = (
    (128, "Drums", "studio_kit.nkm"),
    (33, "Bass", "scarbee_rickenbacker_bass.nkm"),
    (0, "Piano", "the_giant.nkm"),
    (25, "Guitar", "strummed_acoustic.nkm"),
    (29, "Guitar", "electric_sunburst.nkm"),
    (48, "Strings (continued)", "session_strings.nkm"),
    (81, "Synth Lead", "retro_machines.nkm"),
)
UNRENDERED = (4, "Piano", "None")
OCTAVES = (1, 0, 2, 3, 3.3, 2.5, 4)


def write_slakh(root, tracks, seconds=12.0, rate_hz=8000):
    """Write tracks of these numbers, such as {"train": [1, 2], "validation": [], "test": [1876]}.

    The first track has a stem S07 that was not rendered; the second has no piano.
    """
    numbers = [(folder, number) for folder, listed in tracks.items() for number in listed]
    for place, (folder, number) in enumerate(numbers):
        stems = [stem for stem in enumerate(STEMS) if not (place == 1 and stem[1][0] == 0)]
        write_track(root / folder / identifier(number), number, stems, place == 0, seconds, rate_hz)


def write_track(directory, number, stems, with_unrendered, seconds, rate_hz):
    (directory / "stems").mkdir(parents=True)
    (directory / "MIDI").mkdir()
    listed, mix = {}, 0
    for index, (program, kind, plugin) in stems:
        wave = sound(number, index, seconds, rate_hz)
        soundfile.write(directory / "stems" / f"S{index:02d}.flac", wave, rate_hz, "PCM_16")
        mix = mix + wave
        listed[f"S{index:02d}"] = stem_facts(program, kind, plugin, rendered=True)
    if with_unrendered:
        listed["S07"] = stem_facts(*UNRENDERED, rendered=False)
    soundfile.write(directory / "mix.flac", mix, rate_hz, "PCM_16")
    write_midi(directory / "all_src.mid", tempo_bpm(number), seconds)
    facts = {
        "UUID": f"{number:032x}",
        "audio_dir": f"{directory.name}/stems",
        "lmd_midi_dir": f"lmd_matched/A/A/A/{number:032x}.mid",
        "midi_dir": f"{directory.name}/MIDI",
        "normalization_factor": -13.0,
        "normalized": True,
        "overall_gain": 0.1,
        "stems": listed,
        "target_peak": -1.0,
    }
    (directory / "metadata.yaml").write_text(yaml.safe_dump(facts))


def stem_facts(program, kind, plugin, *, rendered):
    return {
        "audio_rendered": rendered,
        "inst_class": kind,
        "integrated_loudness": -20.0,
        "is_drum": program == 128,
        "midi_program_name": kind,
        "midi_saved": True,
        "plugin_name": plugin,
        "program_num": program,
    }


def sound(number, index, seconds, rate_hz):
    """Return one stem, int16 (N,): pulsed tones in the stem's register; drums are noise."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    rng = np.random.default_rng([number, index])
    frequency_hz = 60 * 2 ** (OCTAVES[index] + rng.uniform(0, 0.9))
    beat = time * tempo_bpm(number) / 60 % 1
    pulse = np.exp(-rng.uniform(1, 4) * beat)
    tone = np.sin(2 * np.pi * frequency_hz * time) + 0.3 * np.sin(6 * np.pi * frequency_hz * time)
    wave = rng.standard_normal(len(time)) / 3 if index == 0 else tone
    return np.rint(32767 * 0.08 * pulse * wave).astype(np.int16)


def tempo_bpm(number):
    return 60.0 + number % 90


def write_midi(path, bpm, seconds):
    """Write one note that lasts `seconds` at `bpm`, after a short count at 222 bpm."""
    midi = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    midi.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(222)))
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm), time=480))
    track.append(mido.Message("note_on", note=60, velocity=90))
    track.append(mido.Message("note_off", note=60, time=round(480 * seconds * bpm / 60)))
    midi.save(path)


def clustered_tracks(train=8, validation=6, test=15):
    """Return so many tracks of the largest tempo cluster of each split, for `write_slakh`."""
    facts = protocol()
    chosen = {}
    for folder, count in {"train": train, "validation": validation, "test": test}.items():
        split = FOLDERS[folder]
        cluster = max(facts.tempo_clusters[split], key=len)
        songs = sorted(set(cluster) & set(facts.split[split]))
        assert count <= len(songs), f"the largest cluster of {split} has {len(songs)} songs"
        chosen[folder] = songs[:count]
    return chosen
