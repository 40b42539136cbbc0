"""What each kind of broken or odd file gets; docs/files.md shows the same table."""

import multiprocessing
import os
import resource
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from made_files import (
    SECONDS,
    archive,
    at_rate,
    changed,
    coded,
    cut,
    data,
    film,
    id3,
    joined,
    level,
    link,
    listening,
    locked,
    many_channels,
    mutated,
    overwritten,
    picture,
    pipe,
    renamed,
    scrambled,
    sized,
    sound,
    values,
    without_first_frame,
    without_length,
)  # fmt: skip
from stemwise.errors import AudioError
from stemwise.library.collection import Reason, music_files
from stemwise.library.embed import embed_file
from stemwise.models.checkpoint import load_model

PAGE = Path(__file__).parents[2] / "docs" / "files.md"
YES = "yes"
NOT_OPENED = "not opened"
LIMIT_SECONDS = 30.0  # for a busy machine; the slowest takes half a second
LIMIT_MB = 200
TOLERANCE_SECONDS = 0.1  # codecs pad, and not all say by how much
NOBODY = 65534
MUTANTS = int(os.environ.get("STEMWISE_MUTANTS", "100"))


@dataclass(frozen=True)
class Odd:
    """A kind of file: how it is called, made, listed under its folder, and treated when read."""

    kind: str
    make: Callable[[Path], Path]  # folder -> path of the file made in it
    gets: str = ""  # remark on what is embedded, or part of the reason for refusing it
    seconds: float | None = SECONDS  # length embedded; None: refused
    listed: str | Reason = YES  # or why a folder that holds it passes it over
    silent: tuple[int, ...] = ()  # segments in which no part sounds

    def row(self):
        """Return the kind as a row of docs/files.md."""
        if self.seconds is not None:
            shown = "embedded" + (f", {self.gets}" if self.gets else "")
        else:
            shown = NOT_OPENED if self.gets == NOT_OPENED else f"refused: “{self.gets}”"
        return f"| {self.kind} | {self.listed} | {shown} |"


MP3 = sound("s.mp3")
FLAC = sound("s.flac")
WAV = sound("s.wav")
M4A = coded("s.m4a", "aac")
MUTATED = (
    MP3, FLAC, WAV, M4A, sound("s.ogg"), sound("s.aiff"), sound("s.au"), sound("s.caf"),
    sound("s.w64"), sound("s.wav", subtype="MS_ADPCM"), coded("s.opus", "libopus", 48000),
    coded("s.wv", "wavpack"), coded("s.tta", "tta"), coded("s.m4a", "alac"),
    coded("s.wma", "wmav2"), coded("s.aac", "aac"), coded("s.webm", "libopus", 48000),
    coded("s.mka", "flac", format="matroska"), film("s.mp4", with_sound=True),
    lambda folder: many_channels(folder, "s.m4a", "aac", "7.1"),
)  # fmt: skip
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\ns.mp3\n#EXT-X-ENDLIST\n"
MIDI = bytes.fromhex("4d546864000000060000000100604d54726b0000000c00903c4060803c4000ff2f00")
WORDS = b"These are the words of a song.\n" * 3000
NO_AUDIO = "cannot be decoded: it holds no audio that can be read"
INVALID = "cannot be decoded: it is damaged, truncated or no music"
NOT_MUSIC = Reason.NOT_MUSIC
refused = partial(Odd, seconds=None)
passed_over = partial(Odd, gets=NOT_OPENED, seconds=None)

