"""ML `collections`: arrays, the array first and the function after it. Inputs are never changed."""

from __future__ import annotations

from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Array = list[Any]


def _length(a: Array) -> int:
    return len(a)


def _first(a: Array) -> object:
    return a[0] if a else None


def _last(a: Array) -> object:
    return a[-1] if a else None


def _get(a: Array, i: int) -> object:
    return a[i] if -len(a) <= i < len(a) else None


def _contains(a: Array, x: object) -> bool:
    return x in a


def _index_of(a: Array, x: object) -> int:
    try:
        return a.index(x)
    except ValueError:
        return -1


def _is_empty(a: Array) -> bool:
    return len(a) == 0


def _find(a: Array, f: Callable[[Any], object]) -> object:
    for x in a:
        if f(x):
            return x
    return None


def _every(a: Array, f: Callable[[Any], object]) -> bool:
    return all(f(x) for x in a)


def _some(a: Array, f: Callable[[Any], object]) -> bool:
    return any(f(x) for x in a)


def _append(a: Array, x: object) -> Array:
    return [*a, x]


def _prepend(a: Array, x: object) -> Array:
    return [x, *a]


def _concat(a: Array, b: Array) -> Array:
    return a + b


def _slice(a: Array, i: int, j: int | None = None) -> Array:
    return a[i:j]


def _take(a: Array, n: int) -> Array:
    return a[:n]


def _drop(a: Array, n: int) -> Array:
    return a[n:]


def _reverse(a: Array) -> Array:
    return a[::-1]


def _filter(a: Array, f: Callable[[Any], object]) -> Array:
    return [x for x in a if f(x)]


def _map(a: Array, f: Callable[[Any], object]) -> Array:
    return [f(x) for x in a]


def _reduce(a: Array, f: Callable[[Any, Any], object], init: object) -> object:
    value = init
    for x in a:
        value = f(value, x)
    return value


def _remove_at(a: Array, i: int) -> Array:
    return a[:i] + a[i + 1 :] if 0 <= i < len(a) else a


def _unique(a: Array) -> Array:
    """First of equals; arrays and objects have no hash and are compared one by one."""
    seen: set[object] = set()
    kept: Array = []
    unhashable: Array = []
    for x in a:
        try:
            if x in seen:
                continue
            seen.add(x)
        except TypeError:
            if x in unhashable:
                continue
            unhashable.append(x)
        kept.append(x)
    return kept


def _flatten(a: Array) -> Array:
    flat: Array = []
    for x in a:
        if isinstance(x, list):
            flat.extend(x)
        else:
            flat.append(x)
    return flat


def _zip(a: Array, b: Array) -> Array:
    return list(zip(a, b, strict=False))


def _sort(a: Array, reverse: bool = False) -> Array:
    return sorted(a, reverse=bool(reverse))


def _sort_by(a: Array, keyf: Callable[[Any], Any], reverse: bool = False) -> Array:
    return sorted(a, key=keyf, reverse=bool(reverse))


def _chunk(a: Array, n: int) -> Array:
    return [a[i : i + n] for i in range(0, len(a), n)] if n > 0 else []


_R = "collections.read"
_T = "collections.transform"

MODULE = module(
    "collections",
    "Arrays: the array first, then the function. Results are new arrays.",
    (
        ("length", _length, _R, "length(a): the number of elements"),
        ("first", _first, _R, "first(a): the first element, null if there is none"),
        ("last", _last, _R, "last(a): the last element, null if there is none"),
        ("get", _get, _R, "get(a, i): the element at i, null when out of range; negative counts from the end"),
        ("contains", _contains, _R, "contains(a, x): whether an element equals x"),
        ("indexOf index_of", _index_of, _R, "indexOf(a, x): the place of the first equal element, or -1"),
        ("isEmpty is_empty", _is_empty, _R, "isEmpty(a): whether there are no elements"),
        ("find", _find, _R, "find(a, f): the first element for which f holds, or null"),
        ("every", _every, _R, "every(a, f): whether f holds for all"),
        ("some", _some, _R, "some(a, f): whether f holds for one"),
        ("append", _append, _T, "append(a, x): with x at the end"),
        ("prepend", _prepend, _T, "prepend(a, x): with x at the start"),
        ("concat", _concat, _T, "concat(a, b): b after a"),
        ("slice", _slice, _T, "slice(a, i[, j]): the elements from i up to j"),
        ("take", _take, _T, "take(a, n): the first n"),
        ("drop", _drop, _T, "drop(a, n): all but the first n"),
        ("reverse", _reverse, _T, "reverse(a): the other way round"),
        ("filter", _filter, _T, "filter(a, f): the elements for which f holds"),
        ("map", _map, _T, "map(a, f): f of each element"),
        ("reduce", _reduce, _T, "reduce(a, f, init): f(...f(f(init, a[0]), a[1])...)"),
        ("removeAt remove_at", _remove_at, _T, "removeAt(a, i): without element i; the same array when out of range"),
        ("unique", _unique, _T, "unique(a): the first of equal elements"),
        ("flatten", _flatten, _T, "flatten(a): arrays inside opened by one level"),
        ("zip", _zip, _T, "zip(a, b): pairs, as many as the shorter has"),
        ("sort", _sort, _T, "sort(a[, reverse]): in order; stable"),
        ("sortBy", _sort_by, _T, "sortBy(a, keyf[, reverse]): in the order of keyf; stable"),
        ("chunk", _chunk, _T, "chunk(a, n): arrays of n elements; none for n <= 0"),
    ),
)
