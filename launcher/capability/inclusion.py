"""Language inclusion with a shortest counter-example: breadth first over symbol classes, pruned by antichains.

The question is "is every word of the need covered by the grants, none of them denied?". One state of the need is
followed at a time against the set of rule states that the same word reaches; a pair that another pair makes redundant
(fewer grants reached, no fewer denies) is not followed. De Wulf, Doyen, Henzinger, Raskin: "Antichains", CAV 2006.
"""

from __future__ import annotations

from launcher.capability.glob import holds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.capability.automaton import Automaton, Charset

# What a rule does to a word that it accepts.
GRANT = "grant"  # covers it
VIEW_GRANT = "view grant"  # covers it when it is in the view: a pattern with a leading `**`
EXEMPT = "exempt"  # takes it out of the question: the base profile's view
VIEW_EXEMPT = "view exempt"
DENY = "deny"  # uncovers it
VIEW = "view"  # puts it in the view
ROLES = (GRANT, VIEW_GRANT, EXEMPT, VIEW_EXEMPT, DENY, VIEW)

# Deciding inclusion is PSPACE-complete: `*a????????????` has to remember which of the last letters was an `a`. What
# takes more work than this (set operations; about a second) is answered with "not contained", since a policy is
# written by one person and a need by another, who is the attacker. Real ones take thousands.
MOST_WORK = 1_000_000
# Which characters an example is made of, the most readable first.
READABLE = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_-.,+=@ "


class TooComplexError(Exception):
    """The comparison passed its bound: treat it as not contained."""


class Classes:
    """The code points in groups that no charset of the question tells apart, and a readable member of each."""

    __slots__ = ("_masks", "members")

    def __init__(self, charsets: set[Charset]) -> None:
        edges = {low for charset in charsets for low, _ in charset} | {
            high + 1 for charset in charsets for _, high in charset
        }
        groups: dict[tuple[Charset, ...], list[int]] = {}
        known = list(charsets)
        for low in sorted(edges):
            signature = tuple([charset for charset in known if holds(charset, low)])
            if signature:
                groups.setdefault(signature, []).append(low)
        # An elementary interval begins at `low`; which READABLE characters lie in it is asked of the charsets.
        readable: dict[tuple[Charset, ...], str] = {}
        for char in reversed(READABLE):
            readable[tuple([charset for charset in known if holds(charset, ord(char))])] = char
        named = [(readable.get(signature, chr(lows[0])), signature) for signature, lows in groups.items()]
        named.sort(key=lambda pair: (READABLE.find(pair[0]) % (len(READABLE) + 1), pair[0]))
        self.members = [char for char, _ in named]
        self._masks: dict[Charset, int] = dict.fromkeys(charsets, 0)
        for at, (_, signature) in enumerate(named):
            for charset in signature:
                self._masks[charset] |= 1 << at

    def mask(self, charset: Charset) -> int:
        """The classes inside the charset, one bit each."""
        return self._masks[charset]


class Rules:
    """All rules as one automaton whose sets of states are the bits of a number."""

    __slots__ = ("_after", "_classes", "_edges", "_memo", "_seen", "accepting", "start", "states", "work")

    def __init__(self, rules: list[tuple[Automaton, str]], classes: Classes) -> None:
        self._classes = classes
        self._edges: list[list[tuple[int, int]]] = []
        self._memo: dict[tuple[int, int], int] = {}
        self._seen: dict[int, set[int]] = {}
        self.start = 0
        self.work = 0
        self.accepting = dict.fromkeys(ROLES, 0)
        self.states = dict.fromkeys(ROLES, 0)
        for automaton, role in rules:
            self._add(automaton, role)

    def _add(self, automaton: Automaton, role: str) -> None:
        offset = len(self._edges)
        closed = [_bits(automaton.closure(state), offset) for state in range(len(automaton.edges))]
        for edges in automaton.edges:
            self._edges.append([(self._classes.mask(charset), closed[target]) for charset, target in edges])
        self.start |= closed[0]
        self.accepting[role] |= _bits(automaton.accepting, offset)
        self.states[role] |= ((1 << len(automaton.edges)) - 1) << offset

    def masks(self, states: int) -> set[int]:
        """The sets of symbols that the edges out of `states` tell apart."""
        found = self._seen.get(states)
        if found is None:
            found = set()
            rest = states
            self.work += states.bit_count()
            while rest:
                low = rest & -rest
                rest ^= low
                found.update([mask for mask, _ in self._edges[low.bit_length() - 1]])
            self._seen[states] = found
        return found

    def after(self, states: int, symbol: int) -> int:
        """The states reached from `states` by a character of class `symbol`."""
        key = (states, symbol)
        found = self._memo.get(key)
        if found is None:
            found = 0
            rest = states
            self.work += states.bit_count()
            while rest:
                low = rest & -rest
                rest ^= low
                for mask, targets in self._edges[low.bit_length() - 1]:
                    if mask >> symbol & 1:
                        found |= targets
            self._memo[key] = found
        return found

    def uncovered(self, states: int, *, in_view: bool) -> bool:
        """Whether a word of the need that reaches `states` is a counter-example. `in_view`: the need is of the view."""
        reached = {role for role, mask in self.accepting.items() if states & mask}
        if in_view and VIEW not in reached:
            return False
        viewed = VIEW in reached
        if EXEMPT in reached or (viewed and VIEW_EXEMPT in reached):
            return False
        return DENY in reached or not (GRANT in reached or (viewed and VIEW_GRANT in reached))


