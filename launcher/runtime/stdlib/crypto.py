"""ML `crypto`: digests, message authentication codes and numbers from the kernel's generator."""

from __future__ import annotations

import os

from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    Text = str | bytes

# RFC 9562, appendix A: the name space of domain names.
DNS_NAMESPACE = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
# The other name spaces of that table, by the names people use.
NAMESPACES = {
    "dns": DNS_NAMESPACE,
    "url": "6ba7b811-9dad-11d1-80b4-00c04fd430c8",
    "oid": "6ba7b812-9dad-11d1-80b4-00c04fd430c8",
    "x500": "6ba7b814-9dad-11d1-80b4-00c04fd430c8",
}
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# More random bytes at once than a program can have use for; os.urandom would only exhaust memory.
MAX_RANDOM = 1 << 26


def _bytes(value: Text, what: str = "data") -> bytes:
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"{what} must be a string or bytes, not {type(value).__name__}")
    return value.encode() if isinstance(value, str) else value


def _hash(algorithm: str, data: bytes = b"") -> object:
    import hashlib

    if str(algorithm).lower().replace("-", "") not in _algorithms():
        raise ValueError(f"Unsupported hash algorithm: {algorithm}")
    return hashlib.new(str(algorithm).lower().replace("-", ""), data, usedforsecurity=False)


def _algorithms() -> frozenset[str]:
    """Those with a digest of a fixed size (not the shake family, whose hexdigest wants a length)."""
    return frozenset(("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s"))


def _digest(algorithm: str, data: Text, salt: Text) -> str:
    return str(_hash(algorithm, _bytes(salt, "salt") + _bytes(data)).hexdigest())  # type: ignore[attr-defined]


def _sha256(data: Text, salt: Text = "") -> str:
    return _digest("sha256", data, salt or "")


def _sha1(data: Text, salt: Text = "") -> str:
    return _digest("sha1", data, salt or "")


def _md5(data: Text, salt: Text = "") -> str:
    return _digest("md5", data, salt or "")


def _hmac(message: Text, key: Text, algorithm: str = "sha256") -> str:
    import hmac

    _hash(algorithm)
    name = algorithm.lower().replace("-", "")
    return hmac.new(_bytes(key, "key"), _bytes(message, "message"), name).hexdigest()


def _verify_hmac(message: Text, signature: str, key: Text, algorithm: str = "sha256") -> bool:
    return _compare_hash(_hmac(message, key, algorithm), signature)


def _compare_hash(a: str, b: str) -> bool:
    """In a time that does not depend on where the two differ."""
    from _operator import _compare_digest

    return _compare_digest(_bytes(a, "a"), _bytes(b, "b"))


def _hash_file(path: str, algorithm: str = "sha256") -> str:
    from launcher.runtime.stdlib.file import each_chunk

    digest = _hash(algorithm)
    for chunk in each_chunk(path):
        digest.update(chunk)  # type: ignore[attr-defined]
    return str(digest.hexdigest())  # type: ignore[attr-defined]


def _uuid_text(data: bytes, version: int) -> str:
    """RFC 9562 section 4: version and variant bits set in sixteen bytes, and written as 8-4-4-4-12 digits."""
    octets = bytearray(data[:16])
    octets[6] = octets[6] & 0x0F | version << 4
    octets[8] = octets[8] & 0x3F | 0x80
    digits = octets.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _uuid() -> str:
    return _uuid_text(os.urandom(16), 4)


def _uuid_from_string(s: str, namespace: str | None = None) -> str:
    from hashlib import sha1

    space = DNS_NAMESPACE if namespace is None else NAMESPACES.get(namespace.lower(), namespace)
    try:
        prefix = bytes.fromhex(space.replace("-", ""))
    except ValueError:
        prefix = b""
    if len(prefix) != 16:
        raise ValueError("badly formed hexadecimal UUID string")
    return _uuid_text(sha1(prefix + s.encode(), usedforsecurity=False).digest(), 5)


def _random_bytes(n: int) -> bytes:
    if n > MAX_RANDOM:
        raise ValueError(f"{n} random bytes are more than {MAX_RANDOM}")
    return os.urandom(n)


def _random_hex(n: int) -> str:
    return _random_bytes(n).hex()


def _below(n: int) -> int:
    """Uniform from 0 up to but not including `n`: draws of too many are thrown away."""
    bits = n.bit_length()
    size = (bits + 7) // 8
    while True:
        drawn = int.from_bytes(os.urandom(size), "big") >> (size * 8 - bits)
        if drawn < n:
            return drawn


def _random_string(n: int) -> str:
    if n > MAX_RANDOM:
        raise ValueError(f"{n} random characters are more than {MAX_RANDOM}")
    return "".join([ALPHABET[_below(len(ALPHABET))] for _ in range(n)])


def _random_int(low: int, high: int) -> int:
    if high < low:
        raise ValueError(f"empty range for random_int ({low}, {high})")
    return low + _below(high - low + 1)


def _random_float() -> float:
    return (int.from_bytes(os.urandom(7), "big") >> 3) * 2.0**-53


_H = "crypto.hash"
_R = "crypto.random"

MODULE = module(
    "crypto",
    "Digests, message authentication codes, unpredictable numbers.",
    (
        ("sha256", _sha256, _H, "sha256(s[, salt]): hexadecimal; the salt goes before s"),
        ("sha1", _sha1, _H, "sha1(s[, salt]): not for secrets"),
        ("md5", _md5, _H, "md5(s[, salt]): not for secrets"),
        ("hmac", _hmac, _H, "hmac(message, key[, algorithm])"),
        ("verify_hmac", _verify_hmac, _H, "verify_hmac(message, signature, key[, algorithm])"),
        ("compare_hash", _compare_hash, _H, "compare_hash(a, b): in constant time"),
        ("uuid_from_string", _uuid_from_string, _H, "uuid_from_string(s[, namespace]): version 5"),
        ("hash_file", _hash_file, f"{_H} file.read", "hash_file(p[, algorithm])"),
        ("uuid", _uuid, _R, "uuid(): version 4"),
        ("random_bytes", _random_bytes, _R, "random_bytes(n)"),
        ("random_hex", _random_hex, _R, "random_hex(n): 2n digits"),
        ("random_string", _random_string, _R, "random_string(n): letters and digits"),
        ("random_int", _random_int, _R, "random_int(low, high): both included"),
        ("random_float", _random_float, _R, "random_float(): from 0 up to but not including 1"),
    ),
)
