"""A submission as it travels, and the check of what came: the sender is a tenant, and believed in nothing."""

from __future__ import annotations

import json
import os

from launcher.errors import UsageError
from launcher.service import received
from launcher.service.queue.dependencies import Need
from launcher.service.queue.model import MOST_MEMBERS, Array, Member, Submission, selector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from launcher.identity.acting import Acting
    from launcher.service.queue.model import Members
    from launcher.service.queue.settings import Settings

_SECRET = ("environment", "inherited")
_OWN = ("arguments", "command", "program", "workspace", "environment")  # what one job of several may have of its own
_LONGEST_NAME = 128
_MOST_PRIORITY, _MOST_RETRIES, _MOST_NEEDS = 1000, 100, 1000
_MOST_NUMBER = 10**9
_MOST_PLACE = 1 << 60  # SQLite's integers have 64 bits
# Bytes of what the database keeps of one job's words, and of its variables: each listing reads the former again for
# each row, each start both, in the loop of all tenants. execve(2) takes no longer word.
LONGEST_REQUEST = 128 << 10


def submission_of(message: Mapping[str, Any], acting: Acting, settings: Settings, root: str | None) -> Submission:
    """The submission that was sent. Raises UsageError."""
    from launcher.service.deciding import command_line_limits

    whole = _mapping(message, "request")
    members = _members(message, whole, root)
    first = members.part(0, 1)[0].request or {}
    limits = command_line_limits(received.from_data({**whole, **first}, root).limits).to_data()
    tenant = acting.user.name
    shared = {name: value for name, value in whole.items() if name not in _SECRET}
    made = Submission(tenant, shared, members, settings.demand(tenant, limits))
    made.secret = {name: whole[name] for name in _SECRET if whole.get(name)}
    _check_length(shared)
    _check_length(made.secret)
    made.key = _text(message, "key", 64) or os.urandom(16).hex()
    made.name = _text(message, "name", _LONGEST_NAME)
    made.caller, made.user, made.operator = acting.caller.to_data(), acting.user.to_data(), acting.operator
    made.priority = integer(message, "priority", -_MOST_PRIORITY, _MOST_PRIORITY, 0)
    made.retries = integer(message, "retries", 0, _MOST_RETRIES, 0)
    made.needs = _needs(message)
    return made


def _members(message: Mapping[str, Any], whole: Mapping[str, Any], root: str | None) -> Members:
    """One job, the jobs of an array, or a list of jobs with something of their own."""
    if "array" in message and "members" in message:
        raise UsageError("a submission is an array or a list, not both")
    if "array" in message:
        return Array(_array(message["array"]))
    if "members" in message:
        items = _list(message, "members", MOST_MEMBERS)
        if not items:
            raise UsageError("there is no job in the submission")
        return Listed(items, whole, root)
    return Array(range(1))


class Listed:
    """Jobs with something of their own. Each is judged when it is written, not when its turn comes."""

    __slots__ = ("_items", "_root", "_whole")

    def __init__(self, items: Sequence[object], whole: Mapping[str, Any], root: str | None) -> None:
        self._items = items
        self._whole = whole
        self._root = root

    def __len__(self) -> int:
        return len(self._items)

    def part(self, start: int, stop: int) -> list[Member]:
        found = [_member(number, item) for number, item in enumerate(self._items[start:stop], start)]
        for member in found:
            received.from_data({**self._whole, **(member.request or {}), **(member.secret or {})}, self._root)
            _check_length(member.request or {})
            _check_length(member.secret or {})
        return found


def _check_length(kept: Mapping[str, Any]) -> None:
    if len(json.dumps(kept)) > LONGEST_REQUEST:
        raise UsageError(
            f"a queued job's words, or its variables, are more than {LONGEST_REQUEST} bytes",
            hint="write what is long to a file in the workspace",
        )


