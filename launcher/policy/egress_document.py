"""`egress:` of the configuration: where secrets are, the way out, whom to trust, the proxy's limits. Pure.

The value is plain JSON: it names files, commands and keyring entries, never what is in them.
"""

from __future__ import annotations

from launcher.capability.hosts import HostPattern, canonical_host
from launcher.capability.limits import COUNT, SIZE, TIME, parse_quantity
from launcher.policy import reading
from launcher.policy.constraints import READERS
from launcher.policy.document import INTEGER, TEXT, Node
from launcher.policy.patterns import located
from launcher.policy.reading import refuse
from launcher.policy.secret_names import variable
from launcher.policy.secret_source import absolute, read_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEYS = ("secrets", "upstream_proxy", "no_proxy", "trust", "limits")
_RATE = "rate"
# Key -> field of launcher.egress.server.options.Limits, what it counts, least, most. A time of 0 would end what begins.
LIMITS: dict[str, tuple[str, str, int, int]] = {
    "connections": ("connections", COUNT, 1, 100_000),
    "connect_time": ("connect_time", TIME, 1, 3600),
    "hello_time": ("hello_time", TIME, 1, 3600),
    "head_time": ("head_time", TIME, 1, 3600),
    "keep_alive": ("keep_alive", TIME, 1, 86_400),
    "idle_time": ("idle_time", TIME, 1, 10**7),
    "total_time": ("total_time", TIME, 1, 10**7),
    "max_bytes": ("job_bytes", SIZE, 0, 1 << 62),
    "max_upload": ("job_upload", SIZE, 0, 1 << 62),
    "max_response": ("response_bytes", SIZE, 0, 1 << 62),
    "request_rate": ("request_rate", _RATE, 0, 0),
    "dns_rate": ("dns_rate", _RATE, 0, 0),
}
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_LONGEST_NAME = 64
_DEFAULT_PROXY_PORT = 3128  # squid's registered port, where people look for a proxy


def read_egress(node: Node) -> dict[str, Any]:
    """What is set, by key. Raises DocumentError."""
    members = reading.mapping(node, "egress", KEYS)
    readers = {
        "secrets": _secrets,
        "upstream_proxy": _proxy,
        "no_proxy": _no_proxy,
        "trust": lambda item: absolute(item, "trust"),
        "limits": _limits,
    }
    found: dict[str, Any] = {key: readers[key](members[key]) for key in members}
    credentials = found.get("upstream_proxy", {}).get("secret", "")
    if credentials and credentials not in found.get("secrets", {}):
        refuse(members["upstream_proxy"].place, f"there is no secret {credentials!r}", "name it under `secrets`")
    return found


def _secrets(node: Node) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, member in reading.mapping(node, "secrets").items():
        place = node.keys[name]
        if not name or not _NAME.issuperset(name) or len(name) > _LONGEST_NAME or not name[0].isalpha():
            refuse(place, f"{name!r} is no name for a secret", "letters, digits, _ - . and a letter first")
        twin = next((other for other in found if variable(other) == variable(name)), "")
        if twin:
            refuse(place, f"{name!r} and {twin!r} are the same variable in a job: {variable(name)}")
        found[name] = read_source(member, name)
    return found


def _proxy(node: Node) -> dict[str, Any]:
    """`http://HOST:PORT`, or {url: ..., secret: NAME} where the proxy asks for a name and a password."""
    members = {"url": node} if node.kind == TEXT else reading.mapping(node, "upstream_proxy", ("url", "secret"))
    if "url" not in members:
        refuse(node.place, "upstream_proxy needs a url", "url: http://proxy.example.com:3128")
    secret = reading.line(members["secret"], "secret") if "secret" in members else ""
    return {**_proxy_address(members["url"]), "secret": secret}


def _proxy_address(node: Node) -> dict[str, Any]:
    hint = "write http://proxy.example.com:3128; TLS to the proxy itself is not spoken"
    scheme, mark, rest = reading.line(node, "url").partition("://")
    if scheme.lower() != "http" or not mark:
        refuse(node.place, "the upstream proxy is reached over http", hint)
    if "@" in rest:
        refuse(node.place, "a password does not belong into the configuration", "put NAME:PASSWORD into a secret")
    located(lambda: HostPattern(rest.removesuffix("/")), node.place)
    pattern = HostPattern(rest.removesuffix("/"))
    if pattern.path or "*" in pattern.host or (pattern.block and pattern.block[1] != pattern.block[2]):
        refuse(node.place, f"{rest!r} is not HOST:PORT", hint)
    return {"host": pattern.host, "port": pattern.port or _DEFAULT_PROXY_PORT}


def _no_proxy(node: Node) -> list[str]:
    """Hosts, and domains with everything below them, that are reached without the upstream proxy."""
    found = []
    for item in reading.items(node, "no_proxy"):
        text = reading.line(item, "an item of no_proxy")
        found.append(_domain(text, item))
    return found


def _domain(text: str, node: Node) -> str:
    bare = text.removeprefix("*").removeprefix(".")
    located(lambda: canonical_host(bare), node.place)
    return canonical_host(bare)


def _limits(node: Node) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, member in reading.mapping(node, "egress.limits", LIMITS).items():
        field, unit, least, most = LIMITS[key]
        if unit == _RATE:
            rate = READERS["rate"](member, key)
            found[field] = rate["count"] / rate["seconds"]
            continue
        if member.kind not in {INTEGER, TEXT}:
            refuse(member.place, f"{key} must be a quantity")
        found[field] = parse_quantity(key, member.value, unit, member.place, least=least, most=most)
    return found
