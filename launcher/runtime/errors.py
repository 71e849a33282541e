"""Run-time errors: what ML code raises, what it catches, and the names under which it knows them.

Library code raises the Python exception whose name the reference gives (`ValueError`, `KeyError`,
`FileNotFoundError`, ...) with the host's text; the classes here are for what has no host counterpart. An ML handler
never sees a Python exception: `caught` turns it into a `Caught`, which holds ML values and text only, no traceback and
no frame.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class MLError(Exception):
    """An error of the ML runtime itself; `kind` is what `e.type` gives."""

    kind = "RuntimeError"


class SecurityError(MLError):
    """Something that no ML program may reach."""

    kind = "SecurityError"


class CapabilityError(MLError):
    """A sensitive operation that no grant covers.

    `message` is one sentence for people, `type` and `operation` the permission (`file`, `read`), `resource` what it
    was asked for as the program wrote it, `hint` what to ask the administrator for.
    """

    kind = "CapabilityError"

    def __init__(
        self,
        message: str,
        type: str = "",  # noqa: A002  the vocabulary of the capability algebra
        operation: str = "",
        resource: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type
        self.operation = operation
        self.resource = resource
        self.hint = hint


def text_of_thrown(value: Any) -> str:
    """The text of a thrown value: its `message` entry, or its own text form."""
    if type(value) is not dict:
        return str(value)
    return str(value["message"]) if "message" in value else "User-defined exception"


class UserError(MLError):
    """What `throw` raises. The only argument is the thrown ML value; its text is made when somebody asks."""

    kind = "MLUserException"

    @property
    def value(self) -> Any:
        """The thrown ML value."""
        return self.args[0]

    def __str__(self) -> str:
        return text_of_thrown(self.args[0])


class RethrownError(MLError):
    """A caught error thrown again: `throw e;`. It keeps the kind and the text of the first."""

    def __init__(self, first: Caught) -> None:
        super().__init__(first.text)
        self.first = first
        self.kind = first.kind


class Caught:
    """What `except (e)` binds: the thrown value, or the description of a run-time error.

    `text` is what `print(e)` shows, `kind` the name of the error, `value` the thrown ML value (for run-time errors an
    object with `message` and `type`, and for capability errors `capability`, `operation`, `resource`, `hint`).
    Member access and indexing read `value`, so `e.code` is what the program threw.
    """

    __slots__ = ("_text", "kind", "value")

    def __init__(self, kind: str, text: str | None, value: Any) -> None:
        self.kind = kind
        self._text = text
        self.value = value

    @property
    def text(self) -> str:
        """Made when somebody asks: most handlers do not."""
        return text_of_thrown(self.value) if self._text is None else self._text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{self.kind}({self.text!r})"

    def __eq__(self, other: object) -> bool:
        if type(other) is Caught:
            return self is other or bool(self.value == other.value)
        return bool(self.value == other)

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value)


# The kinds of section 10 of the reference, which are the host's names. A subclass that is not listed goes by its
# nearest listed ancestor, so that no Python name outside this table shows.
_KIND_WORDS = (
    "TypeError ValueError KeyError IndexError AttributeError ZeroDivisionError OverflowError NameError "
    "UnboundLocalError RecursionError RuntimeError MemoryError EOFError ArithmeticError LookupError StopIteration "
    "UnicodeError UnicodeDecodeError UnicodeEncodeError OSError FileNotFoundError FileExistsError PermissionError "
    "IsADirectoryError NotADirectoryError TimeoutError ConnectionError ConnectionRefusedError ConnectionResetError "
    "BrokenPipeError BlockingIOError InterruptedError NotImplementedError"
)
KINDS = frozenset(_KIND_WORDS.split())


def kind_of(error: BaseException) -> str:
    """The ML name of an error's kind."""
    if isinstance(error, MLError):
        return error.kind
    for ancestor in type(error).__mro__:
        if ancestor.__name__ in KINDS:
            return ancestor.__name__
    return "RuntimeError"


# Texts that a later host words in another way: programs see those of CPython 3.12 on every version.
_OLDER_TEXTS = {"float modulo by zero": "float modulo"}


def text_of(error: BaseException) -> str:
    """The text of an error, as `str(e)` gives it."""
    try:
        text = str(error)
        return _OLDER_TEXTS.get(text, text)
    except Exception:  # noqa: BLE001  a text that cannot be made must not hide the error
        return kind_of(error)


def described(error: BaseException) -> tuple[str, str]:
    """Kind and text of an error as ML shows them: the call of an entry that is no function has its own text."""
    kind, text = kind_of(error), text_of(error)
    if kind == "KeyError" and error.args and type(error.args[0]) is slice:
        return "TypeError", "unhashable type: 'slice'"  # as before CPython 3.12
    if kind == "TypeError" and text.endswith(_NOT_CALLABLE):
        from launcher.runtime.calls import called_property

        name = called_property(error.__traceback__)
        if name:
            given = text.removesuffix(_NOT_CALLABLE).strip("'")
            return "AttributeError", f"Property {name!r} is not callable (got {given})"
    if kind == "NameError":
        text = text.replace("'v_", "'")  # variables of a session are globals with the generator's prefix
    return kind, text


_NOT_CALLABLE = " object is not callable"


def caught(error: BaseException) -> Caught | None:
    """What a handler binds for `error`; a thrown null is null, which has no fields to ask for."""
    if type(error) is UserError:
        if error.args[0] is None:
            return None
        return Caught("MLUserException", None, error.args[0])
    if type(error) is RethrownError:
        return error.first
    return _described(error)


def _described(error: BaseException) -> Caught:
    kind, text = described(error)
    value: dict[str, Any] = {"message": text, "type": kind}
    if isinstance(error, CapabilityError):
        value |= {
            "capability": error.type,
            "operation": error.operation,
            "resource": error.resource,
            "hint": error.hint,
        }
    return Caught(kind, text, value)


def thrown(value: Any) -> MLError:
    """The exception for `throw value`. Raises TypeError where the reference does (a severity that is no string)."""
    if type(value) is Caught:
        return UserError(value.value) if value.kind == "MLUserException" else RethrownError(value)
    if type(value) is dict and "severity" in value and type(value["severity"]) is not str:
        raise TypeError(f"severity must be a string, not {type(value['severity']).__name__}")
    return UserError(value)
