"""What a server is started with, and its limits.

A client never sets any of these. The limits protect the machine from a client that is wrong, not
only from one that is wicked: docs/http.md tells what each is for.
"""

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from stemwise.errors import UsageError

__all__ = ["MOST_MATCHES", "Settings", "child_environment", "is_loopback"]

MOST_MATCHES = 200
"""Matches of one search at most."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_OUR_SECRETS = ("STEMWISE_TOKEN", "STEMWISE_SUBSONIC_PASSWORD")
_SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "KEY")
_FEWEST_TOKEN_SIGNS = 12
_FEWEST_PASSWORD_SIGNS = 8


@dataclass(frozen=True)
class Settings:
    """How to serve a catalogue.

    Attributes:
        host: the address that the server binds; any but loopback needs a token.
        port: its port; 0 in tests.
        token: what clients must show; None asks for nothing.
        music: folders that an index looks through; none: the server never indexes.
        playlists: folder that playlists are written to; None: it writes none.
        allowed_hosts: further names under which the server may be called.
        upload_max_bytes: size of an uploaded file.
        upload_max_seconds: length of its sound.
        upload_timeout_seconds: how long it may take to be read and described.
        upload_memory_bytes: memory for that, beside the model.
        uploads_kept: how many uploads are remembered.
        upload_expires_seconds: for how long.
        body_max_bytes: size of any other request.
        searches_at_once: how many are computed side by side; the others wait in turn.
        waiting_at_most: how many requests may wait; more are turned away.
        jobs_kept: how many jobs of the past are remembered.
        prepare_uploads: start the process that describes uploads before the first one comes.
        subsonic_user: who may use the interface for players; None: it is closed.
        subsonic_password: that user's.

    Raises:
        UsageError: no token at an address that others can reach, or one that is easily guessed; a
            user without a password or the other way round, or a short one.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    music: tuple[Path, ...] = ()
    playlists: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    upload_max_bytes: int = 200 * 2**20
    upload_max_seconds: float = 1800.0
    upload_timeout_seconds: float = 120.0
    upload_memory_bytes: int = 2**30
    uploads_kept: int = 64
    upload_expires_seconds: float = 3600.0
    body_max_bytes: int = 2**20
    searches_at_once: int = 2
    waiting_at_most: int = 200
    jobs_kept: int = 50
    prepare_uploads: bool = True
    subsonic_user: str | None = None
    subsonic_password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"others can reach {self.host}, so that clients need a token; give one, or serve "
                "on 127.0.0.1"
            )
        if self.token is not None and (
            len(self.token) < _FEWEST_TOKEN_SIGNS or not self.token.isascii()
        ):
            raise UsageError(
                f"a token needs {_FEWEST_TOKEN_SIGNS} letters and digits or more, got "
                f"{len(self.token)} signs; leave --token out to have one made"
            )
        self._check_subsonic()

    def _check_subsonic(self) -> None:
        if self.subsonic_user is None and self.subsonic_password is None:
            return
        if not self.subsonic_user:
            raise UsageError("a password for players needs a user; add --subsonic-user NAME")
        if self.subsonic_password is None:
            raise UsageError(
                f"the user {self.subsonic_user} of players needs a password; add "
                "--subsonic-password-file FILE, or set STEMWISE_SUBSONIC_PASSWORD"
            )
        if len(self.subsonic_password) < _FEWEST_PASSWORD_SIGNS:
            raise UsageError(
                f"a password for players needs {_FEWEST_PASSWORD_SIGNS} signs or more, got "
                f"{len(self.subsonic_password)}; choose a longer one"
            )


def is_loopback(host: str) -> bool:
    """Tell whether only programs on this machine can reach the address `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def child_environment(*, storage: bool) -> dict[str, str]:
    """Return the environment of processes that serve us: one thread each, and no secrets.

    With `storage` they keep what opens object storage; one that reads strangers' files has no use
    for it.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _OUR_SECRETS}
    if not storage:
        kept = {
            name: value for name, value in kept.items()
            if not any(word in name.upper() for word in _SECRET_WORDS)
        }  # fmt: skip
    return kept | dict.fromkeys(_THREADS, "1")
