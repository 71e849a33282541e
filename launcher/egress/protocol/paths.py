"""The path of a URL, in the one spelling that proxy and server read alike.

A raw path that a server may normalise is refused, not normalised: OpenShell #878 and #2699 matched one spelling and
forwarded another. Pattern matching itself is `launcher.capability`'s.
"""

from __future__ import annotations

import re

from launcher.egress.protocol.malformed import Malformed

MAX_TARGET = 16384  # what common servers accept (8 to 16 KiB) is enough for any client

_ALLOWED = re.compile(rb"[!-~]*")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_HEX = b"0123456789abcdefABCDEF"
_ENCODED = {b"2f": "encoded slash", b"5c": "encoded backslash", b"00": "encoded NUL"}
_UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query (with its `?`, or empty). Raises Malformed for what is not a path in canonical spelling."""
    if len(target) > MAX_TARGET:
        raise Malformed("target too long", 414)
    if not _ALLOWED.fullmatch(target):
        raise Malformed("raw non-ASCII" if max(target) > 0x7E else "control character in target")
    if b"#" in target:
        raise Malformed("fragment in request-target")
    path, mark, query = target.partition(b"?")
    return path, mark + query


def canonical_path(path: bytes) -> str:
    """The path with escapes of unreserved characters decoded. Raises Malformed for what servers read differently."""
    if not path.startswith(b"/"):
        raise Malformed("path does not start with a slash")
    if b"\\" in path:
        raise Malformed("backslash in path")
    decoded = _ESCAPE.sub(_decode, path)
    segments = decoded.split(b"/")[1:]
    for segment in segments:
        # Tomcat and others drop `;parameters` before they resolve dots, some after decoding.
        if segment.replace(b"%3B", b";").partition(b";")[0] in (b".", b".."):
            raise Malformed("dot segment")
    if b"" in segments[:-1]:
        raise Malformed("empty segment")
    return decoded.decode("ascii")


def _decode(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    if digits is None:
        raise Malformed("bad percent-encoding")
    if digits.lower() in _ENCODED:
        raise Malformed(_ENCODED[digits.lower()])
    value = bytes((int(digits, 16),))
    if value < b" " or value == b"\x7f":
        raise Malformed("encoded control character")
    if value in (b"\xc0", b"\xc1"):
        # Never valid in UTF-8: the overlong `%c0%ae` was a dot to IIS and others.
        raise Malformed("overlong encoding")
    if value == b"%":
        # %252e: a second decoding behind us would see a dot.
        raise Malformed("double encoding")
    return value if _UNRESERVED.fullmatch(value) else b"%" + digits.upper()
