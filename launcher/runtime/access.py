"""Members of values: the only way from a value to anything inside it.

Every read, call or assignment of `value.name` that is not an entry of an object comes here. Each type has a table of
what ML may reach; there is no `getattr` on a name that the table does not hold.
"""

from __future__ import annotations

from types import FunctionType

from launcher.runtime.errors import Caught
from launcher.runtime.library import Function, Module, Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LIST = "append extend insert remove pop index count sort reverse clear copy"
_STRING = (
    "upper lower strip lstrip rstrip capitalize title swapcase replace split rsplit join startswith endswith find "
    "rfind index rindex count isdigit isalpha isalnum isspace istitle isupper islower center ljust rjust"
)
# Reachable on an object only once a key of it is not a string: before that, names are entries.
_DICT = "get keys values items pop popitem update clear setdefault"

METHODS: dict[type, frozenset[str]] = {
    list: frozenset(_LIST.split()),
    tuple: frozenset(("count", "index")),
    str: frozenset(_STRING.split()),
    dict: frozenset(_DICT.split()),
}
_HAS_LENGTH = (list, str)


def member(value: Any, name: str) -> Any:
    """`value.name` where it is not an entry of an object. Raises AttributeError."""
    if type(value) is dict:
        return _dict_member(value, name)
    if type(value) in _HAS_LENGTH and name == "length":
        return len(value)
    if type(value) is Caught:
        return _caught_member(value, name)
    found = _attribute(value, name)
    if found is _ABSENT:
        raise AttributeError(f"{type_name(value)!r} object has no accessible attribute {name!r}")
    return found


def method(value: Any, name: str) -> Callable[..., Any]:
    """The callable that `value.name(...)` calls. Raises AttributeError."""
    kind = type(value)
    if kind is dict:
        return _dict_method(value, name)
    allowed = METHODS.get(kind)
    if allowed is not None:
        if name in allowed:
            return getattr(value, name)  # type: ignore[no-any-return]
    elif isinstance(value, Object):
        attribute = value.methods.get(name)
        if attribute is not None:
            return getattr(value, attribute)  # type: ignore[no-any-return]
    elif isinstance(value, Module):
        return _module_function(value, name)
    elif kind is Caught and type(value.value) is dict:
        return _dict_method(value.value, name)
    raise AttributeError(f"{type_name(value)!r} object has no accessible method {name!r}")


def set_member(value: Any, name: str, new: Any) -> None:
    """`value.name = new` where `value` is no object. Raises AttributeError, but for caught objects."""
    if type(value) is Caught and type(value.value) is dict:
        value.value[name] = new
        return
    raise AttributeError(f"{type_name(value)!r} object has no attribute {name!r} that can be set")


def set_entry(value: Any, name: str, new: Any) -> None:
    """`value.name = new` on the checked path."""
    if type(value) is dict:
        value[name] = new
    else:
        set_member(value, name, new)


def array(value: Any) -> Any:
    """A value whose slice may be assigned. Raises TypeError for all but arrays, with the host's texts."""
    if type(value) is list:
        return value
    if type(value) is dict or (type(value) is Caught and type(value.value) is dict):
        raise TypeError("unhashable type: 'slice'")
    raise TypeError(f"{type_name(value)!r} object does not support item assignment")


def function_of(module: Module, name: str) -> Callable[..., Any]:
    """What a call of a module's member calls, found when the module is imported; an error waits for the call."""
    try:
        return _module_function(module, name)
    except AttributeError as error:
        return _raiser(error)


def _raiser(error: AttributeError) -> Callable[..., Any]:
    def refused(*_arguments: Any) -> Any:
        raise AttributeError(*error.args)

    return refused


def _module_function(module: Module, name: str) -> Callable[..., Any]:
    try:
        found = module.member(name)
    except KeyError:
        raise AttributeError(f"module {module.name!r} has no function {name!r}") from None
    if type(found) is Function:
        return found.call
    if type(found) is FunctionType:
        return found
    raise not_callable(name, found)


def not_callable(name: str, value: Any) -> AttributeError:
    """The error of calling a member that is no function."""
    return AttributeError(f"Property {name!r} is not callable (got {type_name(value)})")


def _dict_member(value: dict[Any, Any], name: str) -> Any:
    if name in value:
        return value[name]
    if _string_keyed(value):
        return None
    if name == "length":
        return len(value)
    if name in METHODS[dict]:
        return Function(name, _listing(getattr(value, name), name))
    raise AttributeError(f"'dict' object has no accessible attribute {name!r}")


def _dict_method(value: dict[Any, Any], name: str) -> Callable[..., Any]:
    if name in value:
        found = value[name]
        if not is_function(found):
            raise not_callable(name, found)
        return found  # type: ignore[no-any-return]
    if not _string_keyed(value) and name in METHODS[dict]:
        return _listing(getattr(value, name), name)
    raise AttributeError(f"ML object has no property {name!r}")


def _listing(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Views of the host are no ML values: hand out arrays."""
    if name in {"keys", "values", "items"}:
        return lambda *arguments: list(function(*arguments))
    return function


def _string_keyed(value: dict[Any, Any]) -> bool:
    return all(type(key) is str for key in value)


def _caught_member(value: Caught, name: str) -> Any:
    thrown = value.value
    if type(thrown) is dict and name in thrown:
        return thrown[name]
    if name in {"message", "type"}:
        return value.text if name == "message" else value.kind
    return None


class _Absent:
    """No such attribute."""


_ABSENT = _Absent()


def _attribute(value: Any, name: str) -> Any:
    """A property, a method as a function value, or a module's member; `_ABSENT` when there is none."""
    allowed = METHODS.get(type(value))
    if allowed is not None:
        if name not in allowed:
            return _ABSENT
        return Function(name, _listing(getattr(value, name), name))
    if isinstance(value, Object):
        if name in value.properties:
            return getattr(value, value.properties[name])
        if name in value.methods:
            return Function(name, getattr(value, value.methods[name]))
    if isinstance(value, Module):
        try:
            return value.member(name)
        except KeyError:
            return _ABSENT
    return _ABSENT


def has_attribute(value: Any, name: Any) -> bool:
    """The builtin `hasattr`: what the tables hold, never entries of an object."""
    return isinstance(name, str) and not name.startswith("_") and _attribute(value, name) is not _ABSENT


_NO_DEFAULT = _Absent()


def get_attribute(value: Any, name: Any, default: Any = _NO_DEFAULT) -> Any:
    """The builtin `getattr`: as `has_attribute`. Raises AttributeError without a default."""
    found = _attribute(value, name) if isinstance(name, str) and not name.startswith("_") else _ABSENT
    if found is not _ABSENT:
        return found
    if default is _NO_DEFAULT:
        raise AttributeError(f"{type_name(value)!r} object has no accessible attribute {name!r}")
    return default


def attribute_names(value: Any) -> list[str]:
    """The builtin `methods`: sorted names of what a value has."""
    if isinstance(value, Object):
        return sorted({*value.methods, *value.properties})
    if isinstance(value, Module):
        return sorted(name for name in value.members if not name.startswith("_"))
    return sorted(METHODS.get(type(value), ()))


def is_function(value: Any) -> bool:
    """Whether ML can call a value."""
    return type(value) is FunctionType or type(value) is Function


def type_name(value: Any) -> str:
    """The name of a value's type in error texts, which is the host's for the basic types."""
    if isinstance(value, Object):
        return value.kind or type(value).__name__
    return {Function: "function", Module: "module", Caught: "exception"}.get(type(value), type(value).__name__)
