"""ML `string`: text functions by name, beside the methods that strings have. Indices count code points."""

from __future__ import annotations

from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Text that a function makes longer on purpose (repeat, pad) stays below this many code points.
MAX_LENGTH = 100_000_000


def _text(value: object, place: str = "s") -> str:
    if not isinstance(value, str):
        raise TypeError(f"{place} must be a string, not {type(value).__name__}")
    return value


def _method(name: str) -> Callable[..., Any]:
    """`str.NAME` as a function: the string first, then the method's own arguments."""
    method = getattr(str, name)

    def call(s: str, *arguments: Any) -> Any:
        return method(_text(s), *arguments)

    return call


def _length(s: str) -> int:
    return len(_text(s))


def _split(s: str, separator: str | None = None, most: int = -1) -> list[str]:
    return _text(s).split(separator, most)


def _join(separator: Any, parts: Any) -> str:
    """`join(", ", parts)`, and with the array first too, as both orders are in use."""
    if isinstance(separator, list):
        separator, parts = parts, separator
    return _text(separator, "the separator").join([part if isinstance(part, str) else str(part) for part in parts])


def _contains(s: str, part: str) -> bool:
    return _text(part, "part") in _text(s)


def _replace(s: str, old: str, new: str, count: int = -1) -> str:
    return _text(s).replace(old, new, count)


def _replace_first(s: str, old: str, new: str) -> str:
    return _text(s).replace(old, new, 1)


def _substring(s: str, start: int, end: int | None = None) -> str:
    return _text(s)[start:end]


def _char_at(s: str, i: int) -> str:
    return _text(s)[i] if -len(s) <= i < len(s) else ""


def _code_at(s: str, i: int = 0) -> int | None:
    return ord(_text(s)[i]) if -len(s) <= i < len(s) else None


def _from_code(*codes: int) -> str:
    return "".join([chr(code) for code in codes])


def _chars(s: str) -> list[str]:
    return list(_text(s))


def _lines(s: str) -> list[str]:
    return _text(s).splitlines()


def _words(s: str) -> list[str]:
    return _text(s).split()


def _reverse(s: str) -> str:
    return _text(s)[::-1]


def _bounded(length: int) -> int:
    if length > MAX_LENGTH:
        raise ValueError(f"a string of {length} characters is more than {MAX_LENGTH}")
    return length


def _repeat(s: str, n: int) -> str:
    _bounded(len(_text(s)) * n)
    return s * n


def _pad_start(s: str, width: int, fill: str = " ") -> str:
    return _padding(s, width, fill) + s


def _pad_end(s: str, width: int, fill: str = " ") -> str:
    return s + _padding(s, width, fill)


def _pad_center(s: str, width: int, fill: str = " ") -> str:
    padding = _padding(s, width, fill)
    half = len(padding) // 2
    return padding[:half] + s + padding[half:]


