"""What is queued: submissions of one or many jobs, and their names."""

from __future__ import annotations

from typing import Protocol

from launcher.errors import UsageError
from launcher.service.queue.dependencies import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from launcher.service.queue.amounts import Amounts
    from launcher.service.queue.dependencies import Need

    Key = tuple[int, int]  # submission, index

INDEX = "{index}"  # in the words of a job: its number in the array
MOST_MEMBERS = 1 << 20  # jobs of one submission
_MOST_DIGITS = 15  # what fits into SQLite's integers, and into JSON readers' doubles


class Member:
    """What one job of a submission has of its own: `request` replaces entries of the submission's, `name` is for
    people, `secret` are environment variables. An array's jobs have only their number.
    """

    __slots__ = ("name", "number", "request", "secret")

    def __init__(
        self,
        number: int,
        request: Mapping[str, Any] | None = None,
        name: str = "",
        secret: Mapping[str, str] | None = None,
    ) -> None:
        self.number = number
        self.request = request
        self.name = name
        self.secret = secret


class Members(Protocol):
    """The jobs of a submission, made when they are written: there may be many."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> list[Member]:
        """Some of them. Raises UsageError for one that cannot be a job."""


class Array:
    """Jobs that differ in their number alone."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def part(self, start: int, stop: int) -> list[Member]:
        return [Member(number) for number in self._numbers[start:stop]]


class Submission:
    """One `submit`: by whom, what, and how. `request` is as it travels, without the environment, which is `secret`.

    `key` is chosen by the client: the same key again is the same submission, so that a client whose connection broke
    may ask again. `user` and `caller` are User.to_data(). `demand` is what each of its jobs is counted with.
    """

    __slots__ = ("caller", "demand", "key", "members", "name", "needs", "operator", "priority", "request", "retries",
                 "secret", "tenant", "user")  # fmt: skip

    def __init__(self, tenant: str, request: Mapping[str, Any], members: Members, demand: Amounts) -> None:
        self.tenant = tenant
        self.request = request
        self.members = members
        self.demand = demand
        self.key = ""
        self.name = ""
        self.caller: Mapping[str, Any] = {}
        self.user: Mapping[str, Any] = {}
        self.operator = False
        self.priority = 0
        self.retries = 0
        self.needs: Sequence[Need] = ()
        self.secret: Mapping[str, Any] = {}


def job_name(key: Key, jobs: int) -> str:
    """`17` for the only job of submission 17, `17.3` for one of several."""
    return str(key[0]) if jobs == 1 else f"{key[0]}.{key[1]}"


def selector(text: str) -> Key:
    """The jobs that `17` (all of submission 17) or `17.3` names. Raises UsageError.

    selector = number [ "." number ]
    """
    whole, dot, part = text.partition(".")
    if not _number(whole) or (dot and not _number(part)):
        raise UsageError(f"{text[:80]!r} is no job", hint="a job is a number as `mlsandbox jobs` shows it: 17, or 17.3")
    return int(whole), int(part) if dot else ALL


def selected_name(key: Key) -> str:
    """The inverse of `selector`."""
    return str(key[0]) if key[1] == ALL else f"{key[0]}.{key[1]}"


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def order_of(key: Key) -> int:
    """First come, first served: a number that grows with both parts of a key."""
    return key[0] * MOST_MEMBERS + key[1]
