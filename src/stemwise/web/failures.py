"""How failures are told: one shape for all, whatever raised them, and no path of this machine.

::

    {"code": "not_found", "message": "what is wrong, the value seen", "hint": "what to do next"}

An error of the library becomes a failure by its kind. Its text is passed on only where it can name
no file: what is known of a catalogue's place stays in the server's log.
"""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from stemwise.errors import (
    AudioError,
    BusyError,
    CatalogueError,
    ModelError,
    StemwiseError,
    UsageError,
)

__all__ = [
    "CODES", "Failure", "HttpError", "answer", "declared", "install", "internal", "of_library"
]  # fmt: skip

log = logging.getLogger("stemwise.web")

CODES = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "too_large": 413,
    "unsupported_audio": 415,
    "unprocessable": 422,
    "too_many": 429,
    "internal": 500,
    "busy": 503,
}
_NAMES = {status: code for code, status in CODES.items()}
_LONGEST_VALUE = 80


class Failure(BaseModel):
    """What every request that fails is answered with."""

    code: str = Field(description="One of a few words, for programs.", examples=["not_found"])
    message: str = Field(
        description="One line: what is wrong, and the value seen.",
        examples=["no track has the id '0123456789ab'"],
    )
    hint: str = Field(
        description="What to do next; may be empty.", examples=["list tracks with GET tracks"]
    )


class HttpError(Exception):
    """A failure to be told to the client."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.failure = Failure(code=code, message=message, hint=hint)
        self.status = CODES[code]


def answer(error: HttpError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the response that tells `error`."""
    known = dict(headers or {})
    if error.status == CODES["unauthorized"]:
        known["WWW-Authenticate"] = 'Bearer realm="stemwise"'
    if error.status in (CODES["busy"], CODES["too_many"]):
        known["Retry-After"] = "1"
    return JSONResponse(error.failure.model_dump(), error.status, known)


def internal(error: BaseException) -> HttpError:
    """Log `error`, which nobody expected, and return what a client may know of it."""
    log.error("a request failed unexpectedly", exc_info=error)
    return HttpError("internal", "the server failed; its log tells why", "try again")


def declared(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for the failures `codes`, beside those of every route."""
    every = ("bad_request", "unauthorized", "forbidden", "unprocessable", "internal", "busy")
    found: dict[int | str, dict[str, Any]] = {}
    for code in sorted({*every, *codes}, key=lambda code: CODES[code]):
        found[CODES[code]] = {"model": Failure, "description": code}
    return found


def install(app: FastAPI) -> None:
    """Make `app` tell all its failures in the one shape."""
    app.add_exception_handler(HttpError, _http_error)
    app.add_exception_handler(StemwiseError, _stemwise_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _starlette_error)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HttpError)
    return answer(error)


async def _stemwise_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StemwiseError)
    return answer(of_library(error))


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(name) for name in first["loc"]) or "request"
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return answer(HttpError("bad_request", f"the body is no JSON: {reason}".rstrip(": ")))
    value = repr(first.get("input"))
    seen = value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…"
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    message = f"{place}: {_one_line(first['msg'])}, got {seen}{more}"
    return answer(HttpError("unprocessable", message, "see /api/v1/docs"))


async def _starlette_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _NAMES.get(error.status_code, "bad_request" if error.status_code < 500 else "internal")
    hints = {
        "not_found": "see /api/v1/docs for what there is",
        "method_not_allowed": f"allowed: {(error.headers or {}).get('Allow', 'see /api/v1/docs')}",
    }
    path = request.url.path[:_LONGEST_VALUE]
    messages = {
        "not_found": f"there is nothing at {path}",
        "method_not_allowed": f"{path} does not take {request.method[:16]}",
    }
    message = messages.get(code, _one_line(str(error.detail)))
    made = HttpError(code, message, hints.get(code, ""))
    made.status = error.status_code
    return answer(made, error.headers)


def of_library(error: StemwiseError) -> HttpError:
    """Return the failure that `error` means to a client."""
    log.info("%s: %s", type(error).__name__, error)
    if isinstance(error, UsageError):
        text, _, rest = str(error).partition("; ")
        return HttpError("unprocessable", _one_line(text), _one_line(rest))
    if isinstance(error, AudioError):
        return HttpError("unsupported_audio", "the sound of this file cannot be read", "")
    if isinstance(error, BusyError):
        return HttpError("busy", "the catalogue is being written", "try again when that is done")
    if isinstance(error, CatalogueError):
        return HttpError(
            "busy",
            "the catalogue cannot be read now; the server's log tells why",
            "try again; if that does not help, run: stemwise catalogue verify",
        )
    if isinstance(error, ModelError):
        return HttpError("conflict", "the model cannot do this; the server's log tells why", "")
    return internal(error)


def _one_line(text: str) -> str:
    return " ".join(text.split())
