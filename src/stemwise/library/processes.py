"""Calls carried out by other processes, for threads that ask.

Why: decoding goes packet by packet and a network layer by layer, and each step takes Python's lock;
two threads on two cores take a third longer than two processes (docs/log.md).

Unlike those of `multiprocessing`, such a process does not run the caller's main module again, so
that a script needs no guard; one that dies takes nothing with it, and is replaced; Ctrl-C does not
reach it; and it ends when the caller ends, however that happens.
"""

import contextlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import LifoQueue
from threading import Event
from typing import Any

from stemwise.errors import StemwiseError
from stemwise.memory import keep_memory

__all__ = ["DiedError", "Processes", "StoppedError", "serve"]

_SECONDS_TO_LOOK = 0.1  # between looks at whether to stop


class DiedError(Exception):
    """The process ended before it answered; the message says how."""


class StoppedError(Exception):
    """Nobody waits for the answer any more."""


class Processes:
    """Calls `work(state, *arguments)` elsewhere; may be used by many threads at once.

    Args:
        work: a function of a module, so that it can be imported there.
        state: sent once to each process; arguments and answers with every call. All are pickled.
        most: processes at once; a thread that asks when all are at work waits for one.
    """

    def __init__(self, work: Callable[..., Any], state: object, most: int) -> None:
        self._start = pickle.dumps((work, state))
        self._free: LifoQueue[_Process | None] = LifoQueue()  # the last first
        for _ in range(most):
            self._free.put(None)  # it is started when it is wanted
        self._all: list[_Process] = []

    def call(self, arguments: tuple[object, ...], stop: Event) -> Any:
        """Return what `work` makes of `arguments` in a process that is free, or raise what it does.

        Raises:
            DiedError: the process died; the next call starts another.
            StoppedError: `stop` was set first.
            StemwiseError: no process can be started.
        """
        process = self._free.get()
        try:
            if stop.is_set():
                raise StoppedError
            if process is None or not process.alive:
                process = _Process(self._start)
                self._all.append(process)
            return process.call(arguments, stop)
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End all processes; nobody may call any more."""
        for process in self._all:
            process.end()


class _Process:
    """A process and the line to it."""

    def __init__(self, start: bytes) -> None:
        self._line, theirs = Pipe()
        code = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            f"from {__name__} import serve; serve({theirs.fileno()})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.alive = True
        try:
            self._line.send_bytes(start)
            self._line.recv()
        except (EOFError, OSError):
            raise StemwiseError(
                f"a process to work in cannot be started: it {self.end()}; use --jobs 1"
            ) from None

    def call(self, arguments: tuple[object, ...], stop: Event) -> Any:
        """Send `arguments`, and return or raise what comes back."""
        try:
            self._line.send(arguments)
            while not self._line.poll(_SECONDS_TO_LOOK):
                if stop.is_set():
                    self.end()
                    raise StoppedError
            done, answer = self._line.recv()
        except (EOFError, OSError):
            raise DiedError(self.end()) from None
        if not done:
            raise answer
        return answer

    def end(self) -> str:
        """End the process if it runs yet, and return how it ended."""
        self.alive = False
        self._line.close()  # it ends by itself when it next looks, or at once:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_LOOK)
        self._process.kill()
        code = self._process.wait()
        return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def serve(descriptor: int) -> None:
    """Answer calls from the other end of `descriptor` until it is closed; runs in the process."""
    keep_memory()
    line = Connection(descriptor)
    work, state = pickle.loads(line.recv_bytes())
    with contextlib.suppress(EOFError, OSError):
        line.send("ready")
        while True:
            arguments = line.recv()
            try:
                answer = True, work(state, *arguments)
            except Exception as error:  # the caller's to judge
                answer = False, error
            line.send(answer)
