"""What every parser raises for input that it will not guess about."""

from __future__ import annotations


class Malformed(Exception):  # noqa: N818  it names a property of the input, not an error of ours
    """The bytes are not what the protocol allows. `reason` is for people, `status` the HTTP status where it has one."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
