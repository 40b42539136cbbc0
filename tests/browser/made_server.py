"""Servers for the tests of the page: processes of their own, forked from one that imported all."""

import multiprocessing
import socket
import time
import urllib.error
import urllib.request
from contextlib import closing

import uvicorn

from stemwise.library.catalogue import Catalogue
from stemwise.web.api import create_app
from stemwise.web.settings import Settings

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["browser.made_server"])
_START_SECONDS = 60.0


class Server:
    """A server of the catalogue in the folder `place`, with further settings."""

    def __init__(self, place, **settings):
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._arguments = (str(place), self.port, settings)
        self.start()

    def start(self):
        """Start it, and wait until it answers."""
        self._process = _CONTEXT.Process(target=_serve, args=self._arguments, daemon=False)
        self._process.start()
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._process.is_alive(), "the server ended"
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.05)

    def kill(self):
        """End it as a crash would."""
        self._process.kill()
        self._process.join(10)

    def stop(self):
        self._process.terminate()
        self._process.join(10)
        if self._process.is_alive():
            self.kill()

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/health", timeout=5):
                return True
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return True
        except OSError:
            return False


def _serve(place, port, settings):
    settings = Settings(port=port, prepare_uploads=False, **settings)
    app = create_app(Catalogue.open(place), settings)
    uvicorn.run(app, port=port, log_level="warning", access_log=False)