ODD_FILES = (
    # rates, widths, channels
    Odd("WAV, 8 bits", sound("s.wav", subtype="PCM_U8")),
    Odd("WAV, 24 bits", sound("s.wav", subtype="PCM_24")),
    Odd("WAV, 32-bit float", sound("s.wav", subtype="FLOAT")),
    Odd("WAV, 64-bit float", sound("s.wav", subtype="DOUBLE")),
    Odd("WAV, A-law", sound("s.wav", subtype="ALAW")),
    Odd("WAV, mu-law", sound("s.wav", subtype="ULAW")),
    Odd("WAV, ADPCM", sound("s.wav", subtype="MS_ADPCM")),
    Odd("192 kHz", sound("s.flac", 192000)),
    Odd("8 kHz", sound("s.wav", 8000)),
    Odd("mono", sound("s.wav")),
    Odd("7.1 in FLAC", sound("s.flac", channels=8)),
    Odd("WAV of 1,000 channels", sound("s.wav", 8000, channels=1000)),
    Odd("7.1 in AAC", lambda folder: many_channels(folder, "s.m4a", "aac", "7.1")),
    Odd("WavPack of 16 channels", many_channels),
    refused("WAV that claims a rate of 1 Hz", changed(WAV, at_rate(1)),
            "claims a sample rate of 1 Hz"),
    # levels
    Odd("silence", level("s.wav", 0.0), "no part sounds", silent=(0, 1, 2)),
    Odd("a constant (DC only)", level("s.wav", 0.25),
        "no part sounds but at the clicks where it starts and ends", silent=(1,)),
    Odd("float, 20 dB beyond full scale", sound("s.wav", scale=10.0, subtype="FLOAT")),
    Odd("float that holds 24-bit integers", sound("s.wav", scale=2.0**23, subtype="FLOAT")),
    refused("float with samples of 1e30", values("s.wav", 1e30),
            "times full scale; export it again"),
    refused("one sample not a number", values("s.wav", np.nan), "are not finite numbers"),
    refused("one sample infinite", values("s.wav", -np.inf), "are not finite numbers"),
    refused("64-bit float beyond 32 bits", values("s.wav", 1e300, subtype="DOUBLE"),
            "are not finite numbers"),
    # names
    Odd("mp3 named .wav", renamed(MP3, "s.wav")),
    Odd("FLAC named .mp3", renamed(FLAC, "s.mp3")),
    Odd("m4a named .mp3", renamed(M4A, "s.mp3")),
    Odd("mp3 without extension", renamed(MP3, "song"), listed=NOT_MUSIC),
    Odd("name of 250 bytes", renamed(MP3, "x" * 246 + ".mp3")),
    Odd("name that is no UTF-8", renamed(MP3, b"caf\xe9.mp3")),
    Odd("name of quotes, commas, dollars and a line break", renamed(MP3, "a'b\"c;$(x)`y`\n,.mp3")),
    refused("text named .mp3", data("s.mp3", WORDS), INVALID),
    refused("JPEG named .flac", lambda f: picture(f, "s.flac"), NO_AUDIO),
    refused("zip named .mp3", lambda f: archive(f, "s.mp3"), INVALID),
    refused("MIDI named .mp3", data("s.mp3", MIDI), INVALID),
    refused("playlist named .mp3", data("s.mp3", PLAYLIST), INVALID),
    refused("list of files named .mp3", data("s.mp3", b"ffconcat version 1.0\nfile t.mp3\n"),
            NO_AUDIO),
    refused("random bytes named .mp3", data("s.mp3", np.random.default_rng(0).bytes(9**6)),
            INVALID),
    refused("playlist (.m3u8)", data("s.m3u8", PLAYLIST), INVALID, listed=NOT_MUSIC),
    refused("MIDI (.mid)", data("s.mid", MIDI), INVALID, listed=NOT_MUSIC),
    refused("zip", archive, INVALID, listed=NOT_MUSIC),
    # what is no file
    passed_over("pipe (FIFO)", pipe, listed=Reason.SPECIAL),
    passed_over("socket", listening, listed=Reason.SPECIAL),
    passed_over("link to itself", link("loop.mp3", "loop.mp3"), listed=Reason.BROKEN_LINK),
    passed_over("link to nothing", link("gone.mp3", "nowhere.mp3"), listed=Reason.BROKEN_LINK),
    passed_over("link to a folder above", link("up", "."), listed=Reason.SAME_FOLDER),
    refused("file without permission", locked, "cannot be opened: Permission denied"),
    # lengths
    refused("zero length", data("s.mp3", b""), "is empty: 0 bytes"),
    refused("no samples", sound("s.wav", seconds=0), "holds no sound: 0 samples"),
    refused("shorter than a second", sound("s.wav", seconds=0.4),
            "lasts 0.40 s; at least 1 s are needed"),
    Odd("shorter than a segment", sound("s.wav", seconds=1.5), "repeated up to one segment", 1.5),
    # lengths that headers lie about
    refused("WAV whose header claims ten hours", changed(WAV, sized(36000 * 88200)),
            "is damaged or truncated: 5.0 of 36000.0 s can be read"),
    Odd("WAV from a pipe (size 0xFFFFFFFF)", changed(WAV, sized(2**32 - 1))),
    Odd("WAV of a recorder that was stopped hard (size 0)", changed(WAV, sized(0))),
    Odd("AIFF whose sound has size 0", changed(sound("s.aiff"), sized(0, b"SSND", ">"))),
    Odd("FLAC from a pipe (no length)", changed(FLAC, without_length)),
    Odd("mp3, variable rate, without a header", changed(MP3, without_first_frame)),
    Odd("mp3 after 20 MB of ID3 tag and 5,000 bytes of junk",
        changed(MP3, lambda b: id3(20_000_000) + bytes(20_000_000) + bytes(range(250)) * 20 + b)),
    refused("mp3 whose ID3 tag claims more than the file", changed(MP3, lambda b: id3(9**8) + b),
            INVALID),
    Odd("two mp3 files joined", joined("s.mp3", 44100, 44100), "both", 4.0),
    # truncated or damaged
    refused("WAV, truncated", changed(WAV, cut(0.6)),
            "is damaged or truncated: 3.0 of 5.0 s can be read"),
    refused("AIFF, truncated", changed(sound("s.aiff"), cut(0.6)),
            "is damaged or truncated: 3.0 of 5.0 s can be read"),
    refused("FLAC, truncated", changed(FLAC, cut(0.6)), "is damaged or truncated"),
    refused("mp3, truncated", changed(MP3, cut(0.6)), "is damaged or truncated"),
    refused("m4a, truncated, index at its end", changed(M4A, cut(0.6)), INVALID),
    refused("m4a, truncated, index at its start", changed(
        coded("s.m4a", "aac", container_options={"movflags": "faststart"}), cut(0.6)),
        "is damaged or truncated"),
    refused("WavPack, truncated", changed(coded("s.wv", "wavpack"), cut(0.6)), INVALID),
    Odd("Ogg, truncated", changed(sound("s.ogg"), cut(0.6)), "what is there", 2.7),
    Odd("mp3 without a header, truncated", changed(changed(MP3, without_first_frame), cut(0.6)),
        "what is there", 3.0),
    Odd("mp3, 300 bad bytes", changed(MP3, overwritten(0.5, 300)), "without the bad frames"),
    refused("mp3, a third of it bad", changed(MP3, overwritten(0.3, 16000)),
            "is damaged or truncated"),
    refused("Ogg, a third of it bad", changed(sound("s.ogg"), overwritten(0.3, 16000)),
            "is damaged or truncated"),
    refused("FLAC, one bad byte", changed(FLAC, overwritten(0.5, 1)),
            "is damaged or truncated"),
    # codecs and containers
    Odd("AIFF", sound("s.aiff")),
    Odd("Ogg Vorbis", sound("s.ogg")),
    Odd("Ogg Opus", coded("s.opus", "libopus", 48000)),
    Odd("Ogg, chained (a recorded radio stream)", joined("s.ogg", 44100, 44100), "both", 4.0),
    refused("Ogg, chained, rates differ", joined("s.ogg", 44100, 48000), "cannot be decoded"),
    Odd("WavPack", coded("s.wv", "wavpack")),
    Odd("True Audio", coded("s.tta", "tta")),
    Odd("Apple Lossless", coded("s.m4a", "alac")),
    Odd("WMA", coded("s.wma", "wmav2")),
    Odd("AAC without container (ADTS)", coded("s.aac", "aac")),
    Odd("WebM", coded("s.webm", "libopus", 48000)),
    Odd("film with sound (.mp4)", film("s.mp4", with_sound=True), "the sound"),
    Odd("film with sound (.mkv)", film("s.mkv", with_sound=True), "the sound", listed=NOT_MUSIC),
    refused("film without sound", film("s.mp4", with_sound=False), NO_AUDIO),
    refused("m4a, encrypted", changed(M4A, scrambled), "is damaged or truncated"),
    refused("codec that nobody knows", changed(
        coded("s.mka", "flac", format="matroska"), lambda b: b.replace(b"A_FLAC", b"A_ZZZZ")),
        "cannot be decoded: nothing of its 5.0 s can be read"),
)  # fmt: skip


