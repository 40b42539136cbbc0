"""Make demo/music: opus files of held-out songs of a band corpus, and remixes of them.

    python scripts/make_demo_music.py data/band demo/music

Every song comes from the test split, which no model has been trained on. A remix takes one part
from one song and the rest from a neighbour in tempo, so that the demo's answers can be checked: by
its drums, a remix with the drums of A belongs beside A; by its piano, it does not.
"""

import sys
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from stemwise.corpora.piece import Piece, read_manifest
from stemwise.parts import PARTS

SECONDS = 50
RATE_HZ = 48000
BITS_PER_SECOND = 40000
SONGS_PER_SOURCE = {"freedoom": 6, "freedoom_history": 6, "mma_random": 6, "composed": 6}
REMIXED_PARTS = ("drums", "drums", "bass", "bass", "piano", "guitar")


def main(corpus: Path, folder: Path) -> None:
    """Choose the songs, write them and the remixes, and list their licences."""
    pieces = [p for p in read_manifest(corpus) if p.split == "test" and len(p.stems) == len(PARTS)]
    chosen = []
    for source, count in SONGS_PER_SOURCE.items():
        chosen += sorted((p for p in pieces if p.source == source), key=lambda p: p.identifier)[:count]
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Demo music",
        "",
        "Rendered from MIDI with FluidSynth and free soundfonts; all from the test split of the",
        "band corpus. Made by `python scripts/make_demo_music.py data/band demo/music`.",
        "",
        "| file | source | licence |",
        "|---|---|---|",
    ]
    for piece in chosen:
        title = piece.identifier.removesuffix("_0")
        stems = {part: read(piece, part) for part in PARTS}
        lines.append(write(folder, title, piece.source, piece.licence, sum(stems.values())))
    by_tempo = sorted(chosen, key=lambda p: p.tempo_bpm)
    for number, part in enumerate(REMIXED_PARTS):
        one, other = by_tempo[4 * number], by_tempo[4 * number + 1]
        stems = {p: read(one if p == part else other, p) for p in PARTS}
        names = [p.identifier.removesuffix("_0") for p in (one, other)]
        title = f"remix {number + 1}, {part} of {names[0]}, rest of {names[1]}"
        licence = " and ".join(sorted({one.licence, other.licence}))
        lines.append(write(folder, title, "remix", licence, sum(stems.values())))
    (folder / "LICENCES.md").write_text("\n".join(lines) + "\n")


def read(piece: Piece, part: str) -> np.ndarray:
    """Return the stem's first seconds at 48 kHz, cut or padded to one length."""
    wave, rate_hz = soundfile.read(piece.stems[part], dtype="float32", frames=SECONDS * 44100)
    wave = soxr.resample(wave, rate_hz, RATE_HZ)[: SECONDS * RATE_HZ]
    return np.pad(wave, (0, SECONDS * RATE_HZ - len(wave)))


def write(folder: Path, title: str, source: str, licence: str, mixture: np.ndarray) -> str:
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
    return f"| {path.name} | {source} | {licence} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
