"""The descriptors that the sandbox hands to an ML job, and reading them."""

from __future__ import annotations

import os
from _json import make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOURCE, CONTEXT, REPORT = 3, 4, 5

MAX_CONTEXT = 64 * 1024 * 1024


def read_all(descriptor: int, most: int) -> bytes:
    """What a descriptor holds, at most `most` bytes; closes it."""
    parts: list[bytes] = []
    size = 0
    while size < most:
        part = os.read(descriptor, min(1 << 20, most - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
    os.close(descriptor)
    return b"".join(parts)


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data`."""
    while data:
        data = data[os.write(descriptor, data) :]


def is_open(descriptor: int) -> bool:
    """Whether a descriptor is open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class _Plain:
    """JSON as the standard says, in the shape that the scanner asks for."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float


def json_value(data: bytes) -> Any:
    """The JSON value that `data` begins with; the launcher wrote it, so what follows is not asked for.

    The module `json` costs 8 ms, three times what starting a cached program takes; its scanner is in C and costs none.
    """
    scan: Any = _Plain
    return make_scanner(scan)(data.decode("utf-8"), 0)[0]
