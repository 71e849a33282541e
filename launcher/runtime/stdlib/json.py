"""ML `json`: JSON text and values."""

from __future__ import annotations

from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Deeper text is refused by safeParse whatever the program asks for: below Python's recursion limit by far.
MAX_DEPTH = 100


def parse(text: str) -> Any:
    import json as host

    if type(text) is not str:
        raise TypeError(f"JSON parsing failed: expected a string, got {type(text).__name__}")
    try:
        return host.loads(text)
    except host.JSONDecodeError as error:
        raise ValueError(f"JSON parsing failed: {error}") from None


def _safe_parse(text: str, depth: int = MAX_DEPTH) -> Any:
    limit = min(depth, MAX_DEPTH)
    if type(text) is str and _nesting(text) > limit:
        raise ValueError(f"JSON parsing failed: nested deeper than {limit}")
    return parse(text)


def _nesting(text: str) -> int:
    """The deepest nesting of brackets outside strings, found without recursion."""
    deepest = depth = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _stringify(value: object) -> str:
    import json as host

    return host.dumps(value)


def _pretty_print(value: object, indent: int = 4) -> str:
    import json as host

    return host.dumps(value, indent=indent)


def _validate(text: str) -> bool:
    try:
        parse(text)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _is_object(x: object) -> bool:
    return isinstance(x, dict)


def _is_array(x: object) -> bool:
    return isinstance(x, list)


def _is_string(x: object) -> bool:
    return isinstance(x, str)


def _is_number(x: object) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def _is_boolean(x: object) -> bool:
    return isinstance(x, bool)


def _is_null(x: object) -> bool:
    return x is None


def _keys(o: object) -> list[Any]:
    return list(o) if isinstance(o, dict) else []


def _values(o: object) -> list[Any]:
    return list(o.values()) if isinstance(o, dict) else []


def _has_key(o: object, k: object) -> bool:
    return isinstance(o, dict) and k in o


def _get(o: object, k: object, default: object = None) -> object:
    return o.get(k, default) if isinstance(o, dict) else default


def _merge(a: object, b: object) -> dict[Any, Any]:
    return {**(a if isinstance(a, dict) else {}), **(b if isinstance(b, dict) else {})}


_P = "json.parse"
_S = "json.serialize"

MODULE = module(
    "json",
    "JSON text and values.",
    (
        ("parse", parse, _P, "parse(s): the value; raises `JSON parsing failed: ...`"),
        (
            "safeParse",
            _safe_parse,
            _P,
            "safeParse(s[, depth]): also raises when nested deeper than depth, at most 100",
        ),
        ("stringify", _stringify, _S, "stringify(x): one line of text"),
        ("prettyPrint", _pretty_print, _S, "prettyPrint(x[, indent]): a line an item"),
        ("validate", _validate, _P, "validate(s): whether s is JSON"),
        ("isObject", _is_object, "", "isObject(x)"),
        ("isArray", _is_array, "", "isArray(x)"),
        ("isString", _is_string, "", "isString(x)"),
        ("isNumber", _is_number, "", "isNumber(x): booleans are not numbers"),
        ("isBoolean", _is_boolean, "", "isBoolean(x)"),
        ("isNull", _is_null, "", "isNull(x)"),
        ("keys", _keys, "", "keys(o): an empty array for what is not an object"),
        ("values", _values, "", "values(o): an empty array for what is not an object"),
        ("hasKey", _has_key, "", "hasKey(o, k)"),
        ("get", _get, "", "get(o, k[, default]): the entry, or default"),
        ("merge", _merge, "", "merge(a, b): a new object; b wins"),
    ),
)
