"""Which capabilities a program visibly uses: calls of library functions, with the resource where it is a literal.

For `mlsandbox check`: what is used and not declared. A courtesy: names that are computed, functions passed as values
and everything else that only running tells are not seen.
"""

from __future__ import annotations

from launcher.language import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from launcher.language.source import Source

# Library function -> permissions, each as (type, operation, place of the resource among the arguments).
_FILE = {
    "read": "read:0", "readLines": "read:0", "readBytes": "read:0", "write": "write:0", "writeLines": "write:0",
    "writeBytes": "write:0", "append": "append:0", "delete": "delete:0", "copy": "read:0 write:1",
    "move": "read:0 delete:0 write:1",
}  # fmt: skip
_PATH = {
    "listDir": "read:0", "glob": "read:0", "walk": "read:0", "createDir": "write:0", "removeDir": "write:0",
    "removeDirRecursive": "write:0",
}  # fmt: skip
_ENV = dict.fromkeys(("get", "require", "get_int", "get_bool", "get_float"), "read:0")
_CSV = {"read": "read:0", "write": "write:0", "count_rows": "read:0", "get_headers": "read:0", "append": "append:0"}
_HTTP = dict.fromkeys(("get", "delete", "head", "post", "put", "patch"), "url:0")
_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "file": ("file", _FILE),
    "path": ("path", _PATH),
    "env": ("env", _ENV),
    "csv": ("file", _CSV),
    "http": ("network", _HTTP),
    "network": ("network", _HTTP),
    "crypto": ("file", {"hash_file": "read:0"}),
    "log": ("file", {"add_file": "write:0"}),
    "keychain": ("keychain", {"get": "read:0"}),
}
MAX_USES = 1000


def uses(program: ast.Program, source: Source) -> list[dict[str, Any]]:
    """`{"type", "operation", "resource" (None when it is computed), "line", "column"}` for each visible use."""
    modules = {
        node.alias or node.path[0]: node.path[0]
        for node in program.body
        if isinstance(node, ast.Import) and len(node.path) == 1
    }
    found: list[dict[str, Any]] = []
    for call in _calls(program):
        for kind, operation, resource in _permissions(call, modules):
            line, column = source.position(call.start)
            found.append({"type": kind, "operation": operation, "resource": resource, "line": line, "column": column})
            if len(found) >= MAX_USES:
                return found
    return found


def _calls(program: ast.Program) -> Iterator[ast.Call]:
    """Every call of a program in the order of the text, without recursion."""
    pending: list[Any] = [program]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending.extend(reversed(node))
        elif isinstance(node, ast.Node):
            if isinstance(node, ast.Call):
                yield node
            pending.extend([getattr(node, field) for field in reversed(node.fields)])


def _permissions(call: ast.Call, modules: dict[str, str]) -> Iterator[tuple[str, str, str | None]]:
    callee = call.callee
    if not isinstance(callee, ast.Member) or not isinstance(callee.base, ast.Name):
        return
    kind, functions = _TABLES.get(modules.get(callee.base.name, ""), ("", {}))
    for rule in functions.get(callee.name, "").split():
        operation, _, place = rule.partition(":")
        resource = _literal(call.arguments, int(place))
        if operation == "url":
            operation, resource = _host(resource)
        yield kind, operation, resource


def _literal(arguments: tuple[ast.Expression, ...], place: int) -> str | None:
    if place >= len(arguments):
        return None
    argument = arguments[place]
    return argument.value if isinstance(argument, ast.String) else None


def _host(url: str | None) -> tuple[str, str | None]:
    """Scheme and host of a literal URL."""
    scheme, separator, rest = (url or "").partition("://")
    if not separator:
        return "https", None
    host = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    return ("http" if scheme.lower() == "http" else "https"), host or None
