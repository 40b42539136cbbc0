"""How fast the server answers: latencies of a real process, over real sockets on loopback.

    python benchmarks/serving.py [--songs 10000] [--clients 20] [--seconds 30] [--index]
                                 [--vectors music|clusters]

The catalogue is made: songs of 25 segments, and names of artists and titles. Vectors are drawn as
those of music lie (benchmarks/music_like.py), or are those of benchmarks/search.py, which fill all
128 dimensions, in clusters that are drawn anew for each part: harder than music. Each client has a
connection and a process is shared by all of them; a request is a search by a whole song, in one of
five mixes of parts, with n = 20; nothing is asked twice, so that no cache helps. Ways to ask:
**paced**, each client asks once per second, at its own moment, and a latency counts from the moment
it was due, also if the answer before came late: **in step**, all in the same mix at a time, so that
every fifth second is one of five-part searches alone, or **mixed**, each beginning with another
mix; and **closed**, each asks again as soon as it is answered. With --index the same again while
the server indexes a folder of made music, from when it has embedded the first file on; the table
tells how many it embedded during each measure. The table has milliseconds as a client sees them;
inside is the median of what the search itself took, cpu the server's time on the processor per
answer.
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import soundfile

sys.path.insert(0, str(Path(__file__).parent))
from music_like import likeness
from search import PER_PIECE, made_part

from stemwise.library.catalogue import Catalogue
from stemwise.library.metadata import FORMAT, Metadata, write_metadata
from stemwise.library.search import prepare
from stemwise.library.store import Store
from stemwise.library.tables import schema
from stemwise.models.checkpoint import load_model
from stemwise.parts import PARTS

PORT = 8799
MIXES = (
    {"drums": 1}, {"bass": 1, "drums": 0.5}, {"piano": 1}, {"guitar": 1, "residuals": 1}, None,
)  # fmt: skip
_CHUNK = 2000


def made_vectors(rng, songs, kind):
    """Return vectors (S, 5, 128) and presences (S, 5) of `songs` made songs."""
    if kind == "music":
        return likeness(rng, songs, PER_PIECE)
    blocks = [made_part(rng, songs, max(20, songs // 15)) for _ in PARTS]
    presence = np.where(rng.random((songs * PER_PIECE, 5)) < 0.85, 0.9, 0.1).astype(np.float32)
    return np.stack(blocks, axis=1), presence


def make_catalogue(folder, songs, kind, seed=0):
    """Write a catalogue of `songs` made songs."""
    rng = np.random.default_rng(seed)
    model = load_model("compact")
    Catalogue.open(folder, create=True)
    store = Store(folder, model.fingerprint)
    store.create()
    vectors, presence = made_vectors(rng, songs, kind)
    lengths = rng.uniform(150, 400, songs).round(2)  # so that few are as long as another
    contents = sorted(rng.bytes(16).hex() for _ in range(songs))
    rows = [
        {"path": f"/made/{k}.flac", "content": contents[k], "size_bytes": 1, "mtime_ns": 1,
         "duration_seconds": float(lengths[k]), "segments": PER_PIECE,
         "title": f"Song {k} of the {['red', 'blue', 'green', 'grey'][k % 4]} house",
         "artist": f"Artist {k % 700}", "album": f"Album {k % 1500}", "year": 1960 + k % 60,
         "genre": "made", "bpm": None, "missing": False}
        for k in range(songs)
    ]  # fmt: skip
    for first in range(0, songs, _CHUNK):
        last = min(first + _CHUNK, songs)
        some = slice(first * PER_PIECE, last * PER_PIECE)
        columns = {
            "content": pa.array(np.repeat(contents[first:last], PER_PIECE)),
            "start_seconds": pa.array(np.tile(10.0 * np.arange(PER_PIECE), last - first)),
            "level_db": pa.array(np.full((last - first) * PER_PIECE, -20, np.float32)),
        }
        for i, part in enumerate(PARTS):
            flat = pa.array(vectors[some, i].reshape(-1))
            columns[part] = pa.FixedSizeListArray.from_arrays(flat, 128)
            columns[f"presence_{part}"] = pa.array(presence[some, i])
        store.append("segments", pa.table(columns, schema=schema("segments", model.fingerprint)))
        store.put("pieces", rows[first:last])
    write_metadata(
        folder,
        Metadata(format=FORMAT, model="compact", fingerprint=model.fingerprint,
                 segment_seconds=model.segment_seconds,
                 created=datetime.now(UTC).isoformat(timespec="seconds")),
    )  # fmt: skip
    prepare(Catalogue.open(folder))  # as an index does


def make_music(folder, files, seed=0):
    """Write `files` WAV files of four minutes of noise that differ from each other."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    noise = (0.1 * rng.standard_normal(240 * 22050)).astype(np.float32)
    for k in range(files):
        soundfile.write(folder / f"{k}.wav", np.roll(noise, 977 * (k + 1)), 22050)


@contextlib.contextmanager
def server(catalogue, music):
    """Run the server; give its address and how long it took to show the page and to search."""
    command = [sys.executable, "-m", "stemwise.cli", "serve", catalogue, "--port", str(PORT),
               "--music", music]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{PORT}"
    try:
        took = []
        for path in ("/page/parts.js", "/api/v1/health"):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(base + path, timeout=120)
                    break
                assert process.poll() is None, "the server does not start"
                time.sleep(0.02)
            took.append(time.perf_counter() - began)
        yield base, took, process.pid
    finally:
        process.terminate()
        process.wait()