def _masked(automaton: Automaton, classes: Classes) -> list[list[tuple[int, set[int]]]]:
    """The edges of each state as masks of symbols and the states that they lead to."""
    return [
        [(classes.mask(charset), automaton.closure(target)) for charset, target in edges] for edges in automaton.edges
    ]


def _either(edges: list[tuple[int, set[int]]]) -> int:
    found = 0
    for mask, _ in edges:
        found |= mask
    return found


def _bits(states: set[int], offset: int) -> int:
    found = 0
    for state in states:
        found |= 1 << (state + offset)
    return found


def counterexample(
    need: Automaton, domain: Automaton, rules: list[tuple[Automaton, str]], *, in_view: bool = False
) -> str | None:
    """A shortest word of the need, inside the domain, that the rules do not cover; None when there is none.

    Raises TooComplexError when the bound is passed.
    """
    automata = [need, domain, *[automaton for automaton, _ in rules]]
    classes = Classes({charset for one in automata for edges in one.edges for charset, _ in edges})
    return _Search(need, domain, Rules(rules, classes), classes, in_view=in_view).run()


class _Search:
    """One breadth-first walk. A node is a state of the need, one of the domain, and a set of rule states."""

    __slots__ = (
        "_allowed",
        "_best",
        "_classes",
        "_domain",
        "_in_view",
        "_need",
        "_nodes",
        "_rules",
        "_view",
        "_wanted",
        "_worse",
    )

    def __init__(self, need: Automaton, domain: Automaton, rules: Rules, classes: Classes, *, in_view: bool) -> None:
        self._need = need
        self._domain = domain
        self._rules = rules
        self._classes = classes
        self._in_view = in_view
        self._wanted = _masked(need, classes)
        self._allowed = _masked(domain, classes)
        # More of these is worse for containment, of the others fewer. The view helps what is granted in it; but when
        # the need itself is of the view, a word outside is none of it.
        self._view = rules.states[VIEW] if in_view else 0
        self._worse = rules.states[DENY] | self._view
        self._best: dict[tuple[int, int], list[int]] = {}
        # (need state, domain state, rule states, parent node, symbol)
        self._nodes: list[tuple[int, int, int, int, int]] = []

    def run(self) -> str | None:
        for state in sorted(self._need.closure(0)):
            self._push(state, 0, self._rules.start, -1, -1)
        at = 0
        while at < len(self._nodes):
            state, place, reached, _, _ = self._nodes[at]
            if self._is_example(state, place, reached):
                return self._word(at)
            for symbol, targets, following in self._moves(state, place, reached):
                after = self._rules.after(reached, symbol)
                for target in targets:
                    self._push(target, following, after, at, symbol)
            if self._rules.work > MOST_WORK:
                raise TooComplexError
            at += 1
        return None

    def _is_example(self, state: int, place: int, reached: int) -> bool:
        if state not in self._need.accepting or place not in self._domain.accepting:
            return False
        return self._rules.uncovered(reached, in_view=self._in_view)

    def _moves(self, state: int, place: int, reached: int) -> list[tuple[int, set[int], int]]:
        """(symbol, need states, domain state), the most readable first: one symbol of each group that leads nowhere
        else than the others of its group, neither in the need nor in the domain nor in the rules.
        """
        edges, allowed = self._wanted[state], self._allowed[place]
        groups = [_either(edges) & _either(allowed)]
        for mask in {mask for mask, _ in edges} | {mask for mask, _ in allowed} | self._rules.masks(reached):
            groups = [part for group in groups for part in (group & mask, group & ~mask) if part]
        self._rules.work += len(groups)
        moves: list[tuple[int, set[int], int]] = []
        for symbol in sorted([(group & -group).bit_length() - 1 for group in groups if group]):
            targets = {one for mask, closed in edges if mask >> symbol & 1 for one in closed}
            following = next(target for mask, closed in allowed if mask >> symbol & 1 for target in closed)
            moves.append((symbol, targets, following))
        return moves

    def _push(self, state: int, place: int, reached: int, parent: int, symbol: int) -> None:
        if self._view and not reached & self._view:
            return  # no longer word of this beginning is in the view
        antichain = self._best.setdefault((state, place), [])
        self._rules.work += 3 + 2 * len(antichain)
        if any(self._subsumes(other, reached) for other in antichain):
            return
        antichain[:] = [other for other in antichain if not self._subsumes(reached, other)]
        antichain.append(reached)
        self._nodes.append((state, place, reached, parent, symbol))

    def _subsumes(self, worse: int, better: int) -> bool:
        """Whether every counter-example from `better` is one from `worse`."""
        return not worse & ~better & ~self._worse and not better & ~worse & self._worse

    def _word(self, at: int) -> str:
        letters: list[str] = []
        while at >= 0:
            _, _, _, parent, symbol = self._nodes[at]
            if symbol >= 0:
                letters.append(self._classes.members[symbol])
            at = parent
        return "".join(reversed(letters))
