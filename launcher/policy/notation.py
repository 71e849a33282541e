"""The three notations of a policy, read into one model: grants and denies.

    document     file: [{patterns: [...], operations: [read]}]          cmd: ["git:*"]      js: true
    strings      "file.read:/data/**"   "!file.read:/data/secret/*"     "network.https"     "sh"
    map          {js: true, cmd: ["git:*"], network: {domains: [...]}, filesystem: {read: [...], write: [...]}}

`capabilities` takes documents and strings, `allow` and `deny` take all three. Allow is read narrowly and deny
broadly: a deny has no constraints (a deny that holds only until a date, or up to a size, would not be one).
"""

from __future__ import annotations

from launcher.capability import kinds
from launcher.capability.grant import Grant, Place
from launcher.capability.kinds import KINDS
from launcher.policy import reading
from launcher.policy.constraints import READERS, check_together
from launcher.policy.document import BOOLEAN, LIST, MAP, TEXT, Node
from launcher.policy.patterns import WHOLE, check_command, check_pattern
from launcher.policy.presets import PRESETS
from launcher.policy.reading import refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from launcher.capability.grant import type_pattern

# What the list of patterns is called in the document notation.
PATTERN_KEYS = {kinds.HOST: "hosts", kinds.URL: "connections"}
# The map notation's other words for types, and its word for a list of hosts.
ALIASES = {"filesystem": "file"}
DOMAINS = "domains"
_WEB = ("http", "https")
# A bare name is all of it; tcp must name its ports, so all of them are named.
_BARE_CONSTRAINTS: dict[str, dict[str, Any]] = {"network": {"ports": ["1-65535"]}}
# The job's own loopback is one thing: nothing to list.
_LOOPBACK = ("loopback",)


def pattern_key(kind: str) -> str:
    """The key under which the document notation lists the patterns of a type."""
    return PATTERN_KEYS.get(KINDS[kind].pattern, "patterns")


