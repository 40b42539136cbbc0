"""The command that serves a catalogue to browsers and programs; see `stemwise.cli`."""

import contextlib
import os
import secrets
import socket
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemwise import console
from stemwise.cli_catalogue import catalogue_path
from stemwise.errors import CatalogueError, UsageError, extra

if TYPE_CHECKING:
    from fastapi import FastAPI

    from stemwise.web.settings import Settings

__all__ = ["web_app"]

GRACE_SECONDS = 5  # for answers that are under way when the server stops

web_app = typer.Typer()


@web_app.command()
def serve(
    catalogue: Annotated[
        Path | None, typer.Argument(help="Folder of the catalogue.", envvar="STEMWISE_CATALOGUE")
    ] = None,
    host: Annotated[
        str, typer.Option(envvar="STEMWISE_HOST", help="Address; any but loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="STEMWISE_PORT", min=1, max=65535, help="Port.")
    ] = 8765,
    token: Annotated[
        str | None,
        typer.Option(envvar="STEMWISE_TOKEN", help="What clients must show; made if needed."),
    ] = None,
    music: Annotated[
        list[Path] | None,
        typer.Option(help="Folder that clients may have indexed; repeatable."),
    ] = None,
    playlists: Annotated[
        Path | None, typer.Option(help="Folder that clients may have playlists written to.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Further name that clients may call the server by; repeatable."),
    ] = None,
    subsonic_user: Annotated[
        str | None,
        typer.Option(envvar="STEMWISE_SUBSONIC_USER", help="Let players in, as this user."),
    ] = None,
    subsonic_password_file: Annotated[
        Path | None,
        typer.Option(help="Its password; or set STEMWISE_SUBSONIC_PASSWORD."),
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = False,
) -> None:
    """Serve the catalogue: a page for the browser, and an HTTP interface for programs."""
    with extra("serve"):
        import fastapi_offline  # noqa: F401
        import uvicorn

        from stemwise.web.front import Doorway
    from stemwise.web.settings import Settings, is_loopback

    store = _catalogue(catalogue_path(catalogue), music or [])
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    settings = Settings(
        host=host,
        port=port,
        token=token,
        music=tuple(_folder(path, "--music") for path in music or []),
        playlists=_folder(playlists, "--playlists") if playlists else None,
        allowed_hosts=tuple(allow_host or []),
        subsonic_user=subsonic_user,
        subsonic_password=_password(subsonic_user, subsonic_password_file),
    )
    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = Doorway(lambda: _application(store, settings), settings, failed)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            lifespan="on",
        )
    )
    bound = _bound(host, port)
    _say(settings, open_page)
    with bound:
        try:
            server.run([bound])
        except KeyboardInterrupt:
            console.remark("stopped")
    if failures:
        raise failures[0]


def _application(store: Path, settings: "Settings") -> "FastAPI":
    """Return the whole server; this imports what the page does not need."""
    from stemwise.library.catalogue import Catalogue
    from stemwise.web.api import create_app

    return create_app(Catalogue.open(store, create=bool(settings.music)), settings)


def _catalogue(path: Path, music: list[Path]) -> Path:
    """Return where the catalogue is; with music to index, it need not be there yet."""
    from stemwise.library.metadata import read_metadata

    if read_metadata(path) is None and not music:
        raise CatalogueError(
            f"no catalogue in {path}; make one with: stemwise index FOLDER, or serve with --music"
        )
    return path


def _folder(path: Path, option: str) -> Path:
    """Return the folder `path`, absolute."""
    if not path.is_dir():
        raise UsageError(f"{option} {path} is no folder; name one that is there")
    return path.absolute()


def _password(user: str | None, file: Path | None) -> str | None:
    """Return the password of players, from the first line of `file` or else the environment."""
    if file is None:
        return os.environ.get("STEMWISE_SUBSONIC_PASSWORD") if user is not None else None
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--subsonic-password-file {file} cannot be read; name a text file with the password"
        ) from error
    return text.partition("\n")[0].rstrip("\r")


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens."""
    with contextlib.ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = stack.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(socket.SOMAXCONN)
        except OSError as error:
            raise UsageError(
                f"port {port} of {host} cannot be used: {error.strerror}; choose another with "
                "--port"
            ) from error
        stack.pop_all()  # it stays open
    return bound


def _say(settings: "Settings", open_page: bool) -> None:
    """Print where the page is, with the token behind #, which browsers never send."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    shown = {"0.0.0.0": socket.gethostname(), "[::]": socket.gethostname()}.get(host, host)
    address = f"http://{shown}:{settings.port}/"
    if settings.token is not None:
        address += f"#token={settings.token}"
    print(address, flush=True)
    console.remark("stop with Ctrl-C")
    if open_page:
        webbrowser.open(address)
