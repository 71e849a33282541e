"""Laws of the permission algebra, on small alphabets where everything can be enumerated.

The oracle for matching is a translation to `re` that shares no code with the matcher; the oracle for containment is brute
force over all short paths.
"""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher import canonical
from launcher.capability import Grant, HostPattern, Limits, PathPattern, Permissions, Scope, canonical_path
from launcher.errors import DocumentError, UsageError

SCOPE = Scope("/home/user", "/w")
LETTERS = "ab.\n\u00e9\udcff"

SEGMENT = st.lists(
    st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[!a]", "[a-b.]", "\\*", "\u00e9"]), min_size=1, max_size=4
).map("".join)
PLAIN = SEGMENT.filter(lambda text: "**" not in text and text not in {".", ".."})
SEGMENTS = st.lists(st.one_of(PLAIN, PLAIN, st.just("**")), min_size=1, max_size=4)
PATTERN = SEGMENTS.map(lambda parts: "/" + "/".join(parts))
NAME = st.text(alphabet=LETTERS, min_size=1, max_size=4).filter(lambda name: name not in {".", ".."})
PATH = st.lists(NAME, max_size=4).map(lambda names: "/" + "/".join(names))

SHORT_NAMES = ["".join(letters) for size in (1, 2) for letters in itertools.product("ab*", repeat=size)] + [".a", "aab"]
SHORT_PATHS = ["/"] + [
    "/" + "/".join(names) for size in (1, 2, 3) for names in itertools.product(SHORT_NAMES[:8], repeat=size)
]


def as_regex(pattern: str) -> re.Pattern[str]:
    """The pattern as `re`, straight from the words of the design."""
    text = ""
    parts = pattern[1:].split("/")
    for at, part in enumerate(parts):
        if part == "**" and at == len(parts) - 1:
            text += "(?:/[^/]+)+"
        elif part == "**":
            text += "(?:/[^/]+)*"
        else:
            text += r"/(?!/|\Z)" + segment_regex(part)  # a name has at least one character
    return re.compile(text, re.DOTALL)


def segment_regex(part: str) -> str:
    pieces = re.findall(r"\\.|\[!?[^\]]+\]|.", part, re.DOTALL)
    return "".join(_PIECES.get(piece) or class_regex(piece) for piece in pieces)


_PIECES = {"*": "[^/]*", "?": "[^/]"}


def class_regex(piece: str) -> str:
    if piece.startswith("[!"):
        return "[^/" + piece[2:]
    if piece.startswith("["):
        return piece
    return re.escape(piece[-1])


def permissions(grants: list[str], denies: list[str] | None = None) -> Permissions:
    rules = [Grant("file", ("read",), (text,)) for text in grants]
    return Permissions(rules, [Grant("file", ("read",), (text,)) for text in denies or []], Limits(), SCOPE)


def contained(need: str, grants: list[str], denies: list[str] | None = None) -> bool:
    return not permissions(grants, denies).shortfalls([Grant("file", ("read",), (need,))])


def example_of(need: str, grants: list[str], denies: list[str]) -> str | None:
    found = permissions(grants, denies).shortfalls([Grant("file", ("read",), (need,))])
    return found[0].example if found else None


PATTERNS = st.lists(PATTERN, min_size=1, max_size=3)


@given(PATTERN, PATH)
@example("/**/a", "/a")
@example("/a/**", "/a")
@settings(max_examples=600, deadline=None)
def test_the_matcher_agrees_with_re(pattern: str, path: str) -> None:
    assert bool(PathPattern(pattern, SCOPE).matches(path)) is bool(as_regex(pattern).fullmatch(path))


@given(PATTERN)
@settings(max_examples=100, deadline=None)
def test_every_shape_agrees_with_re_on_short_paths(pattern: str) -> None:
    compiled, oracle = PathPattern(pattern, SCOPE), as_regex(pattern)
    for path in SHORT_PATHS:
        assert bool(compiled.matches(path)) is bool(oracle.fullmatch(path)), path


@given(PATTERN)
@settings(max_examples=60, deadline=None)
def test_could_match_below_is_exact_where_it_says_no(pattern: str) -> None:
    compiled = PathPattern(pattern, SCOPE)
    for directory in SHORT_PATHS[:80]:
        inside = directory if directory == "/" else directory + "/"
        if not compiled.could_match_below(directory):
            assert not any(compiled.matches(path) for path in SHORT_PATHS if path != "/" and path.startswith(inside))


