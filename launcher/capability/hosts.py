"""Host patterns and the canonical form of a host (design section 5, "Hosts")."""

from __future__ import annotations

from launcher.capability.addresses import looks_numeric, parse_address, parse_block, show_address
from launcher.capability.glob import parse_segment
from launcher.capability.paths import Segments
from launcher.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from launcher.capability.addresses import Block
    from launcher.capability.paths import Segment

LABEL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
# RFC 1035: a label has at most 63 octets, a name 253 in text.
LONGEST_LABEL = 63
LONGEST_NAME = 253
# IDNA2003 and IDNA2008 disagree about these four: one name would be two hosts. The author must write the xn-- form.
_DEVIATIONS = "\u00df\u03c2\u200c\u200d"


def canonical_host(text: str) -> str:
    """Lower case, IDNA, no trailing dot, addresses in their canonical form without brackets. Raises DocumentError."""
    if len(text) > 4 * LONGEST_NAME:  # before IDNA, which is slow, has a look
        _refuse(text, "is longer than 253 characters")
    name = text[:-1] if text.endswith(".") and not text.endswith("..") else text
    if ":" in name:
        return _address(name[1:-1] if name[:1] == "[" and name[-1:] == "]" else name, text)
    name = name.lower() if name.isascii() else _to_ascii(name)
    if looks_numeric(name):
        return _address(name, text)
    for label in name.split("."):
        _check_label(label, text)
    if len(name) > LONGEST_NAME:
        _refuse(text, "is longer than 253 characters")
    return name


def _address(name: str, text: str) -> str:
    parsed = parse_address(name)
    if parsed is None:
        _refuse(
            text, "is not an address in canonical form", "resolvers disagree about other spellings; write 127.0.0.1"
        )
    return show_address(*parsed)


def _check_label(label: str, text: str) -> None:
    if not label:
        _refuse(text, "has an empty label")
    if len(label) > LONGEST_LABEL or label[0] == "-" or label[-1] == "-" or not LABEL_CHARACTERS.issuperset(label):
        _refuse(text, f"has a label that no host has: {label[:80]!r}", "letters, digits, `-` and `_`, at most 63")


def _to_ascii(name: str) -> str:
    """The ASCII form by label. `encodings.idna` costs milliseconds to import, so only here."""
    if any(char in name for char in _DEVIATIONS):
        _refuse(name, "has a letter on which the IDNA versions disagree", "write the xn-- form that you mean")
    from encodings.idna import ToASCII

    try:
        labels = [ToASCII(label).decode("ascii").lower() if label else "" for label in name.split(".")]
    except UnicodeError as error:
        _refuse(name, f"is not an internationalised name ({error})")
    # Letters that only look like a dot become one (U+2024): one label would turn into two, of another domain.
    if any("." in label for label in labels):
        _refuse(name, "holds a letter that turns into a dot", "write plain dots")
    return ".".join(labels)


