"""Lines of host code and the place in the ML source that each of them came from."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.language.scopes import Scope


class Writer:
    """Collects the generated text, and knows which expression texts may be evaluated again or later.

    Names in generated code: `v_NAME` is the ML variable NAME, `tN` a temporary, `mN` a member of a library module;
    everything else is from `launcher.runtime.machine`. ML names always carry their prefix, so none can collide.
    """

    __slots__ = ("at", "indent", "inline", "lines", "marks", "scope", "statement", "temporaries", "written")

    def __init__(self, scope: Scope) -> None:
        self.lines: list[str] = []
        self.marks: list[int] = []
        self.at = 0
        self.indent = 0
        self.scope = scope
        self.temporaries = 0
        # Whether no statement may be written: inside what is evaluated only sometimes, and in arrows.
        self.inline = False
        # Index of the first line of the current statement, and how many lines whose order matters there are.
        self.statement = 0
        self.written = 0

    def line(self, text: str) -> None:
        self.lines.append(" " * self.indent + text)
        self.marks.append(self.at)
        self.written += 1

    def temporary(self) -> str:
        self.temporaries += 1
        return f"t{self.temporaries}"

    def atomic(self, text: str) -> bool:
        """Whether `text` gives the same value when evaluated again or later in the statement, at no cost.

        True for constants, temporaries and variables that no call can change (none declares them nonlocal).
        """
        if not text.isidentifier():
            return text[0] in "0123456789'\"" and text[-1] not in ")]"
        if not text.startswith("v_"):
            return True
        name = text[2:]
        owner = self.scope.owner(name)
        return owner is not None and name not in owner.shared

    def keep(self, text: str) -> str:
        """An atomic text for `text`; writes an assignment to a temporary where needed (not inline)."""
        if self.atomic(text):
            return text
        name = self.temporary()
        self.line(f"{name} = {text}")
        return name

    def bind(self, text: str) -> tuple[str, str]:
        """(first use, later uses) of a text inside one expression, by an assignment expression where needed."""
        if self.atomic(text):
            return text, text
        name = self.temporary()
        return f"({name} := {text})", name
