"""ML `csv`: comma separated values, as RFC 4180 with any delimiter. Everything read is a string."""

from __future__ import annotations

import _csv
from io import StringIO

from launcher.runtime.stdlib._declare import module
from launcher.runtime.stdlib.file import extend_bytes, read_bytes, write_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Rows = list[Any]


def _rows(content: str, delimiter: str) -> list[list[str]]:
    """All rows that are not blank."""
    try:
        return [row for row in _csv.reader(StringIO(content, newline=""), delimiter=delimiter) if row]
    except _csv.Error as error:
        raise ValueError(f"CSV parsing failed: {error}") from None


def _parse(content: str, delimiter: str, headers: bool) -> Rows:
    rows = _rows(content, delimiter)
    if not headers or not rows:
        return list(rows)
    # A short row lacks the last keys; a long one loses what has no name.
    return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]


def _render(data: Rows, delimiter: str, headers: bool) -> str:
    """Rows end in CR LF, null is empty, booleans are `True` and `False`."""
    out = StringIO(newline="")
    writer = _csv.writer(out, delimiter=delimiter)
    try:
        if data and isinstance(data[0], dict):
            names = list(data[0])
            if headers:
                writer.writerow(names)
            writer.writerows([_row_of(item, names) for item in data])
        else:
            writer.writerows([_row_of(item, None) for item in data])
    except _csv.Error as error:
        raise ValueError(f"CSV writing failed: {error}") from None
    return out.getvalue()


def _row_of(item: Any, names: list[str] | None) -> list[Any]:
    if isinstance(item, dict):
        if names is None:
            return list(item.values())
        extra = [name for name in item if name not in names]
        if extra:
            raise ValueError(f"dict contains fields not in fieldnames: {', '.join([repr(name) for name in extra])}")
        return [item.get(name, "") for name in names]
    if not isinstance(item, (list, tuple)):
        raise TypeError(f"a row must be an array or an object, not {type(item).__name__}")
    return list(item)


def _read(path: str, delimiter: str = ",", headers: bool = True, encoding: str = "utf-8") -> Rows:
    return _parse(read_bytes(path).decode(encoding), delimiter, headers)


def _write(path: str, data: Rows, delimiter: str = ",", headers: bool = True, encoding: str = "utf-8") -> None:
    write_bytes(path, _render(data, delimiter, headers).encode(encoding))


def _read_string(content: str, delimiter: str = ",", headers: bool = True) -> Rows:
    return _parse(content, delimiter, headers)


def _write_string(data: Rows, delimiter: str = ",", headers: bool = True) -> str:
    return _render(data, delimiter, headers)


def _count_rows(path: str, delimiter: str = ",", headers: bool = True, encoding: str = "utf-8") -> int:
    rows = _rows(read_bytes(path).decode(encoding), delimiter)
    return len(rows) - (1 if headers and rows else 0)


def _get_headers(path: str, delimiter: str = ",", encoding: str = "utf-8") -> list[str]:
    rows = _rows(read_bytes(path).decode(encoding), delimiter)
    return rows[0] if rows else []


def _append(path: str, row: Any, delimiter: str = ",", encoding: str = "utf-8") -> None:
    """One more row. An object's entries go under the header row that the file has."""
    content = read_bytes(path).decode(encoding) if isinstance(row, dict) else ""
    header = _rows(content, delimiter)[:1]
    values = _row_of(row, header[0] if header else None)
    extend_bytes(path, _render([values], delimiter, headers=False).encode(encoding))


_R = "file.read"
_W = "file.write"

MODULE = module(
    "csv",
    "Comma separated values.",
    (
        ("read", _read, _R, "read(p[, delimiter, headers, encoding]): objects by the header row, or arrays"),
        ("write", _write, _W, "write(p, data[, delimiter, headers, encoding])"),
        ("read_string", _read_string, "", "read_string(s[, delimiter, headers])"),
        ("write_string", _write_string, "", "write_string(data[, delimiter, headers])"),
        ("count_rows", _count_rows, _R, "count_rows(p[, delimiter, headers, encoding]): without the header row"),
        ("get_headers", _get_headers, _R, "get_headers(p[, delimiter, encoding])"),
        ("append", _append, "file.read file.write", "append(p, row[, delimiter, encoding])"),
    ),
)