def _array(value: object) -> range:
    good = type(value) is list and len(value) == 3 and all(type(item) is int for item in value)
    if not good or not isinstance(value, list):
        raise UsageError("`array` must be [first, last, step]")
    first, last, step = value
    if not (0 <= first <= last <= _MOST_NUMBER and 1 <= step <= _MOST_NUMBER):
        raise UsageError(f"an array goes from 0 or more up to {_MOST_NUMBER}", hint="write --array 1-100 or 0-90:10")
    found = range(first, last + 1, step)
    if len(found) > MOST_MEMBERS:
        raise UsageError(f"an array of {len(found)} jobs; at most {MOST_MEMBERS}")
    return found


def _member(number: int, item: object) -> Member:
    if type(item) is not dict or any(name not in (*_OWN, "name") for name in item):
        raise UsageError(f"a job of a list has of its own: {', '.join((*_OWN, 'name'))}")
    request = {name: item[name] for name in _OWN if name in item and name not in _SECRET}
    if "program" in request:
        request.setdefault("command", [])
    elif "command" in request:
        request.setdefault("program", "")
    secret = {"environment": item["environment"]} if "environment" in item else None
    return Member(number, request, _text(item, "name", _LONGEST_NAME), secret)


def _needs(message: Mapping[str, Any]) -> list[Need]:
    needs = []
    for item in _list(message, "needs", _MOST_NEEDS) if "needs" in message else []:
        if type(item) is not dict or type(item.get("job")) is not str or type(item.get("any_end", False)) is not bool:
            raise UsageError("a need is {job, any_end}")
        submission, index = selector(item["job"])
        needs.append(Need(submission, index, any_end=item.get("any_end", False)))
    return needs


# -- values ----------------------------------------------------------------------------------------------------------


def _mapping(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = message.get(name)
    if type(value) is not dict:
        raise UsageError(f"`{name}` of a submission must be an object")
    return value


def _list(message: Mapping[str, Any], name: str, most: int) -> list[Any]:
    value = message.get(name)
    if type(value) is not list or len(value) > most:
        raise UsageError(f"`{name}` of a message must be a list of at most {most}")
    return value


def _text(message: Mapping[str, Any], name: str, most: int) -> str:
    value = message.get(name, "")
    if type(value) is not str or len(value) > most or not value.isprintable():
        raise UsageError(f"`{name}` must be printable text of at most {most} characters")
    return value


def keys_of(message: Mapping[str, Any], most: int) -> list[tuple[int, int]]:
    """The jobs that a message selects. Raises UsageError."""
    return [selector(item if type(item) is str else "") for item in _list(message, "jobs", most)]


def integer(message: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    """A whole number of a message, within bounds. Raises UsageError."""
    value = message.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise UsageError(f"`{name}` must be a whole number between {least} and {most}")
    return value


def flag(message: Mapping[str, Any], name: str) -> bool:
    """true or false, the latter where it is absent. Raises UsageError."""
    value = message.get(name, False)
    if type(value) is not bool:
        raise UsageError(f"`{name}` must be true or false")
    return value


def words(message: Mapping[str, Any], name: str, known: Sequence[str]) -> list[str]:
    """Words of a fixed set; all of it where it is absent. Raises UsageError."""
    if name not in message:
        return list(known)
    found = _list(message, name, len(known))
    for word in found:
        if word not in known:
            raise UsageError(f"`{name}`: {str(word)[:40]!r} is none of {', '.join(known)}")
    return found


def place(message: Mapping[str, Any], name: str, default: tuple[int, int]) -> tuple[int, int]:
    """Where a listing goes on: [submission, index]. Raises UsageError."""
    value = message.get(name)
    if value is None:
        return default
    if type(value) is not list or [type(item) for item in value] != [int, int]:
        raise UsageError(f"`{name}` must be two numbers")
    if any(not -1 <= item <= _MOST_PLACE for item in value):
        raise UsageError(f"`{name}` is no place in a listing")
    return value[0], value[1]
