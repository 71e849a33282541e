"""The directories that a commit works between, by descriptor. [L]"""

from __future__ import annotations

import os

from launcher.enforce.staging.tree import open_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.enforce.staging.baseline import Baseline

_KEPT = 64  # open directories; a commit visits them in order, so few are enough


class Layers:
    """One area when its job has ended: `upper`, `lower` and the host's directory `target` are descriptors."""

    __slots__ = ("baseline", "directory", "lower", "name", "target", "upper")

    def __init__(self, name: str, directory: str, layers: tuple[int, int, int], baseline: Baseline) -> None:
        self.name = name
        self.directory = directory
        self.upper, self.lower, self.target = layers
        self.baseline = baseline


class Places:
    """The host's directories of several areas, opened below their roots and kept open for a while."""

    def __init__(self, roots: Sequence[tuple[str, int]]) -> None:
        self._roots = dict(roots)
        self._open: dict[tuple[str, str], int] = {}

    def directory(self, area: str, inside: str) -> int:
        """The directory `inside` of `area`. Raises OSError; ELOOP for a symbolic link in its name."""
        key = (area, inside)
        fd = self._open.get(key)
        if fd is None:
            if len(self._open) >= _KEPT:
                os.close(self._open.pop(next(iter(self._open))))
            fd = self._open[key] = open_directory(self._roots[area], inside)
        return fd

    def roots(self) -> list[int]:
        return list(self._roots.values())

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