@given(PATTERN)
@settings(max_examples=100, deadline=None)
def test_containment_is_reflexive(pattern: str) -> None:
    assert contained(pattern, [pattern])


CUT = st.tuples(st.integers(0, 5), st.sampled_from(["*", "**", "?", "[!a]", "a*"]))


def widened(pattern: str, cut: tuple[int, str]) -> str:
    """The pattern with one segment replaced, so that chains of containment are not rare."""
    parts = pattern[1:].split("/")
    parts[cut[0] % len(parts)] = cut[1]
    return "/" + "/".join(parts)


@given(PATTERN, CUT, CUT)
@settings(max_examples=200, deadline=None)
def test_containment_is_transitive(first: str, cut: tuple[int, str], other: tuple[int, str]) -> None:
    second = widened(first, cut)
    third = widened(second, other)
    if contained(first, [second]) and contained(second, [third]):
        assert contained(first, [third])


@given(PATTERN, PATTERNS, PATTERN)
@settings(max_examples=150, deadline=None)
def test_a_union_contains_what_its_parts_contain(need: str, grants: list[str], more: str) -> None:
    if contained(need, grants):
        assert contained(need, [*grants, more])
    assert contained(more, [*grants, more])


@given(PATTERN, PATTERNS, st.lists(PATTERN, max_size=2))
@settings(max_examples=250, deadline=None)
def test_contained_means_nothing_outside_and_an_example_is_one(need: str, grants: list[str], denies: list[str]) -> None:
    found = example_of(need, grants, denies)
    oracle, held = as_regex(need), permissions(grants, denies)
    if found is None:
        for path in SHORT_PATHS:
            if oracle.fullmatch(path):
                assert held.decide("file", "read", path), path
    else:
        assert oracle.fullmatch(found), found
        assert not held.decide("file", "read", found), found


@given(PATTERN, PATTERNS)
@settings(max_examples=100, deadline=None)
def test_an_example_is_a_shortest_one(need: str, grants: list[str]) -> None:
    found = example_of(need, grants, [])
    if found is not None:
        oracle, held = as_regex(need), permissions(grants)
        shorter = [path for path in SHORT_PATHS if len(path) < len(found) and oracle.fullmatch(path)]
        assert all(held.decide("file", "read", path) for path in shorter)


@given(PATTERNS, PATTERNS, PATH)
@settings(max_examples=300, deadline=None)
def test_deny_wins(grants: list[str], denies: list[str], path: str) -> None:
    denied = any(as_regex(text).fullmatch(path) for text in denies)
    granted = any(as_regex(text).fullmatch(path) for text in grants)
    assert bool(permissions(grants, denies).decide("file", "read", path)) is (granted and not denied)


@given(st.text(alphabet="ab./~@*\n\udcff\udcc3\udca9", max_size=12))
@settings(max_examples=400, deadline=None)
def test_canonical_path_is_idempotent(text: str) -> None:
    try:
        once = canonical_path(text, SCOPE)
    except UsageError:
        return
    assert canonical_path(once, SCOPE) == once
    assert once.startswith("/")
    assert once == "/" or not {"", ".", ".."} & set(once[1:].split("/"))


@given(st.text(max_size=30))
@settings(max_examples=400, deadline=None)
@pytest.mark.parametrize("parse", [lambda text: PathPattern(text, SCOPE), HostPattern], ids=["path", "host"])
def test_any_text_is_a_pattern_or_a_document_error(parse: object, text: str) -> None:
    assert callable(parse)
    try:
        parse(text)
    except DocumentError as error:
        assert error.message


ANYTHING = st.text(alphabet=st.characters(codec=None), max_size=30)
OF_EVERYTHING = Permissions(
    [
        Grant("file", ("read",), ("/**",)),
        Grant("network", ("https",), ("*.example.com", "10.0.0.0/8")),
        Grant("database", ("select",), ("postgresql://db/",)),
        Grant("cmd", ("execute",), ("*",)),
        Grant("env", ("read",), ("**",)),
    ],
    [Grant("cmd", ("execute",), ("/usr/bin/x*", "rm -rf"))],
    Limits(),
    SCOPE,
)


@given(ANYTHING, ANYTHING)
@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize(
    ("kind", "operation"),
    [("file", "read"), ("network", "https"), ("database", "select"), ("cmd", "execute"), ("env", "read")],
)
def test_no_resource_makes_a_decision_raise(kind: str, operation: str, text: str, more: str) -> None:
    for resource in (text, "postgresql://" + text, "/" + text, text + ".example.com"):
        OF_EVERYTHING.decide(kind, operation, resource, path=more, method=more)
    OF_EVERYTHING.decide("cmd", "execute", [text, more], file=more)