class Rules:
    """The grants and denies read so far from one document, whose handle is `policy`."""

    __slots__ = ("_declaring", "denies", "grants", "policy")

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self._declaring = False
        self.grants: list[Grant] = []
        self.denies: list[Grant] = []

    def capabilities(self, node: Node) -> None:
        """The value of `capabilities:`. Raises DocumentError."""
        if node.kind == LIST:
            self._flat(node, deny=False)
            return
        for key, value in reading.mapping(node, "capabilities", (*KINDS, "allow", "deny")).items():
            if key in {"allow", "deny"}:
                self.map(value, deny=key == "deny")
            else:
                self._document(key, value, deny=False)

    def map(self, node: Node, *, deny: bool) -> None:
        """The value of `allow:` or `deny:`, in any of the notations. Raises DocumentError."""
        if node.kind == LIST:
            self._flat(node, deny=deny)
        elif deny and reading.is_true(node):
            for kind in KINDS:
                self._add_whole(kind, (), node.place, deny=True)
        else:
            what = "needs" if self._declaring else "deny" if deny else "allow"
            for key, value in reading.mapping(node, what, (*KINDS, *ALIASES)).items():
                self._map_member(ALIASES.get(key, key), value, deny=deny)

    def needs(self, node: Node) -> None:
        """The value of a manifest's `needs:`, in any of the notations, as `grants`. Raises DocumentError.

        A bare type or `true` is a boolean need, "some of it" (patterns `()`): within any grant of its type.
        """
        self._declaring = True
        self.map(node, deny=False)
        if self.denies:
            refuse(self.denies[0].place, "a declaration says what is needed; it denies nothing")

    def mean_danger(self, names: Sequence[str]) -> None:
        """The policy's `allow_danger`: each of its grants of files takes these entries of the danger list with it."""
        for grant in self.grants:
            if grant.type in {"file", "path"}:
                before = grant.constraints.get("allow_danger", [])
                grant.constraints["allow_danger"] = list(dict.fromkeys([*before, *names]))

    # -- strings ---------------------------------------------------------------------------------------------------

    def _flat(self, node: Node, *, deny: bool) -> None:
        for item in reading.items(node, "capabilities"):
            self._string(item, deny=deny)

    def _string(self, node: Node, *, deny: bool) -> None:
        """string = [ "!" ] type [ "." operation ] [ ":" pattern ]"""
        text = reading.text(node, "a capability")
        if text.startswith("!"):
            if deny:
                refuse(node.place, f"{text!r} denies what is denied already", "leave out the !")
            text, deny = text[1:], True
        head, colon, pattern = text.partition(":")
        word, dot, operation = head.partition(".")
        kind = ALIASES.get(word, word)
        if kind not in KINDS:
            reading.unknown(node.place, "capability", word, (*KINDS, *ALIASES))
        known = KINDS[kind].operations
        if dot and operation not in known:
            reading.unknown(node.place, f"operation of {kind}", operation, known)
        if not colon:
            self._add_whole(kind, (operation,) if dot else (), node.place, deny=deny, boolean=not dot)
            return
        if not dot and len(known) > 1:
            refuse(node.place, f"{text!r} does not say for which operation", f"write {kind}.{known[0]}:{pattern}")
        if not pattern:
            refuse(node.place, f"{text!r} has no pattern after the colon", f"a bare {head!r} means all of it")
        self._add(kind, (operation,) if dot else known, [(pattern, node.place)], {}, node.place, deny=deny)

    # -- the document ----------------------------------------------------------------------------------------------

    def _document(self, kind: str, node: Node, *, deny: bool) -> None:
        if node.kind == BOOLEAN:
            self._boolean(kind, node, deny=deny)
            return
        single = len(KINDS[kind].operations) == 1
        plain: list[Node] = []
        for item in reading.items(node, kind):
            if item.kind == MAP:
                self._block(kind, item, deny=deny)
            elif single:
                plain.append(item)
            else:
                hint = f"write {{{pattern_key(kind)}: [...], operations: [...]}}"
                refuse(item.place, f"an item of {kind} must be a mapping", hint)
        if plain:
            self._patterns(kind, KINDS[kind].operations, plain, node.place, deny=deny)

    def _boolean(self, kind: str, node: Node, *, deny: bool) -> None:
        if reading.is_true(node):
            self._add_whole(kind, (), node.place, deny=deny)
        elif deny:
            refuse(node.place, f"`{kind}: false` in a deny reads both ways", f"leave {kind} out, or write true")

    def _block(self, kind: str, node: Node, *, deny: bool) -> None:
        """One mapping: patterns, operations and constraints; or, for programs, a tool with its subcommands."""
        row = KINDS[kind]
        key = pattern_key(kind)
        if row.pattern in {kinds.COMMAND, kinds.PROGRAM} and key not in reading.mapping(node, kind):
            self._tool(kind, node, deny=deny)
            return
        single = len(row.operations) == 1
        members = reading.mapping(node, kind, (key, *(() if single else ("operations",)), *row.constraints))
        self._need(node, members, key, kind)
        operations = row.operations
        if not single:
            self._need(node, members, "operations", kind)
            operations = reading.words(members["operations"], f"operation of {kind}", row.operations)
        constraints = self._constraints(members, row.constraints, deny=deny)
        patterns = reading.items(members[key], key)
        self._patterns(kind, operations, patterns, node.place, constraints, deny=deny)

    def _need(self, node: Node, members: dict[str, Node], key: str, kind: str) -> None:
        if key not in members:
            refuse(node.place, f"this {kind} grant has no {key}", f"add `{key}: [...]`; what is absent is not granted")

    def _constraints(self, members: dict[str, Node], allowed: tuple[str, ...], *, deny: bool) -> dict[str, Any]:
        found = {name: members[name] for name in allowed if name in members}
        if deny and found:
            name, node = next(iter(found.items()))
            refuse(node.place, f"a deny takes no {name}", "deny wins always; write the constraint on the grant")
        return {name: READERS[name](node, name) for name, node in found.items()}

    def _tool(self, kind: str, node: Node, *, deny: bool) -> None:
        """tool = { PROGRAM: "*" | [ subcommand ... ], [ uses: [...] ], constraints }"""
        members = reading.mapping(node, kind)
        programs = [name for name in members if name not in KINDS[kind].constraints]
        if len(programs) != 1:
            refuse(
                node.place, f"a {kind} mapping names one program", 'write {git: "*", uses: [ssh]}, or {patterns: [...]}'
            )
        constraints = self._constraints(members, KINDS[kind].constraints, deny=deny)
        place = node.keys[programs[0]]
        patterns = [(text, place) for text in _subcommands(programs[0], members[programs[0]])]
        if patterns:  # none is nothing: `()` would be all of sh, and of any type in a deny
            self._add(kind, KINDS[kind].operations, patterns, constraints, node.place, deny=deny)

    def _patterns(
        self,
        kind: str,
        operations: tuple[str, ...],
        nodes: list[Node],
        place: Place,
        constraints: dict[str, Any] | None = None,
        *,
        deny: bool,
    ) -> None:
        patterns: list[tuple[type_pattern, Place]] = []
        for node in nodes:
            if node.kind == TEXT and str(node.value) in PRESETS and kind == "cmd":
                self._preset(str(node.value), node.place, constraints or {}, deny=deny)
            else:
                patterns.append((self._pattern(kind, node), node.place))
        if patterns:
            self._add(kind, operations, patterns, constraints or {}, place, deny=deny)

    def _pattern(self, kind: str, node: Node) -> type_pattern:
        if node.kind == LIST and KINDS[kind].pattern in {kinds.COMMAND, kinds.PROGRAM}:
            return reading.texts(node, "an exact command")
        text = reading.text(node, f"a pattern of {kind}")
        if kind == "cmd" and text.startswith("@") and "/" not in text:
            reading.unknown(node.place, "preset", text, PRESETS)
        return text

    def _preset(self, name: str, place: Place, constraints: dict[str, Any], *, deny: bool) -> None:
        programs, uses = PRESETS[name]
        merged = constraints if deny else {**constraints, "uses": [*constraints.get("uses", []), *uses]}
        self._add("cmd", KINDS["cmd"].operations, [(text, place) for text in programs], merged, place, deny=deny)

    # -- the map ---------------------------------------------------------------------------------------------------

    def _map_member(self, kind: str, node: Node, *, deny: bool) -> None:
        row = KINDS[kind]
        if node.kind == MAP and len(row.operations) > 1:
            self._by_operation(kind, node, deny=deny)
        elif node.kind == MAP and kind == "cmd":
            self._tools(node, deny=deny)
        elif node.kind == LIST and kind == "network" and all(item.kind == TEXT for item in reading.items(node, kind)):
            operations = row.operations if deny else _WEB
            self._patterns(kind, operations, reading.items(node, kind), node.place, deny=deny)
        else:
            self._document(kind, node, deny=deny)

    def _tools(self, node: Node, *, deny: bool) -> None:
        """{git: [status, log], make: "*"}: programs and their subcommands."""
        for program, value in node.members.items():
            place = node.keys[program]
            patterns = [(text, place) for text in _subcommands(program, value)]
            if patterns:
                self._add("cmd", KINDS["cmd"].operations, patterns, {}, place, deny=deny)

    def _by_operation(self, kind: str, node: Node, *, deny: bool) -> None:
        """{operation: patterns | true}, and for network {domains: hosts}."""
        row = KINDS[kind]
        known = (*row.operations, DOMAINS) if kind == "network" else row.operations
        for word, value in reading.mapping(node, kind, known).items():
            web = row.operations if deny else _WEB
            operations = web if word == DOMAINS else (word,)
            if value.kind == BOOLEAN:
                if reading.is_true(value):
                    self._add_whole(kind, operations, value.place, deny=deny)
                elif deny:
                    refuse(value.place, f"`{word}: false` in a deny reads both ways", "leave it out, or write true")
            else:
                self._patterns(kind, operations, reading.items(value, f"{kind}.{word}"), value.place, deny=deny)

    # -- into the model --------------------------------------------------------------------------------------------

    def _add_whole(
        self, kind: str, operations: tuple[str, ...], place: Place, *, deny: bool, boolean: bool = True
    ) -> None:
        """All of a type, or all of some of its operations. `boolean`: a declaration would mean some of it."""
        row = KINDS[kind]
        if self._declaring and boolean and not deny:
            self.grants.append(Grant(kind, operations or row.operations, (), {}, self.policy, place))
            return
        if deny:
            self.denies.append(Grant(kind, operations or row.operations, (), {}, self.policy, place))
            return
        if row.pattern not in WHOLE:
            refuse(place, f"{kind} cannot be granted without saying which", f"list them: `{pattern_key(kind)}: [...]`")
        constraints = {} if operations else _BARE_CONSTRAINTS.get(kind, {})
        whole = () if operations == _LOOPBACK else WHOLE[row.pattern]
        patterns: list[tuple[type_pattern, Place]] = [(text, place) for text in whole]
        self._add(kind, operations or row.operations, patterns, dict(constraints), place, deny=False)

    def _add(
        self,
        kind: str,
        operations: tuple[str, ...],
        patterns: list[Any],
        constraints: dict[str, Any],
        place: Place,
        *,
        deny: bool,
    ) -> None:
        texts: list[tuple[str, Place]] = []
        for pattern, where in patterns:
            if isinstance(pattern, str):
                check_pattern(kind, pattern, where)
                texts.append((pattern, where))
            else:
                check_command(pattern, where)
        if deny:
            rule = Grant(kind, operations, tuple([pattern for pattern, _ in patterns]), {}, self.policy, place)
            self.denies.append(rule)
            return
        check_together(kind, operations, texts, constraints)
        if operations:
            rule = Grant(kind, operations, tuple([pattern for pattern, _ in patterns]), constraints, self.policy, place)
            self.grants.append(rule)


def _subcommands(program: str, node: Node) -> list[str]:
    if node.kind == TEXT and node.value == "*":
        return [program]
    return [f"{program} {text}:*" for text in reading.texts(node, f"the subcommands of {program}")]