def _padding(s: str, width: int, fill: str) -> str:
    if not _text(fill, "fill"):
        raise ValueError("fill must not be empty")
    missing = max(_bounded(width) - len(_text(s)), 0)
    return (fill * (missing // len(fill) + 1))[:missing]


def _is_empty(s: str) -> bool:
    return not _text(s)


def _is_blank(s: str) -> bool:
    return not _text(s).strip()


def _compare(a: str, b: str) -> int:
    return (_text(a, "a") > _text(b, "b")) - (a < b)


def _format(template: str, *values: Any) -> str:
    """`{}`, `{0}` and `{name}` filled in, `{{` and `}}` for braces.

    Never the host's `str.format`: its `{0.__class__}` walks from any value into the interpreter.
    """
    named = values[0] if values and isinstance(values[0], dict) else {}
    out: list[str] = []
    rest, used = _text(template, "the template"), 0
    while rest:
        text, brace, rest = _until_brace(rest)
        out.append(text)
        if brace == "{":
            field, closed, rest = rest.partition("}")
            if not closed:
                raise ValueError("a { is not closed in the template")
            out.append(str(_field(field.strip(), used, values, named)))
            used += field.strip() == ""
    return "".join(out)


def _until_brace(text: str) -> tuple[str, str, str]:
    """The text before the next field, the brace that opens it (or nothing), and what follows."""
    literal = ""
    while text:
        at = min([i for i in (text.find("{"), text.find("}")) if i >= 0], default=len(text))
        literal += text[:at]
        brace, text = text[at : at + 1], text[at + 1 :]
        if not brace or not text.startswith(brace):
            if brace == "}":
                raise ValueError("a } without { in the template: write }} for a brace")
            return literal, brace, text
        literal, text = literal + brace, text[1:]
    return literal, "", ""


def _field(field: str, used: int, values: tuple[Any, ...], named: dict[Any, Any]) -> object:
    if field == "" or field.isdecimal():
        index = int(field) if field else used
        if index >= len(values):
            raise IndexError(f"the template wants value {index}, there are {len(values)}")
        return values[index]
    if field not in named:
        raise KeyError(field)
    return named[field]


def _to_int(s: str, base: int = 10) -> int:
    return int(_text(s), base)


def _to_float(s: str) -> float:
    return float(_text(s))


def _word_parts(s: str) -> list[str]:
    """The words of an identifier in any style: `fooBar`, `foo_bar`, `foo-bar`, `foo bar`, `HTTPServer`."""
    spaced: list[str] = []
    text = _text(s)
    for i, c in enumerate(text):
        before, after = text[i - 1 : i], text[i + 1 : i + 2]
        if c.isupper() and (before.islower() or before.isdigit() or (before.isupper() and after.islower())):
            spaced.append(" ")
        spaced.append(c if c.isalnum() else " ")
    return "".join(spaced).split()


def _snake_case(s: str) -> str:
    return "_".join([word.lower() for word in _word_parts(s)])


def _kebab_case(s: str) -> str:
    return "-".join([word.lower() for word in _word_parts(s)])


def _pascal_case(s: str) -> str:
    return "".join([word.capitalize() for word in _word_parts(s)])


def _camel_case(s: str) -> str:
    pascal = _pascal_case(s)
    return pascal[:1].lower() + pascal[1:]


def _to_string(x: object) -> str:
    return ("true" if x else "false") if isinstance(x, bool) else str(x)


MODULE = module(
    "string",
    "Text: functions that take the string first.",
    (
        ("length", _length, "", "length(s): the number of characters"),
        ("upper toUpperCase", _method("upper"), "", "upper(s)"),
        ("lower toLowerCase", _method("lower"), "", "lower(s)"),
        ("capitalize", _method("capitalize"), "", "capitalize(s): the first letter large"),
        ("title", _method("title"), "", "title(s): each word's first letter large"),
        ("swapCase", _method("swapcase"), "", "swapCase(s)"),
        ("trim strip", _method("strip"), "", "trim(s[, chars]): without blanks at both ends"),
        ("trimStart lstrip", _method("lstrip"), "", "trimStart(s[, chars])"),
        ("trimEnd rstrip", _method("rstrip"), "", "trimEnd(s[, chars])"),
        ("startsWith starts_with", _method("startswith"), "", "startsWith(s, part)"),
        ("endsWith ends_with", _method("endswith"), "", "endsWith(s, part)"),
        ("indexOf index_of find", _method("find"), "", "indexOf(s, part[, from]): -1 if absent"),
        ("lastIndexOf last_index_of", _method("rfind"), "", "lastIndexOf(s, part): -1 if absent"),
        ("count", _method("count"), "", "count(s, part): how often"),
        ("contains includes", _contains, "", "contains(s, part)"),
        ("replace replaceAll", _replace, "", "replace(s, old, new[, count])"),
        ("replaceFirst replace_first", _replace_first, "", "replaceFirst(s, old, new)"),
        ("split", _split, "", "split(s[, separator, max]): at blanks by default"),
        ("join", _join, "", "join(separator, parts): parts as text"),
        ("lines", _lines, "", "lines(s): without line ends"),
        ("words", _words, "", "words(s)"),
        ("chars toChars to_chars", _chars, "", "chars(s): an array of characters"),
        ("substring slice", _substring, "", "substring(s, start[, end])"),
        ("charAt char_at", _char_at, "", "charAt(s, i): empty when out of range"),
        ("codeAt charCodeAt char_code", _code_at, "", "codeAt(s[, i]): the code point, null when out of range"),
        ("fromCode fromCharCode from_char_code", _from_code, "", "fromCode(n, ...): the characters"),
        ("reverse", _reverse, "", "reverse(s)"),
        ("repeat", _repeat, "", "repeat(s, n)"),
        ("padStart pad_left", _pad_start, "", "padStart(s, width[, fill])"),
        ("padEnd pad_right", _pad_end, "", "padEnd(s, width[, fill])"),
        ("padCenter pad_center", _pad_center, "", "padCenter(s, width[, fill])"),
        ("isEmpty is_empty", _is_empty, "", "isEmpty(s)"),
        ("isBlank is_blank", _is_blank, "", "isBlank(s): nothing but blanks"),
        ("isDigit is_numeric", _method("isdigit"), "", "isDigit(s): digits only"),
        ("isAlpha is_alpha", _method("isalpha"), "", "isAlpha(s): letters only"),
        ("isAlnum is_alphanumeric", _method("isalnum"), "", "isAlnum(s): letters and digits only"),
        ("isSpace", _method("isspace"), "", "isSpace(s): blanks only"),
        ("isUpper", _method("isupper"), "", "isUpper(s)"),
        ("isLower", _method("islower"), "", "isLower(s)"),
        ("compare", _compare, "", "compare(a, b): -1, 0 or 1 by code point"),
        ("format", _format, "", "format(template, ...): {} {0} {name}, {{ and }} for braces"),
        ("toInt to_int", _to_int, "", "toInt(s[, base])"),
        ("toFloat to_float", _to_float, "", "toFloat(s)"),
        ("toString to_string", _to_string, "", "toString(x): as str(x)"),
        ("camelCase camel_case", _camel_case, "", "camelCase(s)"),
        ("pascalCase pascal_case", _pascal_case, "", "pascalCase(s)"),
        ("snakeCase snake_case", _snake_case, "", "snakeCase(s)"),
        ("kebabCase kebab_case", _kebab_case, "", "kebabCase(s)"),
    ),
)