def serve(connection, model_path):
    """Embed the files that are asked for, each twice; this process may hang or die of it."""
    model = load_model(model_path)
    while True:
        path, as_nobody = connection.recv()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        user = os.geteuid()
        try:
            if as_nobody:
                os.seteuid(NOBODY)
            found = [embed_file(path, model), embed_file(path, model)]
        except AudioError as error:
            found = str(error)
        finally:
            os.seteuid(user)
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        connection.send((found, grown_kb / 1024))


class Child:
    """A process that embeds files, and is started anew when it hung or died."""

    def __init__(self, model_path):
        self.model_path = model_path
        self.process = None

    def start(self):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, self.model_path), daemon=True)
        self.process.start()
        other.close()
        with tempfile.TemporaryDirectory() as folder:  # loads what is loaded once
            self.embed(sound("s.flac")(Path(folder)))
            self.embed(coded("s.mka", "aac", format="matroska")(Path(folder)))

    def embed(self, path, as_nobody=False):
        """Return two embeddings of one file, or the reason for refusing it, and the memory in MB.

        Fails if that takes too long, or kills the process.
        """
        if self.process is None:
            self.start()
        self.connection.send((path, as_nobody))
        try:
            if self.connection.poll(LIMIT_SECONDS):
                return self.connection.recv()
        except EOFError:
            self.process.join()
            reason = f"the process died: exit {self.process.exitcode}"
        else:
            reason = f"not done after {LIMIT_SECONDS:g} s"
        self.stop()
        pytest.fail(reason)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


