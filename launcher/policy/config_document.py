"""`config.yaml`, read into a Config. Pure."""

from __future__ import annotations

import base64

from launcher.canonical import sha256_hex
from launcher.identity.jwt_settings import ALGORITHMS, Jwt
from launcher.policy import reading
from launcher.policy.config import ON_FAILURE, Config
from launcher.policy.document import Node, load
from launcher.policy.egress_document import read_egress
from launcher.policy.keychain_document import read_keychain
from launcher.policy.policy_document import read_limits
from launcher.policy.queue_document import read_queue
from launcher.policy.reading import refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_JWT_KEYS = ("algorithm", "key", "key_file", "issuer", "audience")
# Below 1000 are the host's own accounts, 65534 is nobody; above 2^31 some file systems and tools fail.
_LEAST_ID, _MOST_ID = 1000, (1 << 31) - 2
_NOBODY = 65534
_MOST_TENANTS = 1 << 24


def read_config(data: bytes, file: str) -> Config:
    """The configuration in `data`; one that holds nothing but comments means the defaults. Raises DocumentError."""
    if not _says_anything(data):
        return Config(digest=_digest(data))
    members = reading.mapping(load(data, file), "the configuration", KEYS)
    settings = Config(digest=_digest(data))
    for key, read in _READERS.items():
        if key in members:
            setattr(settings, key, read(members[key]))
    return settings


def _says_anything(data: bytes) -> bool:
    return any(line.strip() and not line.strip().startswith(b"#") for line in data.splitlines())


def _digest(data: bytes) -> str:
    return "sha256:" + sha256_hex(data)


def _id_range(node: Node) -> tuple[int, int]:
    members = reading.mapping(node, "id_range", ("first", "count"))
    for key in ("first", "count"):
        if key not in members:
            refuse(node.place, f"id_range has no {key}", "write {first: 1900000000, count: 65536}")
    first = reading.integer(members["first"], "first", _LEAST_ID, _MOST_ID)
    count = reading.integer(members["count"], "count", 1, _MOST_TENANTS)
    if first + count - 1 > _MOST_ID:
        refuse(members["count"].place, f"the range ends above {_MOST_ID}")
    if first <= _NOBODY < first + count:
        refuse(members["first"].place, f"the range holds {_NOBODY}, which is nobody, whom many services share")
    return first, count


def _jwt(node: Node) -> Jwt:
    members = reading.mapping(node, "jwt", _JWT_KEYS)
    if "algorithm" not in members:
        refuse(node.place, "jwt has no algorithm", f"one of: {' '.join(ALGORITHMS)}")
    if ("key" in members) == ("key_file" in members):
        refuse(node.place, "jwt needs either key or key_file", "key_file: /etc/mlsandbox/jwt.key")
    algorithm = reading.word(members["algorithm"], "algorithm", ALGORITHMS)
    if algorithm == "HS256" and "key" in members:
        refuse(
            members["key"].place, "a secret does not belong into the configuration", "put it into a 0600 file: key_file"
        )
    values = {key: reading.text(members[key], key) for key in _JWT_KEYS if key in members}
    if "key_file" in members and not values["key_file"].startswith("/"):
        refuse(members["key_file"].place, "key_file must be an absolute path")
    if "key" in members:
        _check_pem(members["key"], values["key"])
    values.pop("algorithm")
    return Jwt(algorithm, **values)


def _check_pem(node: Node, key: str) -> None:
    if "PRIVATE KEY" in key:
        refuse(node.place, "this is a private key", "give the public key; who verifies need not sign")
    body = "".join(line for line in key.strip().splitlines() if not line.startswith("-----"))
    try:
        good = key.strip().startswith("-----BEGIN") and bool(base64.b64decode(body, validate=True))
    except ValueError:
        good = False
    if not good:
        refuse(node.place, "key is not a public key in PEM", "write it as a block: key: |")


def _audit(node: Node) -> dict[str, str]:
    members = reading.mapping(node, "audit", ("path", "on_failure"))
    found: dict[str, str] = {}
    if "path" in members:
        found["path"] = reading.line(members["path"], "path")
        if not found["path"].startswith("/"):
            refuse(members["path"].place, "the audit path must be absolute")
    if "on_failure" in members:
        found["on_failure"] = reading.word(members["on_failure"], "on_failure", ON_FAILURE)
    return found


# Key, which is the attribute of Config too -> what reads its value.
_READERS: dict[str, Callable[[Node], Any]] = {
    "operators": lambda node: reading.line(node, "operators"),
    "id_range": _id_range,
    "jwt": _jwt,
    "audit": _audit,
    "limits": read_limits,
    "disabled_users": lambda node: reading.texts(node, "disabled_users"),
    "egress": read_egress,
    "queue": read_queue,
    "keychain": read_keychain,
}
KEYS = tuple(_READERS)
