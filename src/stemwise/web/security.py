"""Who may ask: addresses, origins, tokens and sessions; and the headers that guard the page.

Every request passes the `Gate` before anything else sees it:

1. **Host**: a server on loopback answers only to names of this machine, and those it was told to;
   else any page of the web could reach it through a name that it points to 127.0.0.1.
2. **Origin**: a request that changes something and comes from a page must come from our own.
3. **Token**: where one is set, everything below ``/api`` wants it, as ``Authorization: Bearer`` or
   as the cookie of a session. The page itself is open: it holds nothing and must ask for the token.
   So is ``/rest``, where each call brings a user and a password along (`stemwise.web.subsonic`);
   as no cookie counts there, pages of other origins, such as players, may call it once it has one.
4. **Size**: a body is counted as it comes in, whatever its header says.

Errors that nobody foresaw end here, as the one shape and in the log.
"""

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie

from fastapi.exceptions import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stemwise.web.failures import HttpError, answer, internal
from stemwise.web.settings import Settings, is_loopback

__all__ = ["COOKIE", "CSP", "Gate", "Sessions", "session_of"]

COOKIE = "stemwise_session"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Players that run in a browser come from origins that nobody can list beforehand, and must read
# the answers to show them. With `*`, a browser sends along no cookie and no stored login, and as
# Access-Control-Allow-Credentials and -Headers never come, no token of /api either: what a page
# can read here is what its user typed a password into it for. A refusal has the header too, or
# such a player could not tell its user that the password was wrong. All this only once a user is
# named; that pages can then see that a server runs here, and guess at its password, is the price.
_FOR_PLAYERS = {
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Access-Control-Allow-Origin": "*",
}
_CHANGING = frozenset(("POST", "PUT", "PATCH", "DELETE"))
_MOST_SESSIONS = 1000
_UPLOADS = "/api/v1/uploads"


class Sessions:
    """Browsers that have shown the token; forgotten when the server stops, or by number."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def open(self) -> str:
        """Return the secret of a new session."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._known[_digest(secret)] = None
            while len(self._known) > _MOST_SESSIONS:
                self._known.popitem(last=False)
        return secret

    def close(self, secret: str) -> None:
        """Forget a session."""
        with self._lock:
            self._known.pop(_digest(secret), None)

    def holds(self, secret: str) -> bool:
        """Tell whether `secret` belongs to a session."""
        with self._lock:  # digests are compared, so that time tells nothing of the secret
            return _digest(secret) in self._known


class Gate:
    """Lets requests to `app` pass or answers them itself; see the module's text."""

    def __init__(self, app: ASGIApp, settings: Settings, sessions: Sessions) -> None:
        self.app = app
        self.settings = settings
        self.sessions = sessions
        names = {"localhost", "127.0.0.1", "[::1]"}
        own = settings.host if ":" not in settings.host else f"[{settings.host.strip('[]')}]"
        self._allowed = {name.lower() for name in settings.allowed_hosts}
        self._names = names | {own.lower()} | self._allowed
        self._any_name = not is_loopback(settings.host) and not settings.allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        begun = False
        players = self.settings.subsonic_user is not None and scope["path"].startswith("/rest/")
        told = _HEADERS | _FOR_PLAYERS if players else _HEADERS

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in told.items():
                    headers[name] = value
                if scope["path"].startswith(("/api", "/rest")):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, self._counted(scope, receive), guarded)
        except HttpError as error:
            await answer(error)(scope, receive, guarded)
        except Exception as error:
            failure = internal(error)
            if not begun:
                await answer(failure)(scope, receive, guarded)

    def _check(self, scope: Scope) -> None:
        """Raise `HttpError` unless the request may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not (self._any_name or self._is_own(host)):
            raise HttpError(
                "forbidden",
                f"this server does not answer to the name {host[:80]!r}",
                "call it by localhost or 127.0.0.1, or start it with --allow-host NAME",
            )
        if scope["method"] in _CHANGING and not scope["path"].startswith("/rest/"):
            _check_origin(headers, host)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limit(scope):
            raise _too_large(self._limit(scope))
        path = scope["path"]
        if self.settings.token is not None and (path == "/api" or path.startswith("/api/")):
            self._check_token(headers, f"{scope['method']} {path}" == "POST /api/v1/session")

    def _is_own(self, host: str) -> bool:
        """Tell whether `host` is a name of this server, with its port or, behind a proxy, none."""
        host = host.lower()
        name, colon, port = host.rpartition(":")
        if not colon or port.endswith("]"):
            name, port = host, ""
        if self._allowed & {name, host}:
            return True
        return name in self._names and (
            self.settings.port == 0
            or port == str(self.settings.port)
            or (not port and self.settings.port == 80)
        )

    def _check_token(self, headers: Headers, bearer_only: bool) -> None:
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _equal(shown.strip(), self.settings.token or ""):
            return
        secret = session_of(headers)
        if not bearer_only and secret and self.sessions.holds(secret):
            return
        raise HttpError(
            "unauthorized",
            "the token is wrong" if shown else "this server wants a token",
            "send Authorization: Bearer TOKEN; the server printed the token when it started",
        )

    def _limit(self, scope: Scope) -> int:
        if scope["path"] == _UPLOADS:
            return self.settings.upload_max_bytes
        return self.settings.body_max_bytes

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """Return `receive`, which fails once the body is too large."""
        limit, seen = self._limit(scope), 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, _too_large(limit).failure.message)
            return message

        return counted


def session_of(headers: Headers) -> str:
    """Return the secret of the session that a request names; empty if it names none."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _check_origin(headers: Headers, host: str) -> None:
    """Raise `HttpError` if the request comes from a page of another origin."""
    origin = headers.get("origin")
    foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
    if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HttpError(
            "forbidden",
            f"a page of {(origin or 'another site')[:80]} may not change anything here",
            "use the page of this server",
        )


def _too_large(limit: int) -> HttpError:
    return HttpError("too_large", f"the body has more than {limit:,} bytes", "send less at once")


def _equal(shown: str, token: str) -> bool:
    """Compare in a time that tells nothing of how much is right."""
    return hmac.compare_digest(_digest(shown), _digest(token))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
