"""Which user modules a program may need, found without parsing it.

The launcher hands the user modules in beside the program. It may not parse untrusted source in a trusted process, so
it looks for the shape of an import with one pattern and reads the files that exist; an `import` in a comment brings in
a file too many, which nobody runs.
"""

from __future__ import annotations

import re

from launcher.language.catalogue import BUILTIN_MODULE, LIBRARY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IMPORT = re.compile(rb"\bimport\s+([A-Za-z_]\w{0,63}(?:\s*\.\s*[A-Za-z_]\w{0,63}){0,15})")
_BLANK = re.compile(rb"\s+")
MAX_MODULES = 200
MAX_TOTAL = 16 * 1024 * 1024


def module_names(source: bytes) -> list[str]:
    """The dotted names after `import` in a source that are not the library's, in order, each once."""
    found = dict.fromkeys(_BLANK.sub(b"", name).decode("ascii") for name in _IMPORT.findall(source))
    return [name for name in found if name not in LIBRARY and name != BUILTIN_MODULE]


def collect(source: bytes, read: Callable[[str], bytes | None]) -> dict[str, bytes]:
    """The sources of all user modules that a program can reach, by full dotted name.

    `read` gives the source for a name (`a.b` is `a/b.ml` beside the program) or None. Modules of a package see those
    beside them. Bounded by MAX_MODULES and MAX_TOTAL bytes; what is beyond is left out and missed at compile time.
    """
    found: dict[str, bytes] = {}
    pending = [("", source)]
    total = 0
    while pending:
        package, text = pending.pop()
        for name in module_names(text):
            for full in {name, f"{package}.{name}" if package else name}:
                data = None if full in found else read(full)
                if data is None or len(found) >= MAX_MODULES or total + len(data) > MAX_TOTAL:
                    continue
                found[full] = data
                total += len(data)
                pending.append((full.rpartition(".")[0], data))
    return found
