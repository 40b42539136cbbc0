"""Make demo/music: opus files of held-out songs of a band corpus, and remixes of them.

    python scripts/make_demo_music.py data/band demo/music

Every song comes from the test split, which no model has been trained on. A remix takes one part
from one song and the rest from a neighbour in tempo, so that the demo's answers can be checked: by
its drums, a remix with the drums of A belongs beside A; by its piano, it does not.
"""

import sys
import zipfile
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from stemwise.corpora.midi_collection import SHIPPED
from stemwise.corpora.piece import Piece, read_manifest
from stemwise.parts import PARTS

SECONDS = 50
RATE_HZ = 48000
BITS_PER_SECOND = 40000
SONGS_PER_SOURCE = {"freedoom": 6, "freedoom_history": 4, "mma_random": 6, "composed": 8}
REMIXED_PARTS = ("drums", "drums", "bass", "bass", "piano", "guitar")


def main(corpus: Path, folder: Path) -> None:
    """Choose the songs, write them and the remixes, and list their licences."""
    pieces = [p for p in read_manifest(corpus) if p.split == "test" and len(p.stems) >= 4]
    chosen = []
    for source, count in SONGS_PER_SOURCE.items():
        chosen += sorted((p for p in pieces if p.source == source), key=lambda p: p.identifier)[
            :count
        ]
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Demo music",
        "",
        "Rendered from MIDI with FluidSynth and free soundfonts; all from the test split of the",
        "band corpus. Made by `python scripts/make_demo_music.py data/band demo/music`.",
        "",
        "Soundfonts: TimGM6mb (GPL-2), FluidR3_GM (MIT), MuseScore_General (MIT),",
        "OPL3 (CC-BY-SA-4.0), Black_Pearl and Red_Zeppelin (CC-BY-SA-3.0), all as in Debian.",
        "",
        "| file | source | licence of the music | soundfonts |",
        "|---|---|---|---|",
    ]
    for piece in chosen:
        title = title_of(piece)
        stems = {part: read(piece, part) for part in PARTS}
        fonts = soundfonts(piece, *PARTS)
        lines.append(write(folder, title, piece.source, piece.licence, fonts, sum(stems.values())))
    by_tempo = sorted(chosen, key=lambda p: p.tempo_bpm)
    for number, part in enumerate(REMIXED_PARTS):
        one, other = [p for p in by_tempo[4 * number : 4 * number + 4] if part in p.stems][:2]
        stems = {p: read(one if p == part else other, p) for p in PARTS}
        title = f"remix {number + 1}, {part} of {title_of(one)}, rest of {title_of(other)}"
        licence = " and ".join(sorted({one.licence, other.licence}))
        fonts = soundfonts(one, part) | soundfonts(other, *(p for p in PARTS if p != part))
        lines.append(write(folder, title, "remix", licence, fonts, sum(stems.values())))
    with zipfile.ZipFile(SHIPPED) as collection:
        notices = collection.read("LICENCES.md").decode()
    lines += ["", notices[notices.index("Attribution:") :].rstrip()]
    (folder / "LICENCES.md").write_text("\n".join(lines) + "\n")


def title_of(piece: Piece) -> str:
    """Return a short name: the MIDI file's, or the composed song's number."""
    name = piece.identifier.removesuffix("_0")
    for long, short in (
        ("freedoom_musics__", ""),
        ("mma_random_", ""),
        ("composed_test", "composed"),
    ):
        name = name.replace(long, short)
    if piece.source == "freedoom_history":  # freedoom_history_<revision>_<name>
        name = name.removeprefix("freedoom_history_").partition("_")[2] + "_(old)"
    return name.replace("_", " ")


def soundfonts(piece: Piece, *parts: str) -> set[str]:
    """Return the names of the soundfonts that play `parts`."""
    return {piece.rendering[part]["soundfont"] for part in parts if part in piece.stems}


def read(piece: Piece, part: str) -> np.ndarray:
    """Return the stem's first seconds at 48 kHz, cut or padded; zeros if it is absent."""
    if part not in piece.stems:
        return np.zeros(SECONDS * RATE_HZ, np.float32)
    wave, rate_hz = soundfile.read(piece.stems[part], dtype="float32", frames=SECONDS * 44100)
    wave = soxr.resample(wave, rate_hz, RATE_HZ)[: SECONDS * RATE_HZ]
    return np.pad(wave, (0, SECONDS * RATE_HZ - len(wave)))


def write(
    folder: Path, title: str, source: str, licence: str, fonts: set[str], mixture: np.ndarray
) -> str:
    """Write an opus file with a short fade at its end; return its line in the table."""
    sounding = np.flatnonzero(np.abs(mixture) > 1e-3)
    mixture = mixture[: sounding[-1] + RATE_HZ // 2].copy()
    fade = min(RATE_HZ, len(mixture))
    mixture[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    mixture /= max(1.0, float(np.abs(mixture).max()) / 0.95)
    path = folder / f"{title}.opus"
    with av.open(path, "w", format="ogg") as container:
        container.metadata.update(title=title, artist=source, comment=licence)
        stream = container.add_stream("libopus", rate=RATE_HZ, layout="mono")
        stream.bit_rate = BITS_PER_SECOND
        for first in range(0, len(mixture), RATE_HZ):
            block = mixture[None, first : first + RATE_HZ]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "flt", "mono")
            frame.sample_rate = RATE_HZ
            frame.pts = first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return f"| {path.name} | {source} | {licence} | {', '.join(sorted(fonts))} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
