"""TLS interception with real TLS at both ends: path rules on https, injected secrets, the launch's own authority."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from launcher.egress.certificates import CertificateAuthority
from tests.egress import upstreams
from tests.egress.test_cases import bytes_of, connection, denied, http_verdict, load, read_all
from tests.egress.world import World, grant

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel
CASES = {case["id"]: case for case in load()}
SECRET = "s3cr3t-value-of-the-host"
PLACEHOLDER = "ph-7f3a"
HOSTS = ["api.example.com", "other.example.com"]


class Setting:
    def __init__(self, world: World, authority: CertificateAuthority) -> None:
        self.world = world
        self.authority = authority
        self.context = ssl.create_default_context(cadata=authority.certificate.decode())

    def tls(self, name: str = "api.example.com") -> ssl.SSLSocket:
        return self.context.wrap_socket(connection(self.world, 443, name), server_hostname=name)

    def request(self, data: bytes, name: str = "api.example.com") -> dict[str, Any]:
        with self.tls(name) as conn:
            conn.sendall(data)
            return http_verdict(read_all(conn))

    def forwarded(self, since: int) -> bytes:
        records = self.world.collect(0.05)[since:]
        return b"".join(r["data"].encode("latin-1") for r in records if r.get("upstream") == "data")


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder: Path = tmp_path_factory.mktemp("tls")
    outside = CertificateAuthority.create(["*"])
    # One certificate for both names, so that a client could coalesce; the job never sees it.
    certificate, key = outside.leaf("api.example.com")
    (folder / "server.pem").write_bytes(key + certificate)
    (folder / "trust.pem").write_bytes(outside.certificate)
    upstreams.CERTIFICATE[0] = str(folder / "server.pem")
    authority = CertificateAuthority.create(HOSTS, "test")
    inject = [{"header": "Authorization", "secret": "SECRET"}]
    world = World(
        [
            grant(["api.example.com/v1/*"], ("https",), inject=inject),
            grant(["other.example.com/y/*"], ("https",)),
            grant(["plain.example.com"], ("http",)),
        ],
        options={
            "ca": (authority.certificate, authority.key),
            "anchors": outside.certificate.decode(),
            "secrets": {"SECRET": SECRET},
            "placeholders": {"SECRET": PLACEHOLDER},
        },
        servers={443: "https", 80: "http"},
    )
    yield Setting(world, authority)
    world.close()


def test_e422_placeholder_is_replaced_in_the_named_header_only(setting: Setting) -> None:
    since = len(setting.world.collect())
    assert setting.request(bytes_of(CASES["E422"]))["verdict"] == "allow"
    sent = setting.forwarded(since)
    assert f"Authorization: Bearer {SECRET}\r\n".encode() in sent and PLACEHOLDER.encode() not in sent


def test_a_header_that_the_job_did_not_send_is_added(setting: Setting) -> None:
    since = len(setting.world.collect())
    assert setting.request(b"GET /v1/a HTTP/1.1\r\nHost: api.example.com\r\n\r\n")["verdict"] == "allow"
    assert f"Authorization: Bearer {SECRET}\r\n".encode() in setting.forwarded(since)


def test_e424_placeholder_elsewhere_stays(setting: Setting) -> None:
    since = len(setting.world.collect())
    assert setting.request(bytes_of(CASES["E424"]))["verdict"] == "allow"
    assert b"GET /v1/a?k=ph-7f3a HTTP/1.1" in setting.forwarded(since)


def test_e426_host_spoof_does_not_move_the_secret(setting: Setting) -> None:
    since = len(setting.world.collect())
    seen = setting.request(bytes_of(CASES["E426"]))
    assert (seen["verdict"], seen["status"], seen["reason"]) == ("reject", 421, "Host does not match SNI")
    assert not setting.forwarded(since)


@pytest.mark.parametrize("name", ["other.example.com", "plain.example.com"])
def test_placeholder_to_another_host_is_refused_and_audited(setting: Setting, name: str) -> None:
    since = len(setting.world.collect())
    data = f"GET /y/a HTTP/1.1\r\nHost: {name}\r\nX-Key: {PLACEHOLDER}\r\n\r\n".encode()
    if name.startswith("plain"):
        conn: socket.socket = connection(setting.world, 80, name)
    else:
        conn = setting.tls(name)
    with conn:
        conn.sendall(data)
        assert http_verdict(read_all(conn))["status"] == 403
    assert "placeholder" in denied(setting.world, since)
    assert not setting.forwarded(since)


def test_e430_the_secret_is_in_no_artefact_of_the_job(setting: Setting) -> None:
    setting.request(bytes_of(CASES["E422"]))
    for event in setting.world.events():
        assert SECRET not in str(event)
    pid = setting.world._pids[0]
    for name in ("environ", "cmdline"):
        assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()


def test_e432_the_authority_vouches_for_the_policy_hosts_only(setting: Setting) -> None:
    certificate = x509.load_pem_x509_certificate(setting.authority.certificate)
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert {name.value for name in constraints.value.permitted_subtrees or ()} == set(HOSTS)
    status, output = setting.world.run(["grep", "-c", "PRIVATE", f"/proc/{setting.world.proxy_pid()}/environ"])
    assert status in {1, 2} and "BEGIN" not in output  # nothing found, or not even readable
    with setting.tls() as conn:
        leaf = x509.load_der_x509_certificate(conn.getpeercert(True) or b"")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["api.example.com"], "exactly one name: no client coalesces"


def test_a_path_outside_the_rule_is_denied_inside_tls(setting: Setting) -> None:
    since = len(setting.world.collect())
    seen = setting.request(b"GET /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
    assert (seen["verdict"], seen["status"], seen["reason"]) == ("deny", 403, "path not allowed")
    assert not setting.forwarded(since)


def test_through_connect_as_well(setting: Setting) -> None:
    conn = setting.world.proxy()
    conn.sendall(b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n")
    assert b" 200 " in conn.recv(4096)
    with setting.context.wrap_socket(conn, server_hostname="api.example.com") as inner:
        inner.sendall(b"GET /v1/a HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
        assert http_verdict(read_all(inner))["verdict"] == "allow"


def test_the_upstream_certificate_is_verified(setting: Setting) -> None:
    """The server's certificate is for api.example.com: for the other name the proxy must not go on."""
    since = len(setting.world.collect())
    seen = setting.request(b"GET /y/a HTTP/1.1\r\nHost: other.example.com\r\n\r\n", "other.example.com")
    assert seen["status"] == 502 and "certificate" in seen["reason"]
    assert not setting.forwarded(since)


def test_a_leaf_for_another_name_is_not_made(setting: Setting) -> None:
    with pytest.raises(ssl.SSLError), connection(setting.world, 443) as conn:
        setting.context.wrap_socket(conn, server_hostname="evil.org")


def test_leaf_key_and_authority_key_differ(setting: Setting) -> None:
    _, key = setting.authority.leaf("api.example.com")
    assert key != setting.authority.key and os.path.exists(upstreams.CERTIFICATE[0])
