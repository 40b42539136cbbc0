"""What surrounds every call of the Subsonic protocol: its parameters, and the shape of answers.

A call comes as GET or as a form in a POST. Its answer is a `subsonic-response` in XML, or in JSON
or JSONP if the call asks for it, always with HTTP status 200; what went wrong stands inside.

An answer's content is a dictionary. In XML, single values become attributes, dictionaries elements,
and lists one element for each item; "similarity" becomes an element of its own, as other servers
have it, and "value" the text of its element. A value of None is left out. Characters that XML
cannot hold become U+FFFD.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from fastapi import Request, Response

from stemwise import __version__

__all__ = ["VERSION", "Call", "SubsonicError", "answer", "read_call", "refuse"]

VERSION = "1.16.1"
"""Of the protocol."""

_NAMESPACE = "http://subsonic.org/restapi"
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 100
_LONGEST_VALUE = 80
_ELEMENTS = frozenset(("similarity",))
_TEXT = "value"
_CALLBACK = re.compile(r"[A-Za-z_$][\w$.]{0,99}", re.ASCII)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SubsonicError(Exception):
    """A call that fails, with a code of the protocol.

    0 anything else, 10 a parameter is missing, 20 and 30 another version, 40 wrong user or
    password, 42 and 43 the way to log in, 50 not allowed, 70 not found.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = " ".join(message.split())


@dataclass(frozen=True)
class Call:
    """The parameters of a call."""

    values: Mapping[str, list[str]] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """Return the first value of `name`; None if there is none."""
        return self.values[name][0] if name in self.values else None

    def all(self, name: str) -> list[str]:
        """Return all values of `name`."""
        return self.values.get(name, [])

    def need(self, name: str) -> str:
        """Return the first value of `name`; a refusal if there is none, or it is empty."""
        value = self.get(name)
        if not value:
            raise SubsonicError(10, f"required parameter {name!r} is missing")
        return value

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """Return the number `name`, `most` if it is larger; a refusal if it is none of `least`."""
        value = self.get(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,18}", value) or int(value) < least:
            raise SubsonicError(
                0,
                f"{name} must be a whole number of {least} or more, got {value[:_LONGEST_VALUE]!r}",
            )
        return min(int(value), most)

    def check_shape(self) -> None:
        """Raise `SubsonicError` if the answer is wanted in a shape that there is none of."""
        shape = self.get("f")
        if shape not in (None, "xml", "json", "jsonp"):
            raise SubsonicError(
                0, f"f must be xml, json or jsonp, got {str(shape)[:_LONGEST_VALUE]!r}"
            )
        if shape == "jsonp" and not _CALLBACK.fullmatch(self.need("callback")):
            raise SubsonicError(0, "callback must be the name of a function")


async def read_call(request: Request) -> Call:
    """Return the parameters of `request`: those of its address, then those of its form.

    Raises:
        SubsonicError: there are too many.
    """
    query = request.scope["query_string"].decode("utf-8", "replace")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = (await request.body()).decode("utf-8", "replace") if kind == _FORM else ""
    values: dict[str, list[str]] = {}
    try:
        for text in (query, form):
            found = parse_qsl(
                text, keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS
            )
            for name, value in found:
                values.setdefault(name, []).append(value)
    except ValueError:
        raise SubsonicError(0, f"a call has at most {_MOST_FIELDS} parameters") from None
    return Call(values)


def answer(call: Call, content: Mapping[str, Any]) -> Response:
    """Return the response that tells `content` in the shape that `call` wants."""
    return _shaped(call, "ok", content)


def refuse(call: Call, refusal: SubsonicError) -> Response:
    """Return the response that tells `refusal` in the shape that `call` wants."""
    content = {"error": {"code": refusal.code, "message": refusal.message}}
    return _shaped(call, "failed", content)


def _shaped(call: Call, status: str, content: Mapping[str, Any]) -> Response:
    whole = {
        "status": status,
        "version": VERSION,
        "type": "stemwise",
        "serverVersion": __version__,
        "openSubsonic": True,
        **content,
    }
    shape, callback = call.get("f"), call.get("callback") or ""
    if shape == "json" or (shape == "jsonp" and _CALLBACK.fullmatch(callback)):
        text = json.dumps({"subsonic-response": _without_none(whole)}, allow_nan=False)
        if shape == "json":
            return Response(text, media_type="application/json")
        return Response(f"{callback}({text});", media_type="application/javascript")
    root = _element("subsonic-response", whole)
    root.set("xmlns", _NAMESPACE)
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return Response(body, media_type="text/xml")


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_none(one) for one in value]
    return value


def _element(name: str, value: Any) -> ElementTree.Element:
    """Return `value` as the XML element `name`; see the module's text."""
    element = ElementTree.Element(name)
    if not isinstance(value, Mapping):
        element.text = _text(value)
        return element
    for key, one in value.items():
        if isinstance(one, list):
            element.extend(_element(key, item) for item in one)
        elif isinstance(one, Mapping) or key in _ELEMENTS:
            element.append(_element(key, one))
        elif key == _TEXT:
            element.text = _text(one)
        elif one is not None:
            element.set(key, _text(one))
    return element


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _NOT_IN_XML.sub("\ufffd", str(value))
