"""A small collection with tags: twelve seconds each; the tiny model hears no piano anywhere."""

import numpy as np
from mutagen.flac import FLAC

from made_music import write_sndfile

SECONDS = 12.0
RATE_HZ = 8000
WICKED = "<img src=x onerror=document.title='hit'>"
TITLES = [
    "Amber River", "Blue River", "Copper Song", "Distant Song", "Early Light", "Faint Light",
    "Green Hill", "Hollow Hill", "Ivory Café", WICKED,
]  # fmt: skip
ARTISTS = ["Ada", "Bo", "Cleo"]


def sound(number):
    """Return notes with overtones over noise, (N,) float32; no two numbers are alike."""
    rng = np.random.default_rng(number)
    time = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    notes = rng.choice(np.array([110, 147, 196, 262, 349, 466, 622]), 24)[(2 * time).astype(int)]
    loudness = np.exp(-rng.uniform(1, 12) * (time * 2 % 1))
    overtones = rng.dirichlet(np.full(6, 0.4))
    wave = sum(a * np.sin(2 * np.pi * (k + 1) * notes * time) for k, a in enumerate(overtones))
    noise = rng.uniform(0.002, 0.2) * rng.standard_normal(len(time))
    return (0.4 * loudness * wave + noise * loudness ** rng.uniform(0, 2)).astype(np.float32)


def write_song(folder, number, title, artist):
    """Write a song with tags; its year is 2000 + `number`."""
    path = folder / f"{number:02d}.flac"
    write_sndfile(path, sound(number), RATE_HZ)
    tags = FLAC(path)
    tags.update({"title": title, "artist": artist, "date": str(2000 + number), "genre": "Folk"})
    tags.save()
    return path


def write_songs(folder):
    """Write the collection; return the folder."""
    for number, title in enumerate(TITLES):
        write_song(folder, number, title, ARTISTS[number % 3])
    return folder