@pytest.fixture(scope="module")
def child(tiny_model_path):
    child = Child(tiny_model_path)
    yield child
    child.stop()


@pytest.fixture
def folder():
    """Return a folder that anybody may enter; it has a short name, as sockets need."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("odd", ODD_FILES, ids=lambda odd: odd.kind)
def test_each_is_embedded_or_refused_with_a_reason(odd, folder, child):
    path = odd.make(folder)
    listing = music_files([folder])
    assert [*listing.files, *listing.counts] == [path if odd.listed == YES else odd.listed]
    found, grown_mb = child.embed(path, as_nobody=odd.make is locked and os.geteuid() == 0)
    assert grown_mb < LIMIT_MB
    if odd.seconds is None:
        assert found.startswith(str(path))
        assert "\n" not in found.removeprefix(str(path))
        assert odd.gets in found or odd.gets == NOT_OPENED
        return
    one, other = found
    assert one.duration_seconds == pytest.approx(odd.seconds, abs=TOLERANCE_SECONDS)
    segments = max(1, int(np.ceil(one.duration_seconds / 2.0)))
    assert one.embeddings.shape == (segments, 5, 128)
    for name in ("start_seconds", "embeddings", "presence", "level_db"):
        assert np.isfinite(getattr(one, name)).all()
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    silent = np.isin(np.arange(segments), odd.silent)
    lengths = np.linalg.norm(one.embeddings, axis=-1)
    np.testing.assert_allclose(lengths, np.where(silent, 0, 1)[:, None] * np.ones(5), atol=1e-5)
    assert (one.presence.any(axis=1) == ~silent).all()


def test_mutated_files_neither_hang_nor_kill(folder, child):
    sources = [make(folder).read_bytes() for make in MUTATED]
    outcomes = Counter()
    for seed in range(MUTANTS):
        path = folder / "mutant"
        path.write_bytes(mutated(sources[seed % len(sources)], seed))
        found, grown_mb = child.embed(path)
        assert grown_mb < LIMIT_MB, f"seed {seed}"
        outcomes[type(found)] += 1
        if not isinstance(found, str):
            assert np.isfinite(found[0].embeddings).all(), f"seed {seed}"
    assert min(outcomes[str], outcomes[list]) > MUTANTS / 10  # both happen


def test_a_collection_of_them_all_adds_up(folder):
    wanted = Counter()
    for number, odd in enumerate(ODD_FILES):
        place = folder / str(number)
        place.mkdir()
        odd.make(place)
        wanted[odd.listed] += 1
    listing = music_files([folder])
    assert listing.found == len(ODD_FILES)
    assert len(listing.files) == wanted.pop(YES)
    assert listing.counts == wanted


def test_the_page_shows_the_same_table():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert rows[2:] == [odd.row() for odd in ODD_FILES]
    assert len(ODD_FILES) >= 30
    assert len({odd.kind for odd in ODD_FILES}) == len(ODD_FILES)
