"""The certificate authority of one launch: made for it, trusted in that job alone, gone with it.

P-256 only: an RSA key costs 26 ms, a P-256 key 30 us and a leaf 140 us. The key never leaves the proxy.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from launcher.egress.protocol import addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

LIFETIME = dt.timedelta(days=7)  # longer than any job's wall clock; the key is dropped when the job ends
SKEW = dt.timedelta(hours=1)  # for clocks inside VMs and containers
_PEM = serialization.Encoding.PEM


class CertificateAuthority:
    """`certificate` and `key` are PEM bytes."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        # One key for all leaves of a launch: they end in the same process anyway.
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())

    @classmethod
    def create(cls, hosts: Sequence[str], job: str = "") -> CertificateAuthority:
        """A new authority that can only vouch for `hosts` (names; `*.x` stands for x and all below; literals)."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"mlsandbox egress {job}".strip())
        builder = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        permitted = _permitted(hosts)
        if permitted:
            # Stolen, the key is still worth nothing for another host (RFC 5280 section 4.2.1.10).
            builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> CertificateAuthority:
        """From PEM. Raises ValueError."""
        private = serialization.load_pem_private_key(key, None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is not an elliptic curve key")  # noqa: TRY004  the bytes are wrong
        return cls(x509.load_pem_x509_certificate(certificate), private)

    @property
    def certificate(self) -> bytes:
        return self._certificate.public_bytes(_PEM)

    @property
    def key(self) -> bytes:
        return _private(self._key)

    def leaf(self, host: str) -> tuple[bytes, bytes]:
        """Certificate and key (PEM) for exactly one name or address."""
        packed = addresses.parse(host)
        entry = x509.IPAddress(_ip(packed)) if packed else x509.DNSName(host)
        identifier = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        builder = (
            # The common name is at most 64 characters (RFC 5280); the SAN is what counts.
            _builder(_name(host[:64]), self._certificate.subject, self._leaf_key.public_key())
            .add_extension(x509.SubjectAlternativeName([entry]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value), critical=False
            )
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM), _private(self._leaf_key)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _permitted(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Name constraints cover a name and all below it, so `*.x` is `x`; a middle star is its fixed tail."""
    if "*" in hosts:
        return []
    found: list[x509.GeneralName] = []
    for host in hosts:
        packed = addresses.parse(host)
        if packed:
            found.append(x509.IPAddress(_ip_network(packed)))
        else:
            found.append(x509.DNSName(host.rpartition("*.")[2]))
    return found


def _ip(packed: bytes) -> _Address:
    import ipaddress

    return ipaddress.ip_address(packed)


def _ip_network(packed: bytes) -> _Network:
    import ipaddress

    return ipaddress.ip_network((packed, len(packed) * 8))


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    _Address = IPv4Address | IPv6Address
    _Network = IPv4Network | IPv6Network
