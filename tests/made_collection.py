"""Collections for the tests: songs on disk, and what an index said of them."""

from made_music import tone, write_sndfile

_ADDING_UP = ("added", "updated", "moved", "unchanged", "failed", "vanished", "left")


def add_song(path, seconds=3.0, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_sndfile(path, tone(seconds, 8000, seed), 8000)


def damage(path):
    path.write_bytes(b"no music at all" * 99)


def counts(summary):
    """Return the counts that are not 0, having checked that they add up."""
    assert summary.found == sum(getattr(summary, name) for name in _ADDING_UP)
    told = {name: getattr(summary, name) for name in (*_ADDING_UP, "missing", "forgotten")}
    return {name: count for name, count in told.items() if count}


def known(catalogue):
    """Return the number of known files, having checked that the status adds up."""
    status = catalogue.status()
    assert status.files == status.pieces + status.copies + status.waiting + status.errors
    return {
        name: count
        for name in ("pieces", "copies", "waiting", "errors", "missing")
        if (count := getattr(status, name))
    }


def segment_contents(catalogue):
    return set(catalogue.read("segments", ["content"])["content"].to_pylist())
