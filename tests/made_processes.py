"""Other processes for the tests: indexers that are slow enough to be killed in the middle.

They are forked from a server that has imported everything and opened nothing, so that each is there
within a tenth of a second and can be killed like any program.
"""

import multiprocessing
import os
import signal
import time

from stemwise.errors import StemwiseError
from stemwise.library import catalogue, embed, indexing
from stemwise.library.catalogue import Catalogue
from stemwise.library.migrations import migrate
from stemwise.library.store import Store
from stemwise.models.checkpoint import load_model

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["stemwise.library.catalogue", "stemwise.library.migrations"])


def start(target, *arguments):
    """Start `target` in another process."""
    process = _CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def pipe():
    """Return both ends of a pipe that a started process can hold."""
    return _CONTEXT.Pipe()


def finish(process, seconds=60.0):
    """Wait for `process`; return its exit code."""
    process.join(seconds)
    assert not process.is_alive(), "the process hangs"
    return process.exitcode


def index_slowly(place, music, model_path, log, pause_seconds, files_per_commit=2):
    """Index, with the name of every file that is embedded appended to `log`."""
    _slow_down(log, pause_seconds, files_per_commit)
    Catalogue.open(place, create=True).index([music], load_model(model_path), jobs=2)


def index_and_crash(place, music, model_path, name):
    """Index, and die as if the decoder had crashed on the file `name`."""
    really = embed._embed

    def crash(path, content, model, stop):
        if path.name == name:
            os.kill(os.getpid(), signal.SIGSEGV)
        return really(path, content, model, stop)

    embed._embed = crash
    Catalogue.open(place, create=True).index([music], load_model(model_path), jobs=2)


def rebuild_slowly(place, model_path, log, pause_seconds, files_per_commit=2):
    """Rebuild with another model, likewise."""
    _slow_down(log, pause_seconds, files_per_commit)
    catalogue.RETIRED_SECONDS = 0.3
    Catalogue.open(place).rebuild(load_model(model_path), jobs=2)


def migrate_slowly(place, pause_seconds):
    """Migrate, with a pause after every write."""
    append = Store.append

    def slow(self, kind, rows):
        append(self, kind, rows)
        time.sleep(pause_seconds)

    Store.append = slow
    migrate(place)


def told(connection, seconds=60.0):
    """Return what a started process sends; what it raised is raised here."""
    assert connection.poll(seconds), "the process says nothing"
    what = connection.recv()
    if isinstance(what, BaseException):
        raise what
    return what


def index_and_tell(place, music, model_path, connection):
    """Index, and send what became of it."""
    try:
        Catalogue.open(place, create=True).index([music], load_model(model_path))
        connection.send(None)
    except StemwiseError as error:
        connection.send(error)


def read_and_tell(place, connection):
    """Search and count over and over until told to stop; send the counts of pieces."""
    reader = Catalogue.open(place)
    counts = []
    try:
        while not connection.poll():
            vectors = reader.vectors()
            assert len(vectors.block(0)) == len(vectors.start_seconds)
            assert reader.status().files >= len(vectors.pieces)
            assert reader.verify() == []
            counts.append((reader.metadata.fingerprint, len(vectors.pieces)))
        connection.send(counts)
    except Exception as error:
        connection.send(error)
        raise


def _slow_down(log, pause_seconds, files_per_commit):
    indexing.FILES_PER_COMMIT = files_per_commit
    really = embed._embed

    def slow(path, content, model, stop):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{os.path.basename(path)}\n")
        time.sleep(pause_seconds)
        return really(path, content, model, stop)

    embed._embed = slow
