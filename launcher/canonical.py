"""One byte form per value: canonical JSON, and its SHA-256 digest.

Canonical here means RFC 8785 restricted to what we use: objects with string keys sorted by code point, arrays,
strings, integers, booleans and null; no floats, no white space, everything outside printable ASCII escaped.
Lone surrogates (how Python carries file names that are not UTF-8) are escaped too, so any name has a form.
On the launch path: it must not import `json` or `hashlib` (8 ms and 4 ms).
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 12):  # asking for a module that is not there costs as much as one that is
    from _sha2 import sha256 as _sha256
else:
    from _sha256 import sha256 as _sha256


def canonical_json(value: object) -> bytes:
    """The canonical JSON of `value` as ASCII bytes. Raises TypeError for floats, bytes and other types."""
    return _text(value).encode("ascii")


def _text(value: object) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_text(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([_member(key, value[key]) for key in sorted(value)]) + "}"
    raise TypeError(f"no canonical JSON for {type(value).__name__}")


def _quote(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    from _json import encode_basestring_ascii  # a shared object: half a millisecond of a launch that can do without

    return str(encode_basestring_ascii(text))


def _member(key: object, value: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"object keys are strings, not {type(key).__name__}")
    return _quote(key) + ":" + _text(value)


def sha256_hex(data: bytes) -> str:
    """The SHA-256 of `data`, 64 lower-case hexadecimal digits."""
    return str(_sha256(data).hexdigest())


def digest(value: object) -> str:
    """`sha256:` and the SHA-256 of the canonical JSON of `value`, as OCI writes digests."""
    return "sha256:" + sha256_hex(canonical_json(value))
