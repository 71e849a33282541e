"""Capability blocks as needs: what a program says that it will do, as data for `launcher.capability.Grant`.

    capability FileAccess { resource "data/*.csv"; allow read; allow write "out/*.txt"; }

is `file.read` of `data/*.csv` and `file.write` of `out/*.txt`. Each `allow` is one operation on every `resource` of
its block, or on its own target. The type of capability follows from the operation word. Where a word belongs to
several types (`read`, `write`, `delete`, `execute`, `use`) the block's name decides if it contains a word of a type
(`EnvAccess`, `network_access`, `DatabaseRead`), else the patterns of the block (a connection URL is a database), else
the first type of the table that has the operation: `file`, then `cmd`. An `allow` without any pattern declares nothing,
except for programs (`sh js py`), where it declares all of them.
"""

from __future__ import annotations

import re

from launcher.capability.kinds import KINDS, PROGRAM
from launcher.capability.suggest import suggest
from launcher.language import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from launcher.language.diagnostics import Findings
    from launcher.language.source import Source

# Words of a block's name that point to a type.
_NAME_WORDS = {
    "file": "file", "files": "file", "path": "path", "paths": "path", "directory": "path", "folder": "path",
    "network": "network", "net": "network", "http": "network", "https": "network", "web": "network", "api": "network",
    "database": "database", "db": "database", "sql": "database",
    "command": "cmd", "cmd": "cmd", "process": "cmd", "exec": "cmd", "program": "cmd",
    "shell": "sh", "sh": "sh", "node": "js", "js": "js", "python": "py", "py": "py",
    "keychain": "keychain", "secret": "keychain", "secrets": "keychain",
    "env": "env", "environment": "env", "import": "import", "device": "device", "socket": "socket",
}  # fmt: skip
# Words for several operations at once. `network` is a permission of the first implementation.
_SYNONYMS = {"network": ("network", ("http", "https"))}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_URL = re.compile(r"(postgres|postgresql|sqlite|mysql|mariadb)(\+[a-z]+)?:.*", re.DOTALL)
# A declaration is read by people and compared with every grant.
MAX_PATTERNS = 1000
MAX_PATTERN = 4096


def needs(program: ast.Program, source: Source, findings: Findings) -> list[dict[str, Any]]:
    """The needs of all capability blocks, in order, as `Grant.to_data()` has them; mistakes go to `findings`."""
    found: list[dict[str, Any]] = []
    for statement in program.body:
        if isinstance(statement, ast.Capability):
            found.extend(_block(statement, source, findings))
            if sum(len(need["patterns"]) for need in found) > MAX_PATTERNS:
                message = f"more than {MAX_PATTERNS} patterns are declared"
                findings.add(message, statement.start, statement.end, code="capability")
                break
    return found


def _block(block: ast.Capability, source: Source, findings: Findings) -> Iterator[dict[str, Any]]:
    resources = [item for item in block.items if isinstance(item, ast.Resource)]
    patterns = [item.pattern for item in resources]
    for resource in resources:
        _check_pattern(resource.pattern, resource, findings)
    for item in block.items:
        if isinstance(item, ast.Allow):
            own = patterns if item.target is None else [item.target]
            _check_pattern(item.target or "", item, findings, empty_too=item.target is not None)
            yield from _allow(block, item, own, source, findings)


def _allow(
    block: ast.Capability, item: ast.Allow, patterns: list[str], source: Source, findings: Findings
) -> Iterator[dict[str, Any]]:
    type_, operations = kind_of(block.name, item.operation, patterns)
    if not type_:
        _unknown(item, findings)
        return
    if not patterns and KINDS[type_].pattern != PROGRAM:
        return
    line, column = source.position(item.start)
    yield {
        "type": type_,
        "operations": list(operations),
        "patterns": list(patterns),
        "constraints": {},
        "policy": "",
        "place": [source.name, line, column],
    }


def kind_of(block: str, operation: str, patterns: list[str]) -> tuple[str, tuple[str, ...]]:
    """The type and the operations that a word means in a block; ("", ()) for no known word."""
    if operation in _SYNONYMS:
        return _SYNONYMS[operation]
    types = [name for name, kind in KINDS.items() if operation in kind.operations]
    if not types:
        return "", ()
    words = [word.lower() for word in _WORDS.findall(block)]
    named = [_NAME_WORDS[word] for word in words if _NAME_WORDS.get(word) in types]
    if not named and "database" in types and patterns and all(_URL.fullmatch(text) for text in patterns):
        named = ["database"]
    return (named or types)[0], (operation,)


def _unknown(item: ast.Allow, findings: Findings) -> None:
    words = sorted({operation for kind in KINDS.values() for operation in kind.operations})
    near = suggest(item.operation, words)
    hint = f"did you mean {near}?" if near else f"operations are {', '.join(words)}"
    message = f"{item.operation} is an operation of no capability"
    findings.add(message, item.start, item.end, hint=hint, code="capability")


def _check_pattern(text: str, node: ast.Node, findings: Findings, *, empty_too: bool = False) -> None:
    """Refuse what could never be compared: empty, NUL, or beyond any file name."""
    if (not text and (empty_too or isinstance(node, ast.Resource))) or "\0" in text or len(text) > MAX_PATTERN:
        message = "a pattern is empty, contains NUL or is longer than 4096 characters"
        findings.add(message, node.start, node.end, code="capability")
