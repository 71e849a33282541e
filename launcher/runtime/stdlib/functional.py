"""ML `functional`: functions as values, the function first and the array after it."""

from __future__ import annotations

from launcher.runtime.library import Function
from launcher.runtime.stdlib._declare import closure, module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Array = list[Any]
    Unary = Callable[[Any], Any]

# --- arrays ---------------------------------------------------------------------------------------------


def _map(f: Unary, a: Iterable[Any]) -> Array:
    return [f(x) for x in a]


def _filter(f: Unary, a: Iterable[Any]) -> Array:
    return [x for x in a if f(x)]


def _find(f: Unary, a: Iterable[Any]) -> object:
    for x in a:
        if f(x):
            return x
    return None


def _some(f: Unary, a: Iterable[Any]) -> bool:
    return any(f(x) for x in a)


def _every(f: Unary, a: Iterable[Any]) -> bool:
    return all(f(x) for x in a)


def _for_each(f: Unary, a: Iterable[Any]) -> None:
    for x in a:
        f(x)


def _reduce(f: Callable[[Any, Any], object], a: Iterable[Any], init: object = None) -> object:
    elements = iter(a)
    value = init
    if value is None:
        missing = object()
        value = next(elements, missing)
        if value is missing:
            raise TypeError("reduce() of empty iterable with no initial value")
    for x in elements:
        value = f(value, x)
    return value


def _zip(*arrays: Iterable[Any]) -> Array:
    return list(zip(*arrays, strict=False))


def _zip_with(f: Callable[[Any, Any], object], a: Iterable[Any], b: Iterable[Any]) -> Array:
    return [f(x, y) for x, y in zip(a, b, strict=False)]


def _take(n: int, a: Iterable[Any]) -> Array:
    return list(a)[:n]


def _drop(n: int, a: Iterable[Any]) -> Array:
    return list(a)[n:]


def _take_while(f: Unary, a: Iterable[Any]) -> Array:
    taken = []
    for x in a:
        if not f(x):
            break
        taken.append(x)
    return taken


def _flatten(a: Iterable[Any]) -> Array:
    flat: Array = []
    for x in a:
        if isinstance(x, list):
            flat.extend(x)
        else:
            flat.append(x)
    return flat


def _chunk(n: int, a: Iterable[Any]) -> Array:
    elements = list(a)
    return [elements[i : i + n] for i in range(0, len(elements), n)]


def _reverse(a: Iterable[Any]) -> Array:
    return list(a)[::-1]


def _unique(a: Iterable[Any]) -> Array:
    return list(dict.fromkeys(a))


def _partition(f: Unary, a: Iterable[Any]) -> Array:
    matching: Array = []
    rest: Array = []
    for x in a:
        (matching if f(x) else rest).append(x)
    return [matching, rest]


def _group_by(f: Unary, a: Iterable[Any]) -> dict[Any, Array]:
    groups: dict[Any, Array] = {}
    for x in a:
        groups.setdefault(f(x), []).append(x)
    return groups


def _times(n: int, f: Unary) -> Array:
    return [f(i) for i in range(n)]


def _range(*bounds: int) -> Array:
    return list(range(*bounds))


def _repeat(x: object, n: int) -> Array:
    return [x] * n


def _identity(x: object) -> object:
    return x


# --- functions out of functions -------------------------------------------------------------------------


def _chained(name: str, functions: Iterable[Unary], doc: str) -> Function:
    steps = tuple(functions)

    def run(x: Any) -> object:
        for step in steps:
            x = step(x)
        return x

    return closure(name, run, doc)


def _compose(*functions: Unary) -> Function:
    return _chained("functional.compose", functions[::-1], "the functions, right to left")


def _compose_all(functions: Array) -> Function:
    return _compose(*list(functions))  # the host names its own function where a star gets no array


def _pipe(*functions: Unary) -> Function:
    return _chained("functional.pipe", functions, "the functions, left to right")


def _pipe_all(functions: Array) -> Function:
    return _pipe(*list(functions))


def _arity(f: object) -> int:
    """How many arguments `f` takes without its defaults. ML functions are Python functions: their code says it."""
    code = f.call if isinstance(f, Function) else f
    counted = getattr(code, "__code__", None)
    if counted is None:
        raise TypeError("cannot tell how many arguments the function takes: give it as the second argument of curry")
    return int(counted.co_argcount) - len(getattr(code, "__defaults__", None) or ())


def _curry(f: Callable[..., object], arity: int | None = None) -> Function:
    wanted = _arity(f) if arity is None else arity

    def collect(*held: object) -> Function:
        def more(*arguments: object) -> object:
            together = held + arguments
            return f(*together[:wanted]) if len(together) >= wanted else collect(*together)

        return closure("functional.curry", more, "a function that takes its arguments in any grouping")

    return collect()


