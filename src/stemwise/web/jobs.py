"""Work beside the requests: an index of the folders that the server was started with.

It runs in another process at the lowest priority (`stemwise.web.indexer`), one at a time. A job
that is cancelled, or whose server stops, ends well: what was done stays, and the next one goes on
from there. Jobs of the past are remembered, but not too many.
"""

import contextlib
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from typing import Any, Literal

from stemwise.errors import CatalogueError
from stemwise.web.current import Current
from stemwise.web.failures import HttpError
from stemwise.web.messages import Job, JobRequest
from stemwise.web.settings import Settings, child_environment

__all__ = ["Jobs"]

log = logging.getLogger("stemwise.web")

State = Literal["queued", "running", "done", "failed", "cancelled"]
LOWEST_PRIORITY = 19
_PATIENCE_SECONDS = 60.0
_ENDED = ("done", "failed", "cancelled")


class Jobs:
    """Starts jobs, follows them and ends them; may be used by many threads."""

    def __init__(self, current: Current, settings: Settings) -> None:
        self._current = current
        self._settings = settings
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._running = ""
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        with self._lock:
            return bool(self._running)

    def start(self, request: JobRequest) -> Job:
        """Start what is asked for.

        Raises:
            HttpError: another job is under way, or there is no folder to index.
        """
        if not self._settings.music:
            raise HttpError(
                "conflict",
                "this server was started without a folder of music, so it cannot index",
                "start it with: stemwise serve --music FOLDER",
            )
        with self._lock:
            if self._stopped:
                raise HttpError("busy", "the server is stopping", "")
            if self._running:
                raise HttpError(
                    "conflict",
                    f"job {self._running} is under way",
                    f"wait until it is done, or cancel it: DELETE /api/v1/jobs/{self._running}",
                )
            job = Job(
                id=secrets.token_hex(6), kind=request.kind, state="queued", done=0, total=0,
                message="waiting to start", started=None, ended=None,
            )  # fmt: skip
            self._jobs[job.id] = job
            self._running = job.id
            while len(self._jobs) > self._settings.jobs_kept:
                self._jobs.popitem(last=False)
            self._thread = threading.Thread(
                target=self._run, args=(job, request), name="job", daemon=True
            )
            self._thread.start()
            return job.model_copy()

    def list(self) -> list[Job]:
        """Return all jobs that are remembered, the newest first."""
        with self._lock:
            return [job.model_copy() for job in reversed(self._jobs.values())]

    def get(self, identifier: str) -> Job:
        """Return a job; a failure if there is none."""
        with self._lock:
            return self._known(identifier).model_copy()

    def cancel(self, identifier: str) -> Job:
        """End a job well, if it is under way; return it as it is then."""
        with self._lock:
            job = self._known(identifier)
            if job.state not in _ENDED:
                job.state, job.message = "cancelled", "stopping; what was done is kept"
                if self._process is not None:
                    self._process.terminate()
            return job.model_copy()

    def stop(self) -> None:
        """End what is under way, and wait for that."""
        with self._lock:
            self._stopped = True
            running, thread = self._running, self._thread
        if running:
            with contextlib.suppress(HttpError):
                self.cancel(running)
        if thread is not None:
            thread.join(_PATIENCE_SECONDS)
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()

    def _known(self, identifier: str) -> Job:
        if identifier not in self._jobs:
            raise HttpError(
                "not_found", f"no job {identifier!r} is known", "list them: GET /api/v1/jobs"
            )
        return self._jobs[identifier]

    def _run(self, job: Job, request: JobRequest) -> None:
        state: State = "failed"
        message = "the index failed; the server's log tells why"
        try:
            state, message = self._follow(job, request)
            self._current.refresh()
        except CatalogueError as error:
            log.warning("after an index the catalogue cannot be read: %s", error)
        except Exception as error:
            log.error("a job failed unexpectedly", exc_info=error)
        finally:
            with self._lock:
                job.ended = time.time()
                if job.state == "cancelled":
                    state, message = "cancelled", "cancelled; what was done is kept"
                job.state, job.message = state, message
                self._process = None
                self._running = ""

    def _follow(self, job: Job, request: JobRequest) -> tuple[State, str]:
        """Run the process of `job` to its end; return how it ended, and in words."""
        order = {
            "catalogue": str(self._current.catalogue.directory),
            "folders": [str(folder) for folder in self._settings.music],
            "jobs": max(1, len(os.sched_getaffinity(0)) - 1),
            "retry": request.retry,
            "prune": request.prune,
        }
        with self._lock:
            if job.state == "cancelled":
                return "cancelled", ""
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "stemwise.web.indexer", json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=child_environment(storage=True),
                process_group=0,  # no session of its own: priorities may count within one only
            )
            with contextlib.suppress(OSError):  # it is at an end already
                os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST_PRIORITY)
            job.started, job.state, job.message = time.time(), "running", "looking for music"
        last: dict[str, Any] = {}
        assert process.stdout is not None
        with process:
            for line in process.stdout:
                last = json.loads(line)
                if "total" in last:
                    with self._lock:
                        job.done, job.total = last["done"], last["total"]
                        if job.state == "running":
                            job.message = f"{job.done} of {job.total} files"
        if "summary" in last:
            counts = {name: count for name, count in last["summary"].items() if count}
            found = counts.pop("found", 0)
            return "done", f"{found} files" + "".join(f", {n} {name}" for name, n in counts.items())
        if self.get(job.id).state != "cancelled":
            log.warning("an index ended with %s: %s", process.returncode, last.get("message", last))
        if last.get("failure") == "busy":
            return "failed", "the catalogue is being indexed by another process"
        return "failed", "the index failed; the server's log tells why"
