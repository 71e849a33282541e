"""Identity tokens: real keys, real signatures, and every forgery that has a name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.errors import ConfigurationError, IdentityError
from launcher.identity.jwt_settings import Jwt
from launcher.identity.token import LEEWAY_SECONDS, MAX_TOKEN_BYTES, TokenProvider

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "0123456789abcdef0123456789abcdef-secret"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS: dict[str, Any] = {
    "RS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def pem(key: Any) -> str:
    """The public half in PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good token; None leaves one out."""
    now = int(time.time())
    found = {
        "sub": "tenant-a",
        "email": "a@example.com",
        "roles": ["dev"],
        "groups": ["ml"],
        "iat": now,
        "exp": now + 600,
    }
    return {key: value for key, value in {**found, **changes}.items() if value is not None}


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """A key file as it should be."""
    path = tmp_path / "jwt.key"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def provider(secret_file: Path) -> TokenProvider:
    """A provider for HS256 without issuer or audience."""
    return TokenProvider(Jwt("HS256", key_file=str(secret_file)))


def signed(body: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """A token signed with the right secret, whatever stands in it."""
    return raw(json.dumps({"alg": "HS256", "typ": "JWT", **(header or {})}), json.dumps(body))


def raw(header: str, body: str, secret: str = SECRET) -> str:
    """A token of any two texts, signed."""
    parts = ".".join(base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode() for text in (header, body))
    mark = hmac.new(secret.encode(), parts.encode(), hashlib.sha256).digest()
    return f"{parts}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


def refused(provider: TokenProvider, token: str) -> IdentityError:
    """What the provider says to the token; its text must not be repeated."""
    with pytest.raises(IdentityError) as caught:
        provider.authenticate(token=token)
    assert len(token) < 20 or token not in str(caught.value)
    return caught.value


def test_a_good_token_names_its_user(provider: TokenProvider) -> None:
    user = provider.authenticate(token=signed(claims()))
    assert user.to_data() == {
        "name": "tenant-a",
        "uid": None,
        "gid": None,
        "groups": ["ml"],
        "roles": ["dev"],
        "email": "a@example.com",
        "method": "jwt",
        "home": "/nonexistent",
    }


@pytest.mark.parametrize("algorithm", KEYS)
def test_public_keys(algorithm: str) -> None:
    provider = TokenProvider(Jwt(algorithm, key=pem(KEYS[algorithm])))
    assert provider.authenticate(token=jwt.encode(claims(), KEYS[algorithm], algorithm)).name == "tenant-a"
    other = next(name for name in KEYS if name != algorithm)
    assert f"not signed with {algorithm}" in refused(provider, jwt.encode(claims(), KEYS[other], other)).message


def test_a_host_account_gives_its_ids_but_not_its_groups(provider: TokenProvider) -> None:
    user = provider.authenticate(token=signed(claims(sub="nobody")))
    assert (user.uid, user.groups) == (65534, ("ml",))


def test_root_cannot_be_claimed(provider: TokenProvider) -> None:
    assert "root on this host" in refused(provider, signed(claims(sub="root"))).message


def test_an_expired_token_says_when_and_what_to_do(provider: TokenProvider) -> None:
    error = refused(provider, signed(claims(exp=1_700_000_000, iat=1_699_999_000)))
    assert error.message == "Token expired at 2023-11-14 22:13:20 UTC"
    assert "mlsandbox login --token-file" in error.hint


def test_clocks_may_differ_by_the_leeway(provider: TokenProvider) -> None:
    now = int(time.time())
    provider.authenticate(token=signed(claims(exp=now - LEEWAY_SECONDS + 5)))
    refused(provider, signed(claims(exp=now - LEEWAY_SECONDS - 1)))
    provider.authenticate(token=signed(claims(nbf=now + LEEWAY_SECONDS - 5)))
    assert "not valid yet" in refused(provider, signed(claims(nbf=now + LEEWAY_SECONDS + 10))).message
    assert "not valid yet" in refused(provider, signed(claims(iat=now + LEEWAY_SECONDS + 10))).message


BAD_CLAIMS = [
    ({"exp": None}, "'exp'"),
    ({"sub": None}, "'sub'"),
    ({"exp": "99999999999"}, "'exp' is not a number"),
    ({"exp": True}, "expired"),
    ({"exp": [1]}, "cannot be read"),
    ({"nbf": "0"}, "'nbf' is not a number"),
    ({"sub": 5}, "cannot be read"),
    ({"sub": ""}, "not a user name"),
    ({"sub": "-e"}, "not a user name"),
    ({"sub": "a b"}, "not a user name"),
    ({"sub": "../x"}, "not a user name"),
    ({"sub": "a\nb"}, "not a user name"),
    ({"sub": "\uff41lice"}, "not a user name"),
    ({"sub": "$(x)"}, "not a user name"),
    ({"sub": "x" * 200}, "not a user name"),
    ({"groups": "ml"}, "'groups' is not a list"),
    ({"groups": [5]}, "'groups' holds"),
    ({"roles": {"dev": True}}, "'roles' is not a list"),
    ({"roles": ["a\x1b[0m"]}, "'roles' holds"),
    ({"roles": ["r"] * 1001}, "'roles' is not a list"),
    ({"email": ["a"]}, "'email'"),
    ({"email": "a\n@b"}, "'email'"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_CLAIMS)
def test_claims_of_a_wrong_type_are_refused(provider: TokenProvider, changes: dict[str, Any], message: str) -> None:
    assert message.lower() in refused(provider, signed(claims(**changes))).message.lower()


def test_numbers_that_are_none_are_refused(provider: TokenProvider) -> None:
    for number in ("1e999", "NaN", "-1e999"):
        refused(provider, raw('{"alg":"HS256"}', f'{{"sub":"a","exp":{number}}}'))


HEADERS = [
    {"crit": ["exp"], "exp": 1},
    {"crit": []},
    {"jku": "https://evil.example/keys"},
    {"jwk": {"kty": "oct", "k": "AAAA"}},
    {"x5u": "https://evil.example/c"},
    {"x5c": ["AAAA"]},
    {"b64": False},
    {"zip": "DEF"},
    {"cty": "JWT"},
    {"typ": "at+exe"},
    {"typ": 5},
    {"alg": "none"},
    {"alg": "None"},
    {"alg": "RS256"},
    {"alg": "hs256"},
    {"alg": None},
    {"alg": ["HS256"]},
    {"kid": 5},
]


@pytest.mark.parametrize("header", HEADERS, ids=repr)
def test_a_header_cannot_choose(provider: TokenProvider, header: dict[str, Any]) -> None:
    """RFC 8725: the algorithm and the key are the verifier's, even when the signature is right."""
    refused(provider, signed(claims(), header))


