"""A request as it travels to the service, and the check of what came: the sender is a tenant, and believed in nothing.

Only its form is judged here. What it asks for is decided as for anybody (`deciding`), with its sender's rights.
"""

from __future__ import annotations

import os

from launcher.errors import UsageError
from launcher.service.request import ML_SUFFIX, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

# What travels, and what each must be there. Descriptors travel beside it; who asks is not the sender's to say.
_TRAVEL: dict[str, type] = {
    "allow_degraded": bool, "arguments": list, "command": list, "cwd": str, "environment": dict, "inherited": dict,
    "limits": dict, "program": str, "terminal": bool, "trace_denials": bool, "workspace": str,
}  # fmt: skip
_WORDS = {bool: "true or false", list: "a list of texts", str: "text", dict: "texts by name"}
_TEXTS: dict[type, Callable[[Any], tuple[object, ...]]] = {
    bool: lambda _value: (),
    list: tuple,
    str: lambda value: (value,),
    dict: lambda value: (*value, *value.values()),
}
_OPTIONAL = frozenset(["workspace"])


def to_data(request: Request) -> dict[str, Any]:
    """What is sent."""
    data = {name: getattr(request, name) for name in _TRAVEL}
    return {**data, "environment": dict(request.environment), "inherited": dict(request.inherited)}


def from_data(data: Mapping[str, object], root: str | None) -> Request:
    """The request that was sent, for the service's own `root`. Raises UsageError."""
    request = Request(root=root)
    request.inherited = {}
    for name, kind in _TRAVEL.items():
        if name in data and not (name in _OPTIONAL and data[name] is None):
            setattr(request, name, _checked(name, kind, data[name]))
    if not os.path.isabs(request.cwd):
        raise UsageError("`cwd` of a launch must be an absolute path")
    if bool(request.program) == bool(request.command):
        raise UsageError("a launch has a program or a command")
    if request.program and not request.program.endswith(ML_SUFFIX):
        raise UsageError(f"{request.program!r} is no ML program (its name does not end in {ML_SUFFIX})")
    if any(not name or "=" in name for name in (*request.environment, *request.inherited)):
        raise UsageError("a variable of a launch has no name, or one with `=`")
    return request


def source(text: object) -> bytes:
    """The bytes of a program that was sent as text, with one surrogate for each byte that is no UTF-8.

    Raises UsageError.
    """
    if type(text) is str:
        try:
            return text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            pass
    raise UsageError("`source` of a request must be text")


def _checked(name: str, kind: type, value: Any) -> Any:
    if type(value) is not kind or not all(map(_is_text, _TEXTS[kind](value))):
        raise UsageError(f"`{name}` of a launch must be {_WORDS[kind]}")
    return value


def _is_text(value: object) -> bool:
    """Text that a path or an argument can be: no NUL, and no surrogate that is not a byte's."""
    if type(value) is not str or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True