class HostPattern:
    """One host pattern, then optionally `:port` and `/path`: a name, `*.name` (the domain and all below), one `*`
    label in the middle, `*` (every name), an address or a CIDR.

    `host` is canonical; `port` None where the grant's ports or the scheme's default apply; `path` "" for every path,
    else `paths` is its parsed form.
    `block` is the address range of a literal or CIDR, else None. Raises DocumentError.
    """

    __slots__ = ("_head", "_tail", "block", "host", "path", "paths", "port", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        _check_text(text)
        self.block: Block | None
        host, self.port, self.path = self._split(text)
        self.host = _canonical_pattern(host, text) if self.block is None else host
        self.paths = Segments(parse_url_path(self.path, text)) if self.path else None
        head, star, tail = self.host.partition("*")
        # A name that ends in the tail, and begins with the head, has one label between (`api.*.x`) or any (`*.x`).
        self._head, self._tail = (head, tail) if star else ("", "")

    def _split(self, text: str) -> tuple[str, int | None, str]:
        self.block = parse_block(text)
        if self.block is not None:
            return text, None, ""
        authority, slash, path = text.partition("/")
        host, port = _split_port(authority, text)
        self.block = parse_block(host)
        if self.block is not None:
            host = show_address(self.block[0], self.block[1])
        return host, port, slash + path

    def matches_host(self, host: str) -> bool:
        """Whether the canonical host is covered, whatever the port and path. Addresses match only literals, CIDRs."""
        if self.block is not None or ":" in host or looks_numeric(host):
            return self._matches_address(host)
        if not self._tail:
            return self.host in {"*", host}
        if not self._head:
            return host.endswith(self._tail) or host == self._tail[1:]
        middle = host[len(self._head) : len(host) - len(self._tail)]
        return bool(middle) and "." not in middle and host.startswith(self._head) and host.endswith(self._tail)

    def _matches_address(self, host: str) -> bool:
        parsed = parse_address(host)
        if self.block is None or parsed is None:
            return False
        return parsed[0] == self.block[0] and self.block[1] <= parsed[1] <= self.block[2]

    def matches(self, host: str, port: int | None = None) -> bool:
        """Whether host and port are covered, in any spelling of the host. A pattern without a port leaves the port to
        the grant; one with a port never matches an unknown one (None).
        """
        try:
            name = canonical_host(host)
        except DocumentError:
            return False
        return (self.port is None or self.port == port) and self.matches_host(name)

    def matches_path(self, path: str | None) -> bool:
        """Whether the URL path (normalised, without query) is covered; None is a path that nobody knows."""
        if self.paths is None:
            return True
        return path is not None and path.startswith("/") and self.paths.match(path[1:].split("/"))

    def __repr__(self) -> str:
        return f"HostPattern({self.text!r})"


def _check_text(text: str) -> None:
    authority = text.partition("://")[2].partition("/")[0] if "://" in text else text.partition("/")[0]
    if "@" in authority:
        _refuse(text, "holds user information", "write the host alone; credentials belong to `inject`")
    if "://" in text:
        _refuse(text, "holds a scheme", "the operation says it: network.https, network.http")
    if not text or not text.isprintable() or " " in text or "\\" in text:
        _refuse(text, "holds a character that is in no host")


def _split_port(authority: str, text: str) -> tuple[str, int | None]:
    host, separator, port = authority.rpartition(":")
    if not separator or authority.endswith("]"):
        return authority, None
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        _refuse(text, f"has no port {port[:20]!r}", "ports are 1 to 65535")
    return host, int(port)


def _canonical_pattern(host: str, text: str) -> str:
    """host = "*" | [ "*." ] name | label "." "*" "." name; one wildcard, a whole label, never the last."""
    if host.startswith("**."):
        host = host[1:]  # the same set: the domain and all below
    if "*" not in host:
        return canonical_host(host)
    if host == "*":
        return host
    labels = host.split(".")
    if labels.count("*") != 1 or host.count("*") != 1:
        _refuse(text, "has more than one wildcard, or part of a label as one", "`*` is a whole label, once")
    at = labels.index("*")
    if at == len(labels) - 1 or host.endswith("*."):
        _refuse(text, "ends in a wildcard", "name the domain: *.example.com")
    tail = canonical_host(".".join(labels[at + 1 :]))
    if looks_numeric(tail):
        _refuse(text, "puts a wildcard into an address", "write a CIDR: 10.0.0.0/8")
    head = canonical_host(".".join(labels[:at])) + "." if at else ""
    return f"{head}*.{tail}"


def parse_url_path(path: str, text: str) -> tuple[Segment, ...]:
    """url-path = { "/" ( "**" | segment ) }, matched against the normalised path of a request.

    An encoded dot, slash or backslash, `.`, `..`, a query or a fragment is an error: servers disagree about what such a
    path names. Raises DocumentError.
    """
    lowered = path.lower()
    if any(code in lowered for code in ("%2e", "%2f", "%5c", "%00", "#")):
        _refuse(text, "has an encoded dot, slash, backslash or NUL, or a fragment, in its path", "write the plain path")
    names = path[1:].split("/")
    if "." in names or ".." in names or "" in names[:-1]:
        _refuse(text, "has `.`, `..` or an empty segment in its path", "write the path without it")
    return tuple([None if name == "**" else parse_segment(name) for name in names])


def _refuse(text: str, what: str, hint: str = "") -> NoReturn:
    raise DocumentError(f"host {text[:300]!r} {what}", hint=hint)
