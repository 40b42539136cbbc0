"""The last answers to searches, for those who ask the same again.

The page does so whenever a slider moves back or somebody goes back to a song. Answers are kept by
the whole request, for one state of the catalogue (`stemwise.web.current.Holding`), so that an
answer kept is the one that would be found. Requests with an upload are left out, since uploads are
forgotten after a while, and those with explanations or many matches, since they are large.
"""

import threading
import time
from collections import OrderedDict

from stemwise.web.messages import SearchAnswer, SearchRequest

__all__ = ["Recent"]

_KEPT = 128  # answers of 20 matches are about 50 kB in memory
_MOST_MATCHES = 50


class Recent:
    """The last answers; may be used by many threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, SearchAnswer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, request: SearchRequest) -> SearchAnswer | None:
        """Return the answer to `request` if it is known, with the time that this took."""
        began = time.perf_counter()
        if not _kept(request):
            return None
        with self._lock:
            found = self._known.get(key := request.model_dump_json())
            if found is None:
                return None
            self._known.move_to_end(key)
        took = round(1000 * (time.perf_counter() - began), 2)
        return found.model_copy(update={"took_ms": took})

    def keep(self, request: SearchRequest, answer: SearchAnswer) -> None:
        """Remember `answer`; of many, the one asked for longest ago is forgotten."""
        if not _kept(request):
            return
        with self._lock:
            self._known[request.model_dump_json()] = answer
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)


def _kept(request: SearchRequest) -> bool:
    tracks_alone = all(query.track is not None for query in request.queries)
    return tracks_alone and request.n <= _MOST_MATCHES and not request.explain
