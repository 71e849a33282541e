"""What library modules are made of: functions, modules and objects, as ML programs see them.

These three classes are the only Python objects beside plain values that an ML program can hold, and each is opaque to
it: member access goes through `launcher.runtime.access`, which reads the tables below and nothing else. None of them
may define `__getattr__`, `__getitem__`, `__iter__` or an operator that hands out something that is not an ML value.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar


class Function:
    """A library function as a first-class ML value.

    `name` is dotted (`file.read`, or `len` for a builtin), `call` the Python callable that does the work (positional
    arguments, ML values in and out), `capabilities` the names of section 8.3 (`("file.read",)`), `doc` one line.
    """

    __slots__ = ("call", "capabilities", "doc", "name")

    def __init__(self, name: str, call: Callable[..., Any], capabilities: tuple[str, ...] = (), doc: str = "") -> None:
        self.name = name
        self.call = call
        self.capabilities = capabilities
        self.doc = doc

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)

    def __repr__(self) -> str:
        return f"<function {self.name} at {id(self):#x}>"


class Module:
    """A library module: a name and its members, which are `Function`s and constants. Its members never change."""

    __slots__ = ("doc", "members", "name")

    def __init__(self, name: str, members: Mapping[str, Any], doc: str = "") -> None:
        self.name = name
        self.members = members
        self.doc = doc

    def member(self, name: str) -> Any:
        """The member called `name`. Raises KeyError when there is none."""
        return self.members[name]

    def __repr__(self) -> str:
        return f"<module {self.name}>"


class Object:
    """Base class of library objects (`Match`, `DateTimeObject`, ...).

    `methods` and `properties` map each ML name to a Python attribute of the instance; nothing else is reachable from
    ML, so helpers and state may live beside them. `typeof` gives `kind`, or the class name where that is empty.
    Methods take and return ML values. A subclass declares `__slots__` or not, as it likes.
    """

    __slots__ = ()

    kind: ClassVar[str] = ""
    methods: ClassVar[Mapping[str, str]] = {}
    properties: ClassVar[Mapping[str, str]] = {}

    def __repr__(self) -> str:
        return f"<{self.kind or type(self).__name__} object at {id(self):#x}>"
