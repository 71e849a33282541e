"""Finite automata of patterns, over sets of code points. Nondeterministic: the search makes sets of states."""

from __future__ import annotations

from launcher.capability.glob import NAME_CHARACTERS, STAR, normal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.capability.glob import Interval, Item
    from launcher.capability.paths import Segment

    Charset = tuple[Interval, ...]

SLASH: Charset = ((0x2F, 0x2F),)
DOT: Charset = ((0x2E, 0x2E),)
ANY: Charset = normal([*NAME_CHARACTERS, (0x2F, 0x2F)])
# What a host label is made of, without the hyphen, which may not begin or end one.
LETTER: Charset = ((0x30, 0x39), (0x5F, 0x5F), (0x61, 0x7A))
HYPHEN: Charset = ((0x2D, 0x2D),)
LABEL: Charset = normal([*LETTER, *HYPHEN])


class Automaton:
    """States are numbers from 0, the start; edges carry sets of code points, `leaps` are taken without reading."""

    __slots__ = ("accepting", "edges", "leaps")

    def __init__(self) -> None:
        self.edges: list[list[tuple[Charset, int]]] = [[]]
        self.leaps: list[list[int]] = [[]]
        self.accepting: set[int] = set()

    def state(self) -> int:
        """A new state."""
        self.edges.append([])
        self.leaps.append([])
        return len(self.edges) - 1

    def step(self, source: int, charset: Charset, target: int | None = None) -> int:
        """An edge from `source`, to a new state when no target is given; the target."""
        if target is None:
            target = self.state()
        self.edges[source].append((charset, target))
        return target

    def leap(self, source: int, target: int) -> None:
        """An edge that reads nothing."""
        self.leaps[source].append(target)

    def text(self, source: int, text: str) -> int:
        """Reads exactly `text`; the state after it."""
        for char in text:
            source = self.step(source, ((ord(char), ord(char)),))
        return source

    def items(self, source: int, items: Sequence[Item]) -> int:
        """Reads one name that the items of a segment match; the state after it."""
        for item in items:
            if isinstance(item, str):
                source = self.text(source, item)
            elif item == STAR:
                source = self._repeat(source, NAME_CHARACTERS)
            else:
                source = self.step(source, item)
        return source

    def _repeat(self, source: int, charset: Charset) -> int:
        """Reads any run of `charset`. A state of its own, so that the loop belongs to nothing else."""
        state = self.state()
        self.leap(source, state)
        return self.step(state, charset, state)

    def segments(self, source: int, segments: Sequence[Segment], *, rooted: bool) -> int:
        """Reads names that the segments match, each behind a slash (the first too when `rooted`); the state after.

        It also accepts what is no canonical path (empty names); the domain of the search leaves that out.
        """
        slashed = not rooted
        last = len(segments) - 1
        for at, segment in enumerate(segments):
            if segment is not None:
                source = self.items(source if slashed else self.step(source, SLASH), segment)
                slashed = False
            elif at == last:
                source = self._repeat(source if slashed else self.step(source, SLASH), ANY)
            else:
                source = self._directories(source, slashed=slashed)
                slashed = True
        return source

    def _directories(self, source: int, *, slashed: bool) -> int:
        """Reads none or more directories and the slash behind them (and before them unless already read)."""
        after = self.state()
        if slashed:
            self.leap(source, after)
        else:
            self.step(source, SLASH, after)
        inside = self._repeat(source if slashed else self.step(source, SLASH), ANY)
        self.step(inside, SLASH, after)
        return after

    def closure(self, state: int) -> set[int]:
        """The state and all that is reached from it without reading."""
        found = {state}
        pending = [state]
        while pending:
            for target in self.leaps[pending.pop()]:
                if target not in found:
                    found.add(target)
                    pending.append(target)
        return found


def path_automaton(alternatives: Sequence[Sequence[Segment]]) -> Automaton:
    """The canonical paths that one of the segment lists matches, but for "/", which has no name (see `path_domain`)."""
    automaton = Automaton()
    for segments in filter(None, alternatives):
        start = automaton.state()
        automaton.leap(0, start)
        automaton.accepting.add(automaton.segments(start, segments, rooted=True))
    return automaton


def name_automaton(segments: Sequence[Segment]) -> Automaton:
    """The slashed names that the segments match."""
    automaton = Automaton()
    automaton.accepting.add(automaton.segments(0, segments, rooted=False))
    return automaton


def host_automaton(host: str, path: Sequence[Segment] | None) -> Automaton:
    """`HOST` and `HOST/PATH` texts: the canonical host pattern, then the path pattern, or any path when None."""
    automaton = Automaton()
    head, star, tail = host.partition("*")
    end = automaton.text(0, head)
    if star and not head:
        # `*.x` is x and all below: nothing, or any labels and a dot. `*` alone is any labels.
        before = automaton._repeat(end, normal([*LABEL, *DOT]))  # noqa: SLF001  it is of this module
        domain = automaton.step(before, DOT) if tail else before
        automaton.leap(end, domain)
        end = automaton.text(domain, tail[1:])
    elif star:
        label = automaton.step(end, LABEL)
        automaton.step(label, LABEL, label)
        end = automaton.text(label, tail)
    if path is None:
        automaton.accepting.add(end)
        end = automaton.step(end, SLASH)
        automaton.step(end, ANY, end)
    else:
        end = automaton.segments(end, path, rooted=True)
    automaton.accepting.add(end)
    return automaton


# --- domains: what a resource of a kind can be at all. Deterministic, so the search follows one state. ---------------


def path_domain() -> Automaton:
    """Canonical paths: names behind slashes, none empty, `.` or `..`. "/" is left to the caller: it is no name, and a
    wildcard, which is read as any run of characters here, would take it.
    """
    domain = Automaton()
    begin = domain.step(0, SLASH)
    name, one, two = domain.state(), domain.state(), domain.state()
    other = normal([interval for interval in NAME_CHARACTERS if interval != (1, 0x2E)] + [(1, 0x2D)])
    domain.step(begin, DOT, one)
    domain.step(begin, other, name)
    domain.step(one, DOT, two)
    for source in (one, two):
        domain.step(source, other, name)
    domain.step(two, DOT, name)
    domain.step(name, NAME_CHARACTERS, name)
    domain.step(name, SLASH, begin)
    domain.accepting = {name}
    return domain


def name_domain() -> Automaton:
    """Names between slashes, none empty."""
    domain = Automaton()
    name = domain.step(0, NAME_CHARACTERS)
    domain.step(name, NAME_CHARACTERS, name)
    domain.step(name, SLASH, 0)
    domain.accepting = {name}
    return domain


def host_domain() -> Automaton:
    """`HOST` or `HOST/PATH`: labels that neither begin nor end with a hyphen, then any path."""
    domain = Automaton()
    label = domain.step(0, LETTER)
    hyphen = domain.step(label, HYPHEN)
    domain.step(hyphen, HYPHEN, hyphen)
    for source in (label, hyphen):
        domain.step(source, LETTER, label)
    domain.step(label, DOT, 0)
    path = domain.step(label, SLASH)
    domain.step(path, ANY, path)
    domain.accepting = {label, path}
    return domain
