"""The static analysis: refuse what could only be an attempt to reach the host language.

It is a courtesy that names the mistake early; the walls are the checked paths of the runtime and the kernel. So it
looks at names in their place only, never into strings, and a program may call its own variable `dir` or `eval`.
"""

from __future__ import annotations

from launcher.language.catalogue import HOST_MODULES, REFLECTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from launcher.language import ast
    from launcher.language.scopes import Scope

    class Walk(Protocol):
        """What the analysis needs of the pass that calls it."""

        bound: set[str]
        scope: Scope

        def refuse(self, message: str, node: ast.Node, hint: str = "", code: str = "name") -> None: ...


_CODE = "security"


def bound(walk: Walk, node: ast.Name | ast.Parameter) -> None:
    """A name is about to be bound."""
    if node.name.startswith("__"):
        walk.refuse(f"names may not begin with two underscores: {node.name}", node, "", _CODE)


def called(walk: Walk, node: ast.Name) -> None:
    """A bare name is called. Calling an unknown name is an error only when it happens."""
    if node.name not in walk.bound and walk.scope.owner(node.name) is None:
        reflects(walk, node)


def reflects(walk: Walk, node: ast.Name) -> bool:
    """Refuse a name that the program does not define and that belongs to the host language."""
    if node.name in REFLECTION:
        message = f"{node.name} belongs to the host language, which ML programs cannot reach"
        walk.refuse(message, node, "there is no evaluation of text as code", _CODE)
        return True
    if node.name.startswith("__"):
        bound(walk, node)
        return True
    return False


def member(walk: Walk, node: ast.Member) -> None:
    """A member is read or written."""
    if node.name.startswith("__"):
        message = f".{node.name} belongs to the host language, which ML programs cannot reach"
        walk.refuse(message, node, 'an entry of an object with such a key is read as o["key"]', _CODE)


def imported(walk: Walk, node: ast.Import) -> None:
    """A module is imported that is neither the library's nor the program's."""
    if node.path[0] in HOST_MODULES:
        name = ".".join(node.path)
        message = f"{name} is a module of the host language, which ML programs cannot reach"
        walk.refuse(message, node, "the library's modules are listed by available_modules()", _CODE)
