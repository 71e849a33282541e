"""Text from outside, made harmless for a terminal and for a line-based reader.

A file name, a host or a policy text may carry escape sequences (OSC 52 writes the operator's clipboard,
CVE-2023-28101), line feeds that forge a second log line, or bidirectional marks that show `exe.txt` for `txt.exe`.
`str.isprintable` is false for exactly these: Cc, Cf, Cs (bytes that are not UTF-8), Co, Cn, Zl, Zp, and every blank
but the space.
"""

from __future__ import annotations

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


def printable(text: str, keep: str = "") -> str:
    r"""`text` with everything unprintable escaped; two different texts never look the same.

    A byte that is not UTF-8 (a lone surrogate) becomes `\xNN`, other characters `\xNN`, `\uNNNN` or `\UNNNNNNNN`, and
    a backslash becomes two. Characters in `keep` pass as they are.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join([char if char in keep else _escaped(char) for char in text])


def _escaped(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: PEP 383 carries byte NN as U+DCNN
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
