"""A spec on its way to a pid 1 that waits for it: what is in memory by pickle in a memfd, descriptors by SCM_RIGHTS.

Only in this direction, from the trusted side to a process that it forked: nothing that a job could have written is
ever unpickled.
"""

from __future__ import annotations

import os
import pickle

from launcher.enforce.namespace import channel as messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.operations import Operation
    from launcher.enforce.namespace.spec import Spec

# What an operation holds that only the launcher could open, by its attribute.
_HELD = ("descriptor", "_tree")


class Handed:
    """What arrives. `operations` are the steps that are left to do; `doors` lead into the control groups."""

    __slots__ = ("doors", "operations", "spec")

    def __init__(self, spec: Spec, operations: list[Operation], doors: list[int]) -> None:
        self.spec = spec
        self.operations = operations
        self.doors = doors


class Observed:
    """What pid 1 needs of an observer: its filter."""

    __slots__ = ("program",)

    def __init__(self, program: bytes) -> None:
        self.program = program


def held(operations: Sequence[Operation]) -> list[tuple[Operation, str, int]]:
    """The descriptors that operations hold: (operation, attribute, descriptor)."""
    found = [(item, name, getattr(item, name, -1)) for item in operations for name in _HELD]
    return [(item, name, fd) for item, name, fd in found if fd >= 0]


def send_spec(control: Channel, spec: Spec, operations: Sequence[Operation], doors: Sequence[int]) -> None:
    """Hands `spec` over, of whose operations only `operations` are left to do. Raises OSError."""
    fds: list[int] = []
    kept = spec.operations, spec.stdio, spec.passed, spec.network, spec.observer
    try:
        spec.operations = list(operations)
        spec.stdio = [_put(fds, fd) for fd in spec.stdio]
        spec.passed = [(_put(fds, fd), number) for fd, number in spec.passed]
        spec.network = spec.network.child_side() if spec.network else None
        spec.observer = Observed(spec.observer.program) if spec.observer else None  # type: ignore[assignment]
        places = [_put(fds, fd) for fd in doors]
        _send(control, messages.SPEC, (spec, places), (*operations, *spec.over), fds)
    finally:
        spec.operations, spec.stdio, spec.passed, spec.network, spec.observer = kept


def receive_spec(descriptors: list[int]) -> Handed:
    """What `send_spec` sent."""
    value, fds = _load(descriptors)
    spec: Spec = value[0]
    places: list[int] = value[1]
    _give_back((*spec.operations, *spec.over), fds)
    spec.stdio = [fds[index] for index in spec.stdio]
    spec.passed = [(fds[index], number) for index, number in spec.passed]
    return Handed(spec, list(spec.operations), [fds[index] for index in places])


def send_operations(control: Channel, operations: Sequence[Operation]) -> None:
    """Hands over steps to be taken before the spec is known. Raises OSError."""
    _send(control, messages.PREBUILD, list(operations), operations, [])


def receive_operations(descriptors: list[int]) -> list[Operation]:
    """What `send_operations` sent."""
    operations, fds = _load(descriptors)
    _give_back(operations, fds)
    return list(operations)


def _put(fds: list[int], fd: int) -> int:
    fds.append(fd)
    return len(fds) - 1


def _send(control: Channel, kind: str, value: object, operations: Sequence[Operation], fds: list[int]) -> None:
    owned = held(operations)
    try:
        for operation, name, fd in owned:
            setattr(operation, name, _put(fds, fd))
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    finally:
        for operation, name, fd in owned:
            setattr(operation, name, fd)
    memory = os.memfd_create("spec", os.MFD_CLOEXEC)
    try:
        os.write(memory, data)
        control.send(kind, (len(data),), [memory, *fds])
    finally:
        os.close(memory)


def _load(descriptors: list[int]) -> tuple[Any, list[int]]:
    memory, *fds = descriptors
    data = os.pread(memory, os.fstat(memory).st_size, 0)
    os.close(memory)
    return pickle.loads(data), fds  # noqa: S301  the other end is the launcher's, see the top


def _give_back(operations: Sequence[Operation], fds: list[int]) -> None:
    for operation, name, index in held(operations):
        setattr(operation, name, fds[index])