async def ask(client, identifier, mix):
    body = {"queries": [{"track": identifier}], "parts": mix, "n": 20}
    response = await client.post("/api/v1/search", json=body)
    assert response.status_code == 200, response.text
    return response.json()["took_ms"]


async def one_client(client, identifiers, pause, until, start, found, inner, mix):
    """Ask until `until`, in mix number `mix` first; append latencies in ms to `found`."""
    due = start
    for k, identifier in enumerate(identifiers):
        if pause:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            began, due = due, due + pause
        else:
            began = time.perf_counter()
        if began >= until:
            return
        inner.append(await ask(client, identifier, MIXES[(mix + k) % len(MIXES)]))
        found.append(1000 * (time.perf_counter() - began))


async def crowd(base, identifiers, clients, pause, seconds, mixed=False):
    """Let `clients` ask for `seconds`; return latencies and what searches took inside, in ms."""
    found, inner = [], []
    share = len(identifiers) // clients
    async with contextlib.AsyncExitStack() as stack:
        crew = []
        for _ in range(clients):  # connected before the clock runs: that takes a client long
            client = httpx.AsyncClient(base_url=base, timeout=120)
            crew.append(await stack.enter_async_context(client))
            await client.get("/api/v1/health")
        start = time.perf_counter()
        await asyncio.gather(
            *(
                one_client(client, identifiers[c * share : (c + 1) * share], pause,
                           start + seconds, start + (pause or 0) * c / clients, found, inner,
                           c if mixed else 0)
                for c, client in enumerate(crew)
            )
        )  # fmt: skip
        return found, inner, time.perf_counter() - start


def processor_seconds(pid):
    """Return what a process has used, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tell(name, found, inner, seconds, used):
    p50, p95, p99 = np.percentile(found, [50, 95, 99])
    print(f"{name:34}{len(found):7}{len(found) / seconds:9.1f}{p50:9.0f}{p95:9.0f}{p99:9.0f}"
          f"{np.median(inner):9.0f}{1000 * used / len(found):9.0f}", flush=True)  # fmt: skip


def start_indexing(base):
    """Start an index, and wait until it has embedded a file; return its id."""
    number = httpx.post(f"{base}/api/v1/jobs", json={"kind": "index"}, timeout=60).json()["id"]
    while not files_indexed(base, number):
        time.sleep(0.2)
    return number


def files_indexed(base, number):
    state = httpx.get(f"{base}/api/v1/jobs/{number}", timeout=60).json()
    assert state["state"] in ("queued", "running"), f"the index is over: {state}"
    return state["done"]


def measure(options, base, pid, identifiers, number=None):
    """Ask in four ways, and tell; `number` is that of an index under way."""
    many = options.clients
    ways = [("alone, closed", 1, 0.0, False), (f"{many} paced, in step", many, 1.0, False),
            (f"{many} paced, mixed", many, 1.0, True),
            (f"{many} closed", many, 0.0, False)]  # fmt: skip
    for name, clients, pause, mixed in ways:
        before = files_indexed(base, number) if number else 0
        used = processor_seconds(pid)
        found, inner, seconds = asyncio.run(
            crowd(base, identifiers, clients, pause, options.seconds, mixed)
        )
        used = processor_seconds(pid) - used
        if number:
            name += f", {files_indexed(base, number) - before} files indexed"
        tell(name, found, inner, seconds, used)


def run(options, catalogue, music):
    identifiers = [piece.id for piece in Catalogue.open(catalogue).pieces()]
    random.Random(1).shuffle(identifiers)
    with server(catalogue, music) as (base, (page, ready), pid):
        print(f"page after {page:.2f} s, first answer after {ready:.2f} s")
        print(f"{'':34}{'n':>7}{'per s':>9}{'p50':>9}{'p95':>9}{'p99':>9}{'inside':>9}"
              f"{'cpu':>9}")  # fmt: skip
        asyncio.run(crowd(base, identifiers[:40], 2, 0.0, 5))  # warm up
        measure(options, base, pid, identifiers)
        if options.index:
            measure(options, base, pid, identifiers, start_indexing(base))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--index", action="store_true", help="Also while the server indexes.")
    parser.add_argument("--vectors", choices=("music", "clusters"), default="music")
    parser.add_argument("--keep", type=Path, help="Make the catalogue here, or use it again.")
    options = parser.parse_args()
    print(f"{options.songs} songs, vectors of {options.vectors}, {len(os.sched_getaffinity(0))} "
          f"cores, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    place = options.keep or Path(tempfile.mkdtemp(prefix="stemwise-serving-"))
    try:
        if not (place / "catalogue" / "catalogue.json").exists():
            make_catalogue(place / "catalogue", options.songs, options.vectors)
        if options.index and not (place / "music").exists():
            make_music(place / "music", round(15 * options.seconds))
        (place / "music").mkdir(exist_ok=True)
        copy = place / "served"  # an index adds to it
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(place / "catalogue", copy)
        run(options, copy, place / "music")
    finally:
        if options.keep is None:
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
