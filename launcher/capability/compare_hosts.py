"""Hosts: by port and method first, then names by automata and addresses by ranges."""

from __future__ import annotations

from launcher.capability.addresses import show_address
from launcher.capability.automaton import host_automaton, host_domain
from launcher.capability.glob import complement, intersect, normal
from launcher.capability.inclusion import DENY, EXEMPT, GRANT, counterexample
from launcher.capability.kinds import BASE_PREFIX, DEFAULT_PORTS
from launcher.capability.ports import EVERY_PORT, port_ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.capability.automaton import Automaton
    from launcher.capability.containment import Question
    from launcher.capability.glob import Interval
    from launcher.capability.grant import Grant
    from launcher.capability.hosts import HostPattern

    Entry = tuple[HostPattern, Grant]
    # The grants and denies that hold for one range of ports and one method.
    Slice = tuple[list[Entry], list[Entry]]


def host_example(question: Question, need: HostPattern) -> str | None:
    """`HOST[:PORT][/PATH]` that the need covers and the grants do not, or None. Raises TooComplexError."""
    for port in _ports(question, need):
        for method in question.need.constraints.get("methods") or [""]:
            example = _example(question, need, _slice(question, port, str(method)))
            if example is not None:
                return _shown(example, port, question.operation)
    return None


def host_left(question: Question, pattern: HostPattern) -> bool:
    """Whether anything that the pattern covers is not denied on every port."""
    denies = [entry for entry in question.denies if entry[0].port is None and not entry[1].constraints]
    return _uncovered(pattern, [(deny, GRANT) for deny, _ in denies]) is not None


def _ports(question: Question, need: HostPattern) -> list[Interval | None]:
    """The need's ports in pieces that no rule tells apart; [None] when it takes whatever ports are granted (tcp)."""
    wanted = normal(port_ranges(need, question.need, question.operation))
    if not wanted:
        return [None]
    known = [port_ranges(pattern, grant, question.operation) for pattern, grant in question.grants]
    known += [port_ranges(pattern, deny, question.operation, broad=True) for pattern, deny in question.denies]
    cuts = {low for ranges in known for low, _ in ranges} | {high + 1 for ranges in known for _, high in ranges}
    pieces: list[Interval | None] = []
    for low, high in wanted:
        starts = sorted({low, *[cut for cut in cuts if low < cut <= high]})
        pieces += [(start, end - 1) for start, end in zip(starts, [*starts[1:], high + 1], strict=True)]
    return pieces


def _slice(question: Question, port: Interval | None, method: str) -> Slice:
    operation = question.operation
    grants = [
        (pattern, grant) for pattern, grant in question.grants if _spans(port_ranges(pattern, grant, operation), port)
    ]
    denies = [
        (pattern, deny)
        for pattern, deny in question.denies
        if _spans(port_ranges(pattern, deny, operation, broad=True), port or EVERY_PORT[0])
        and _bars(deny.constraints.get("methods"), method)
    ]
    return grants, denies


def _spans(ranges: Sequence[Interval], port: Interval | None) -> bool:
    """Whether all of the piece is in the ranges; a need that takes whatever is granted is in any."""
    if port is None:
        return bool(ranges)
    return any(low <= port[0] and port[1] <= high for low, high in normal(tuple(ranges)))


def _bars(methods: list[str] | None, method: str) -> bool:
    """Whether a deny on methods meets the need; one that names no method takes what the denies leave."""
    return methods is None or method.upper() in [str(name).upper() for name in methods]


def _example(question: Question, need: HostPattern, rules: Slice) -> str | None:
    grants, denies = rules
    roles = [(pattern, EXEMPT if grant.policy.startswith(BASE_PREFIX) else GRANT) for pattern, grant in grants]
    if question.whole_deny:
        return _uncovered(need, [entry for entry in roles if entry[1] == EXEMPT])
    return _uncovered(need, roles + [(pattern, DENY) for pattern, _ in denies])


def _uncovered(need: HostPattern, rules: list[tuple[HostPattern, str]]) -> str | None:
    if need.block is not None:
        return _address_example(need, rules)
    names = [(_automaton(pattern), role) for pattern, role in rules if pattern.block is None]
    return counterexample(_automaton(need), host_domain(), names)


def _automaton(pattern: HostPattern) -> Automaton:
    return host_automaton(pattern.host, pattern.paths.segments if pattern.paths else None)


def _address_example(need: HostPattern, rules: list[tuple[HostPattern, str]]) -> str | None:
    """An address of the need that is in no grant, or in a deny. Paths on addresses only match the same text."""
    bits, first, last = need.block or (0, 0, 0)
    ranges: dict[str, list[Interval]] = {GRANT: [], EXEMPT: [], DENY: []}
    for pattern, role in rules:
        if pattern.block is not None and pattern.block[0] == bits and pattern.path in {"", need.path}:
            ranges[role].append(pattern.block[1:])
    top = (1 << bits) - 1
    open_to = intersect(normal(ranges[GRANT]), complement(ranges[DENY], top))
    missing = intersect(complement([*open_to, *ranges[EXEMPT]], top), ((first, last),))
    return show_address(bits, missing[0][0]) + need.path if missing else None


def _shown(example: str, port: Interval | None, operation: str) -> str:
    host, slash, path = example.partition("/")
    if ":" in host:
        host = f"[{host}]"
    number = port[0] if port else None
    suffix = "" if number is None or number == DEFAULT_PORTS.get(operation) else f":{number}"
    return f"{host}{suffix}{slash}{path}"


def denies_example(pattern: HostPattern, example: str) -> bool:
    """Whether the pattern of a deny means the text that `host_example` gave."""
    authority, slash, path = example.partition("/")
    host, _, port = authority.rpartition(":")
    name = host if host and port.isdigit() else authority
    return pattern.matches_host(name.strip("[]")) and pattern.matches_path(slash + path or "/")
