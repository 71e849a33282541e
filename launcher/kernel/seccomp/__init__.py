"""The system call filter of a job: one table, compiled by libseccomp, cached as bytes. [L]

A launch reads the table's text (for its digest) and the cached filter; YAML and libseccomp are imported on a miss.
"""

from __future__ import annotations

import os

import launcher
from launcher.canonical import canonical_json, sha256_hex
from launcher.errors import ConfigurationError
from launcher.kernel.seccomp import cache
from launcher.kernel.seccomp.variant import normalised, tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/libseccomp.so.2",
    "/usr/lib/aarch64-linux-gnu/libseccomp.so.2",
    "/usr/lib64/libseccomp.so.2",
    "/usr/lib/libseccomp.so.2",
)
_COMPILER_SOURCES = ("bpf.py", "compiler.py", "constants.py", "cover.py", "rules.py", "table.py", "variant.py")


def filter_bytes(
    table: str, variant: Mapping[str, object], cache_dir: str | None, *, machine: str = "", tables_dir: str = ""
) -> bytes:
    """The filter of `table` ("default") as an array of struct sock_filter, ready for `filter.install`.

    `variant`: exec ("allow", "refuse", "once", "trace"), unix, memfd, live (false unless given), inet (true unless
    given), add (names of additions, as `+perf`). `machine` is this one's unless given; `tables_dir` is where tables
    are, the shipped ones unless given; `cache_dir` None compiles each time.
    Raises ConfigurationError (unknown table or setting, contradiction) and EnforcementError (no libseccomp).
    """
    chosen = normalised(variant)
    machine = machine or os.uname().machine
    path = _table_path(table, tables_dir)
    text = _text(path)
    key = sha256_hex(canonical_json([sha256_hex(text), chosen, machine, _tools()]))
    kept = cache.load(cache_dir, key) if cache_dir else None
    if kept is not None:
        return kept
    program = _compiled(text, path, tokens(chosen), machine)
    if cache_dir:
        cache.store(cache_dir, key, program)
    return program


def additions(table: str, *, tables_dir: str = "") -> dict[str, str]:
    """The additions of a table and what each opens: what `syscalls.add` of a base profile may name. Not [L].

    Raises ConfigurationError.
    """
    from launcher.kernel.seccomp.table import parse

    path = _table_path(table, tables_dir)
    return parse(_text(path), path).additions


def shipped_tables() -> str:
    """The directory of the shipped tables: inside the installed package, or the checkout's profiles/."""
    package = os.path.dirname(os.path.abspath(launcher.__file__))
    installed = f"{package}/_profiles/seccomp"
    return installed if os.path.isdir(installed) else f"{os.path.dirname(package)}/profiles/seccomp"


def _table_path(table: str, tables_dir: str) -> str:
    if not table or not _NAME_CHARACTERS.issuperset(table):
        raise ConfigurationError(f"{table!r} is no name of a system call table", hint="letters, digits and dashes")
    return f"{tables_dir or shipped_tables()}/{table}.yaml"


def _text(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"cannot read the system call table: {error.strerror}", place=path) from error


def _tools() -> list[object]:
    """What else decides the bytes: libseccomp's version (the target of its link) and the compiler's own files."""
    here = os.path.dirname(os.path.abspath(__file__))
    stats = [os.stat(f"{here}/{name}") for name in _COMPILER_SOURCES]
    return [_library_version(), [[status.st_size, status.st_mtime_ns] for status in stats]]


def _library_version() -> str:
    for path in _LIBRARIES:
        try:
            return os.readlink(path)
        except OSError:
            continue
    return ""


def _compiled(text: bytes, path: str, words: frozenset[str], machine: str) -> bytes:
    from launcher.kernel.seccomp.compiler import compile_rules
    from launcher.kernel.seccomp.rules import rules
    from launcher.kernel.seccomp.table import parse

    return compile_rules(rules(parse(text, path), words), machine)