LABEL = st.text(alphabet="ab", min_size=1, max_size=2)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
HOST_PATTERN = st.one_of(
    HOST.map(lambda host: host + ".com"),
    HOST.map(lambda host: "*." + host + ".com"),
    st.tuples(LABEL, HOST).map(lambda pair: f"{pair[0]}.*.{pair[1]}.com"),
    st.just("*"),
)
ALL_HOSTS = [
    ".".join([*labels, "com"]) for size in (1, 2, 3) for labels in itertools.product(["a", "b", "ab", "c"], repeat=size)
]


@given(HOST_PATTERN, st.lists(HOST_PATTERN, min_size=1, max_size=3), st.lists(HOST_PATTERN, max_size=1))
@settings(max_examples=250, deadline=None)
def test_hosts_are_contained_exactly(need: str, grants: list[str], denies: list[str]) -> None:
    rules = [Grant("network", ("https",), (text,)) for text in grants]
    held = Permissions(rules, [Grant("network", ("https",), (text,)) for text in denies], Limits(), SCOPE)
    found = held.shortfalls([Grant("network", ("https",), (need,))])
    wanted = HostPattern(need)
    if found:
        assert wanted.matches(found[0].example, 443)
        assert not held.decide("network", "https", found[0].example, connect=True)
    else:
        assert all(held.decide("network", "https", host, connect=True) for host in ALL_HOSTS if wanted.matches(host))


WORD = st.sampled_from(["git", "push", "-f", "log", "env", "-C"])
COMMAND = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
COMMAND_PATTERN = st.one_of(COMMAND, COMMAND.map(lambda text: text + ":*"), st.just("*"))
ALL_COMMANDS = [
    list(words) for size in (1, 2, 3) for words in itertools.product(["git", "push", "-f", "env"], repeat=size)
]


@given(COMMAND_PATTERN, st.lists(COMMAND_PATTERN, min_size=1, max_size=2), st.lists(COMMAND_PATTERN, max_size=1))
@settings(max_examples=300, deadline=None)
def test_commands_are_contained_exactly(need: str, grants: list[str], denies: list[str]) -> None:
    rules = [Grant("cmd", ("execute",), (text,)) for text in grants]
    held = Permissions(rules, [Grant("cmd", ("execute",), (text,)) for text in denies], Limits(), SCOPE)
    wanted = Permissions([Grant("cmd", ("execute",), (need,))], [], Limits(), SCOPE)
    found = held.shortfalls([Grant("cmd", ("execute",), (need,))])
    if found:
        words = found[0].example.split(" ")
        assert wanted.decide("cmd", "execute", words)
        assert not held.decide("cmd", "execute", words)
    else:
        for words in ALL_COMMANDS:
            if wanted.decide("cmd", "execute", words):
                assert held.decide("cmd", "execute", words), words


VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(0, 10), st.text(max_size=3), st.lists(st.integers(), max_size=2)
)
GRANT = st.builds(
    lambda pattern, constraints, policy: Grant("file", ("read", "write"), (pattern,), constraints, policy),
    PATTERN,
    st.dictionaries(st.text(max_size=4), VALUE, max_size=3),
    st.text(max_size=4),
)


@given(st.lists(GRANT, max_size=3), st.lists(GRANT, max_size=2), st.integers(1, 1 << 40))
@settings(max_examples=100, deadline=None)
def test_permissions_survive_plain_data(grants: list[Grant], denies: list[Grant], memory: int) -> None:
    held = Permissions(grants, denies, Limits(max_memory=memory), SCOPE)
    again = Permissions.from_data(held.to_data())
    assert again == held
    assert again.digest == held.digest
    assert canonical.canonical_json(again.to_data()) == canonical.canonical_json(held.to_data())


LIMITS = st.builds(
    lambda memory, cpus: Limits(max_memory=memory, cpus=cpus),
    st.one_of(st.none(), st.integers(1, 9)),
    st.one_of(st.none(), st.integers(1, 9)),
)


@given(LIMITS, LIMITS, LIMITS)
@settings(max_examples=100, deadline=None)
def test_limits_only_tighten(a: Limits, b: Limits, c: Limits) -> None:
    assert a.merged(b) == b.merged(a)
    assert a.merged(b).merged(c) == a.merged(b.merged(c))
    assert a.merged(a) == a
    assert a.merged(Limits()) == a