def test_a_known_key_id_and_type_are_no_matter(provider: TokenProvider) -> None:
    provider.authenticate(token=signed(claims(), {"kid": "../../etc/passwd", "typ": "at+jwt"}))


def test_a_token_without_a_signature_is_refused(provider: TokenProvider) -> None:
    for header in ('{"alg":"none"}', '{"alg":"HS256"}'):
        parts = raw(header, json.dumps(claims())).rpartition(".")[0]
        refused(provider, parts + ".")
        refused(provider, parts)


def test_the_public_key_is_no_secret() -> None:
    """CVE-2015-9235: HS256 with the RSA public key as the secret."""
    public = pem(RSA)
    forged = raw('{"alg":"HS256","typ":"JWT"}', json.dumps(claims()), public)
    refused(TokenProvider(Jwt("RS256", key=public)), forged)


def test_another_key_is_refused(provider: TokenProvider) -> None:
    assert "signature" in refused(provider, raw('{"alg":"HS256"}', json.dumps(claims()), "another" * 8)).message


def test_issuer_and_audience_where_configured(secret_file: Path) -> None:
    strict = TokenProvider(Jwt("HS256", key_file=str(secret_file), issuer="https://good", audience="mlsandbox"))
    strict.authenticate(token=signed(claims(iss="https://good", aud=["x", "mlsandbox"])))
    for changes, message in (
        ({"aud": "mlsandbox"}, "'iss'"),
        ({"iss": "https://good"}, "'aud'"),
        ({"iss": "https://good.evil", "aud": "mlsandbox"}, "not issued by"),
        ({"iss": "https://good", "aud": "other"}, "not meant for"),
    ):
        assert message in refused(strict, signed(claims(**changes))).message


@pytest.mark.parametrize(
    "token",
    ["", "a", "a.b", "a.b.c", "....", "\0.\0.\0", "é.é.é", "e30.e30.e30", "x" * (MAX_TOKEN_BYTES + 1), "Bearer x.y.z"],
)
def test_what_is_no_token_is_refused(provider: TokenProvider, token: str) -> None:
    refused(provider, token)


def test_deep_nesting_is_refused(provider: TokenProvider) -> None:
    for header, body in (
        ("[" * 5000, "{}"),
        ('{"alg":"HS256"}', "[" * 5000),
        ('{"alg":"HS256","typ":' + "[" * 5000, "{}"),
    ):
        refused(provider, raw(header, body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "exp", "nbf", "iat", "roles", "groups", "email", "iss", "aud", "jti"]), JSON
    ),
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "jwk"]), JSON, max_size=2),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_signed_json_is_a_user_or_an_identity_error(
    provider: TokenProvider, body: dict[str, Any], header: dict[str, Any]
) -> None:
    good = claims()
    for found in (body, {**good, **body}):
        try:
            user = provider.authenticate(token=signed(found, header))
        except IdentityError:
            continue
        assert user.name == found["sub"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_refused(secret_file: Path, mode: int) -> None:
    secret_file.chmod(mode)
    with pytest.raises(ConfigurationError, match="lets others in") as caught:
        TokenProvider(Jwt("HS256", key_file=str(secret_file)))
    assert "chmod 0600" in caught.value.hint


def test_keys_that_do_not_fit_are_refused(tmp_path: Path, secret_file: Path) -> None:
    path = tmp_path / "k.pem"
    path.write_text(pem(RSA))
    path.chmod(0o644)
    TokenProvider(Jwt("RS256", key_file=str(path)))
    private = RSA.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    link = tmp_path / "link"
    link.symlink_to(secret_file)
    for settings_, message in (
        (Jwt("HS256", key_file=str(path)), "lets others in"),
        (Jwt("RS256", key_file=str(secret_file)), "needs a public key"),
        (Jwt("ES256", key=pem(RSA)), "does not fit"),
        (Jwt("EdDSA", key=pem(RSA)), "does not fit"),
        (Jwt("RS256", key=private), "private key"),
        (Jwt("HS256", key="short"), "32"),
        (Jwt("HS256", key=pem(RSA)), "not a PEM key"),
        (Jwt("HS256", key_file=str(link)), "cannot read"),
        (Jwt("HS256", key_file="/nonexistent"), "cannot read"),
        (Jwt("HS256", key_file="/dev/zero"), "regular file"),
        (Jwt("none", key=pem(RSA)), "unknown algorithm"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            TokenProvider(settings_)