def _curry2(f: Callable[[Any, Any], object]) -> Function:
    def first(a: object) -> Function:
        def second(b: object) -> object:
            return f(a, b)

        return closure("functional.curry2", second, "the second argument of two")

    return closure("functional.curry2", first, "the first argument of two")


def _partial(f: Callable[..., object], *held: object) -> Function:
    def rest(*arguments: object) -> object:
        return f(*held, *arguments)

    return closure("functional.partial", rest, "a function with its first arguments filled in")


def _constant(x: object) -> Function:
    def same() -> object:
        return x

    return closure("functional.constant", same, "always the same value")


def _memoize(f: Callable[..., object]) -> Function:
    known: dict[tuple[object, ...], object] = {}

    def remembered(*arguments: object) -> object:
        if arguments not in known:
            known[arguments] = f(*arguments)
        return known[arguments]

    return closure("functional.memoize", remembered, "computed once for each list of arguments")


def _if_else(test: Unary, then: Unary, otherwise: Unary) -> Function:
    def chosen(x: object) -> object:
        return then(x) if test(x) else otherwise(x)

    return closure("functional.ifElse", chosen, "one of two functions")


def _cond(pairs: Array) -> Function:
    table = [(test, then) for test, then in pairs]

    def matching(x: object) -> object:
        for test, then in table:
            if test(x):
                return then(x)
        return None

    return closure("functional.cond", matching, "the function of the first test that holds")


def _juxt(functions: Array) -> Function:
    together = tuple(functions)

    def all_of(x: object) -> Array:
        return [f(x) for f in together]

    return closure("functional.juxt", all_of, "the results of several functions")


_T = "functional.transform"
_C = "functional.compose"

MODULE = module(
    "functional",
    "Functions as values: the function first, then the array.",
    (
        ("map", _map, _T, "map(f, a): f of each element"),
        ("filter", _filter, _T, "filter(f, a): the elements for which f holds"),
        ("find", _find, _T, "find(f, a): the first element for which f holds, or null"),
        ("some", _some, _T, "some(f, a): whether f holds for one"),
        ("every", _every, _T, "every(f, a): whether f holds for all"),
        ("forEach for_each", _for_each, _T, "forEach(f, a): calls f with each element"),
        ("reduce", _reduce, _T, "reduce(f, a[, init]): f(...f(f(init, a[0]), a[1])...)"),
        ("zip", _zip, _T, "zip(a, b, ...): tuples, as many as the shortest has"),
        ("zipWith", _zip_with, _T, "zipWith(f, a, b): f of each pair"),
        ("take", _take, _T, "take(n, a): the first n"),
        ("drop", _drop, _T, "drop(n, a): all but the first n"),
        ("takeWhile", _take_while, _T, "takeWhile(f, a): the elements before the first for which f fails"),
        ("flatten", _flatten, _T, "flatten(a): arrays inside opened by one level"),
        ("chunk", _chunk, _T, "chunk(n, a): arrays of n elements"),
        ("reverse", _reverse, _T, "reverse(a): the other way round"),
        ("unique", _unique, _T, "unique(a): the first of equal elements"),
        ("partition", _partition, _T, "partition(f, a): [those for which f holds, the rest]"),
        ("groupBy group_by", _group_by, _T, "groupBy(f, a): an object from f's results to arrays"),
        ("times", _times, _T, "times(n, f): [f(0), ..., f(n - 1)]"),
        ("range", _range, "", "range(a[, b[, step]]): an array of integers"),
        ("repeat", _repeat, "", "repeat(x, n): x, n times"),
        ("identity", _identity, "", "identity(x): x"),
        ("compose", _compose, _C, "compose(f, g, ...): right to left"),
        ("composeAll", _compose_all, _C, "composeAll([f, g, ...]): right to left"),
        ("pipe", _pipe, _C, "pipe(f, g, ...): left to right"),
        ("pipeAll", _pipe_all, _C, "pipeAll([f, g, ...]): left to right"),
        ("curry", _curry, _C, "curry(f[, arity]): takes its arguments in any grouping"),
        ("curry2", _curry2, _C, "curry2(f): takes two arguments one by one"),
        ("partial partial_apply", _partial, _C, "partial(f, ...): the first arguments filled in"),
        ("constant", _constant, _C, "constant(x): a function that gives x"),
        ("memoize", _memoize, _C, "memoize(f): computed once for each list of arguments"),
        ("ifElse", _if_else, _C, "ifElse(p, f, g): f where p holds, else g"),
        ("cond", _cond, _C, "cond([[p, f], ...]): the f of the first p that holds, else null"),
        ("juxt", _juxt, _C, "juxt([f, ...]): the results of all"),
    ),
)
