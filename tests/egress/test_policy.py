"""launcher.egress.policy: verdicts against a plain reading of design section 5, and what is refused as a policy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.egress import interception
from launcher.egress.policy import Rules
from launcher.egress.ports import opened_ports, ports_in
from launcher.egress.protocol import addresses
from launcher.egress.protocol.authority import Host, parse_host
from launcher.errors import DocumentError
from tests.egress.fuzzing import fuzz
from tests.egress.world import database, grant

LABELS = ["a", "b", "api", "example", "com", "org"]
NAMES = st.lists(st.sampled_from(LABELS), min_size=2, max_size=4).map(".".join)
PATTERNS = st.one_of(
    NAMES,
    NAMES.map(lambda name: f"*.{name}"),
    st.tuples(st.sampled_from(LABELS), NAMES).map(lambda pair: f"{pair[0]}.*.{pair[1]}"),
)
OPERATIONS = st.lists(st.sampled_from(["http", "https", "tcp"]), min_size=1, max_size=3, unique=True)
GRANTS = st.builds(
    lambda patterns, operations, ports: (patterns, operations, ports),
    st.lists(PATTERNS, min_size=1, max_size=2),
    OPERATIONS,
    st.lists(st.sampled_from([80, 443, 8443]), min_size=1, max_size=2, unique=True),
)


def covers(pattern: str, name: str) -> bool:
    """The plain reading: `*.x` is x and all below, a star in the middle is one label."""
    if pattern.startswith("*."):
        return name == pattern[2:] or name.endswith(pattern[1:])
    if ".*." not in pattern:
        return pattern == name
    wanted, have = pattern.split("."), name.split(".")
    return len(wanted) == len(have) and all(w in ("*", h) for w, h in zip(wanted, have, strict=True))


@fuzz
@given(st.lists(GRANTS, max_size=3), st.lists(GRANTS, max_size=2), NAMES, st.sampled_from([80, 443, 8443, 22]))
def test_openings_are_what_is_written(allow: list[Any], deny: list[Any], name: str, port: int) -> None:
    rules = Rules(
        [grant(p, o, ports=ports) for p, o, ports in allow],
        [grant(p, o, ports=ports) for p, o, ports in deny],
    )
    host = parse_host(name.encode())
    allowed = {s for p, o, ports in allow for s in o if port in ports and any(covers(x, name) for x in p)}
    denied = {s for p, o, ports in deny for s in o if port in ports and any(covers(x, name) for x in p)}
    opening = rules.opening(host, port)
    assert opening.schemes == allowed - denied
    assert opening.verdict.allowed == bool(allowed - denied)
    for scheme in ("http", "https"):
        assert rules.request(scheme, host, port, "GET", "/").allowed == (scheme in allowed - denied)


@fuzz
@given(st.lists(GRANTS, max_size=3), NAMES)
def test_a_name_exists_where_something_is_open_and_only_there(allow: list[Any], name: str) -> None:
    rules = Rules([grant(p, o, ports=ports) for p, o, ports in allow])
    host = parse_host(name.encode())
    assert rules.resolves(host) == any(rules.opening(host, port).verdict.allowed for port in (80, 443, 8443))


def test_nothing_granted_is_nothing_allowed() -> None:
    rules = Rules([])
    assert not rules.opening(Host("a.example"), 443).verdict.allowed
    assert not rules.resolves(Host("a.example"))


def test_names_are_counted_below_wildcards_only() -> None:
    some = Rules([grant(["*.a.example", "b.a.example"])])
    assert some.by_wildcard(Host("x.a.example")) and not some.by_wildcard(Host("b.a.example"))
    assert not Rules([grant(["*"])]).by_wildcard(Host("x.a.example"))
    assert Rules([grant(["*"])]).opening(Host("x.a.example"), 443).verdict.allowed
    assert Rules([grant(["*"])]).opening(Host("8.8.8.8", "literal"), 443).verdict.reason == "ip literal not allowed"


def test_methods_and_paths() -> None:
    rules = Rules([grant(["api.example.com/v1/*"], ("http",), methods=["GET", "HEAD"])])
    host = Host("api.example.com")

    def reason(method: str, path: str) -> str:
        return rules.request("http", host, 80, method, path).reason

    assert reason("GET", "/v1/x") == ""
    assert reason("POST", "/v1/x") == "method not allowed"
    assert reason("GET", "/v1/x/y") == "path not allowed"
    assert reason("OPTIONS", "*") == "path not allowed"
    assert rules.request("http", host, 80, "GET", "/v2").missing == "network.http:api.example.com/v2"


def test_what_is_inside_tls_turns_interception_on() -> None:
    host = Host("api.example.com")
    for text, constraints in (
        ("api.example.com/v1/*", {}),
        ("api.example.com", {"methods": ["GET"]}),
        ("api.example.com", {"tls": "intercept"}),
    ):
        rules = Rules([grant([text], **constraints)])
        assert rules.intercepts and rules.intercepted(rules.opening(host, 443), host, 443)
    denied = Rules([grant(["api.example.com"])], [grant(["api.example.com/admin/**"])])
    assert denied.intercepts and denied.intercepted(denied.opening(host, 443), host, 443)
    assert not Rules([grant(["api.example.com"])]).intercepts


OPENED = st.builds(
    lambda text, operations, constraints: grant([text], operations, **constraints),
    st.sampled_from(["a.example", "a.example/v1/*", "*.a.example"]),
    st.lists(st.sampled_from(["http", "https"]), min_size=1, max_size=2, unique=True),
    st.sampled_from([{}, {"methods": ["GET"]}, {"tls": "intercept"}, {"ports": [443]}]),
)


@fuzz
@given(st.lists(OPENED, max_size=3), st.lists(OPENED, max_size=2))
def test_the_launcher_knows_before_the_proxy_whether_tls_is_opened(allow: list[Any], deny: list[Any]) -> None:
    assert interception.is_wanted(allow, deny) == Rules(allow, deny).intercepts


@pytest.mark.parametrize(
    ("texts", "operations", "constraints", "words"),
    [
        (["api.example.com/v1/*"], ["https"], {"tls": "tunnel"}, "tunnel"),
        (["api.example.com"], ["https"], {"tls": "tunnel", "methods": ["GET"]}, "tunnel"),
        (["api.example.com"], ["https"], {"tls": "mitm"}, "tls"),
        (["api.example.com"], ["http"], {"inject": {"header": "X", "secret": "s"}}, "https"),
        (["api.example.com"], ["https"], {"inject": {"header": "X"}}, "inject"),
        (["api.example.com"], ["tcp"], {}, "ports"),
        (["169.254.169.254"], ["http"], {}, "metadata"),
        (["foo.localhost"], ["http"], {}, "special-use"),
        (["api.example.com"], ["https"], {"allow_private": ["10.0.0.0/99"]}, "allow_private"),
    ],
)
def test_false_security_is_a_policy_error(
    texts: list[str], operations: list[str], constraints: dict[str, Any], words: str
) -> None:
    with pytest.raises(DocumentError, match=words) as caught:
        Rules([grant(texts, operations, **constraints)])
    assert caught.value.place == "policy.yaml:1:1"


# ---- addresses


def refusal(rules: Rules, host: str, address: str, *, own: bool = False) -> str:
    packed = addresses.parse(address)
    assert packed is not None
    opening = rules.opening(parse_host(host.encode()), 443)
    return Rules.address_refusal(opening.rules, packed, own=own)


def test_private_addresses_only_where_the_grant_says_so() -> None:
    plain = Rules([grant(["a.example"])])
    assert refusal(plain, "a.example", "8.8.8.8") == ""
    assert refusal(plain, "a.example", "10.1.2.3") == "private"
    assert refusal(plain, "a.example", "203.0.113.1") == "documentation"
    assert refusal(plain, "a.example", "8.8.8.8", own=True) == "self"
    some = Rules([grant(["a.example"], allow_private=["10.1.0.0/16"])])
    assert (refusal(some, "a.example", "10.1.2.3"), refusal(some, "a.example", "10.2.0.1")) == ("", "private")
    every = Rules([grant(["a.example"], allow_private=True)])
    assert refusal(every, "a.example", "fd00::7") == "" == refusal(every, "a.example", "100.64.0.1")
    for address, kind in (
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "metadata"),
        ("169.254.1.1", "link-local"),
        ("10.0.0.1", ""),
    ):
        assert refusal(every, "a.example", address) == kind
    assert refusal(every, "a.example", "10.0.0.1", own=True) == "self"


def test_metadata_only_one_address_at_a_time() -> None:
    wide = Rules([grant(["a.example"], allow_private=["169.254.0.0/16"])])
    assert refusal(wide, "a.example", "169.254.169.254") == "metadata"
    named = Rules([grant(["a.example"], allow_private=["169.254.169.254/32"])])
    assert refusal(named, "a.example", "169.254.169.254") == ""


def test_a_literal_that_is_written_is_meant() -> None:
    rules = Rules([grant(["10.0.0.5", "8.8.8.0/24", "0.0.0.0/0"])])
    assert refusal(rules, "10.0.0.5", "10.0.0.5") == "" == refusal(rules, "8.8.8.8", "8.8.8.8")
    assert refusal(Rules([grant(["0.0.0.0/0"])]), "10.0.0.5", "10.0.0.5") == "private"


# ---- databases and ports


def test_sessions() -> None:
    rules = Rules([database("postgresql://db.example/sales", "postgresql://ro@db.example/reports")])
    opened = rules.opening(Host("db.example"), 5432).of("postgresql")

    def allowed(user: str, name: str) -> bool:
        return rules.session(opened, user, name).allowed

    assert allowed("anyone", "sales") and allowed("ro", "reports")
    assert not allowed("rw", "reports") and not allowed("ro", "other") and not allowed("ro", "sales/../x")


def test_ports_for_the_listeners() -> None:
    grants = [
        grant(["a.example", "b.example:8443"], ("http", "https")),
        grant(["localhost:9000"], ("tcp",), allow_loopback=True),
        database("postgresql://db.example/x", "redis://cache.example:6400/", "sqlite:///x.db"),
    ]
    everywhere, local = opened_ports(grants)
    assert ports_in(everywhere, 100) == [80, 443, 5432, 6400, 8443, 9000] and ports_in(local, 100) == [9000]
    assert ports_in([(1, 65535)], 100) is None and ports_in([(1, 60), (30, 90)], 100) == list(range(1, 91))


def test_ranges_of_ports() -> None:
    rules = Rules(
        [grant(["a.example"], ("tcp",), ports=["8000-8010"])], [grant(["a.example"], ("tcp",), ports=["8000-8009"])]
    )
    host = Host("a.example")
    assert [port for port in range(7999, 8012) if rules.opening(host, port).verdict.allowed] == [8010]
    assert rules.resolves(host)
    whole = Rules([grant(["a.example"], ("tcp",), ports=["8000-8010"])], [grant(["a.example"], ("tcp",))])
    assert not whole.resolves(host)


def test_a_grant_ends_at_its_time() -> None:
    rules = Rules([grant(["a.example"], expires_at=1000), grant(["b.example"], expires_at=2000), grant(["c.example"])])
    assert rules.at(999) is rules and rules.expires == 1000
    later = rules.at(1000)
    assert [rule.pattern.host for rule in later.rules] == ["b.example", "c.example"] and later.expires == 2000
