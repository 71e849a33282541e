"""What makes a job's programs trust the launch's own authority, beside the system's.

Files go into the synthesised /etc/ssl of the job; variables are for programs that bring their own store.
"""

from __future__ import annotations

import warnings
from base64 import b64encode

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # OpenSSL's and curl's default on Debian, and what the variables name
OPENSSL_DEFAULT = "/etc/ssl/cert.pem"  # X509_get_default_cert_file() on several systems
AUTHORITY = "/etc/ssl/certs/mlsandbox-egress.pem"
JAVA_STORE = "/etc/ssl/certs/java/cacerts"
JAVA_PASSWORD = "changeit"  # noqa: S105  the JDK's documented default for a store of public certificates

ENVIRONMENT = {
    "SSL_CERT_FILE": BUNDLE,  # OpenSSL, Python, Go, Rust
    "REQUESTS_CA_BUNDLE": BUNDLE,  # requests brings certifi
    "CURL_CA_BUNDLE": BUNDLE,
    "GIT_SSL_CAINFO": BUNDLE,
    "PIP_CERT": BUNDLE,
    "NODE_EXTRA_CA_CERTS": AUTHORITY,  # Node compiles its list in
    "JAVA_TOOL_OPTIONS": f"-Djavax.net.ssl.trustStore={JAVA_STORE} -Djavax.net.ssl.trustStorePassword={JAVA_PASSWORD}",
}


def files(authority: bytes, system_bundle: bytes, java: bytes) -> dict[str, bytes]:
    """Path in the job -> content. `java` is the decoded store of java_store()."""
    bundle = system_bundle.rstrip(b"\n") + b"\n" + authority if system_bundle else authority
    return {BUNDLE: bundle, OPENSSL_DEFAULT: bundle, AUTHORITY: authority, JAVA_STORE: java}


def java_store(authorities: bytes, system_bundle: str = BUNDLE) -> str:
    """A PKCS#12 trust store (base64) with the system's authorities and these (PEM), as JDK 9 and later read it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    try:
        with open(system_bundle, "rb") as file, warnings.catch_warnings():
            # Old roots have serial numbers that today's rules forbid; the system trusts them all the same.
            warnings.simplefilter("ignore")
            certificates = x509.load_pem_x509_certificates(file.read())
    except (OSError, ValueError):
        certificates = []  # a host without a bundle: only intercepted hosts can be verified, as for every program
    certificates += x509.load_pem_x509_certificates(authorities)
    entries = [pkcs12.PKCS12Certificate(cert, f"ca{number}".encode()) for number, cert in enumerate(certificates)]
    store = pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(JAVA_PASSWORD.encode()))
    return b64encode(store).decode("ascii")
