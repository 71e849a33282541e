"""The provider "jwt": identity tokens (RFC 7519), verified with PyJWT.

What configuration fixes, a token cannot choose: the algorithm (RFC 8725 section 3.1; `none` and the RS256/HS256 key
confusion of CVE-2015-9235 need a verifier that believes the header), and the key (`jku`, `jwk`, `x5u` and `x5c` name
the attacker's own). Not on the launch path: imports PyJWT and cryptography.
"""

from __future__ import annotations

import datetime as dt
import os
import stat

import jwt

from launcher.errors import ConfigurationError, IdentityError
from launcher.identity import os_user
from launcher.identity.jwt_settings import ALGORITHMS
from launcher.identity.user import NO_HOME, User, valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from launcher.identity.jwt_settings import Jwt

METHOD = "jwt"
LEEWAY_SECONDS = 30  # clocks of two hosts that keep time by NTP differ by far less
MAX_TOKEN_BYTES = 16 * 1024  # what HTTP servers take as one header line; claims are a few hundred bytes
MAX_NAMES = 1000
LEAST_SECRET_BYTES = 32  # RFC 7518 section 3.2: a key of at least the size of the hash output
MAX_KEY_BYTES = 64 * 1024
LOGIN_HINT = "log in again with: mlsandbox login --token-file FILE"

_HEADERS = frozenset({"alg", "typ", "kid"})
_TYPES = frozenset({"JWT", "AT+JWT"})  # RFC 9068; the comparison ignores case (RFC 2045)
_TIMES = ("exp", "nbf", "iat")


class TokenProvider:
    """Authenticates `token=`. The key is read when the provider is made, which raises ConfigurationError."""

    __slots__ = ("_key", "_settings")

    def __init__(self, settings: Jwt) -> None:
        if settings.algorithm not in ALGORITHMS:
            raise ConfigurationError(
                f"jwt: unknown algorithm {settings.algorithm!r}", hint=f"one of {', '.join(ALGORITHMS)}"
            )
        self._settings = settings
        self._key = load_key(settings)

    def __repr__(self) -> str:
        return f"TokenProvider({self._settings.algorithm})"

    def authenticate(self, **credentials: str) -> User:
        """The user whom the token names. Raises IdentityError, with a text that says what to do; never the token."""
        token = credentials.pop("token", "")
        if credentials or not token:
            _refuse("the provider jwt takes one credential, the token")
        return user_from_claims(self._claims(token))

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES:
            _refuse(f"the token has {len(token)} characters; the most is {MAX_TOKEN_BYTES}")
        try:
            self._check_header(jwt.get_unverified_header(token))
            return self._decoded(token)
        except jwt.ExpiredSignatureError:
            _refuse(f"Token expired at {_expiry(token)}", LOGIN_HINT)
        except jwt.PyJWTError as error:
            _refuse(*_explained(error, self._settings))
        except (ValueError, TypeError, OverflowError, RecursionError):
            # PyJWT lets some of these through for claims like 1e999 or a header of ten thousand brackets.
            _refuse("the token cannot be read", LOGIN_HINT)

    def _decoded(self, token: str) -> dict[str, Any]:
        required = ["exp", "sub"]
        required += ["iss"] * bool(self._settings.issuer) + ["aud"] * bool(self._settings.audience)
        claims = jwt.decode(
            token,
            self._key,
            algorithms=[self._settings.algorithm],
            leeway=LEEWAY_SECONDS,
            issuer=self._settings.issuer or None,
            audience=self._settings.audience or None,
            options={
                "require": required,
                "verify_signature": True,
                "verify_exp": True,
                "verify_nbf": True,
                "verify_iat": True,
                "verify_iss": bool(self._settings.issuer),
                "verify_aud": bool(self._settings.audience),
            },
        )
        return dict(claims)

    def _check_header(self, header: dict[str, Any]) -> None:
        for name in header:
            if name not in _HEADERS:
                # RFC 7515 section 4.1.11: what `crit` lists and we do not know must be refused; the others name keys.
                _refuse(f"the token's header says {str(name)[:40]!r}, which is not accepted")
        if header.get("alg") != self._settings.algorithm:
            _refuse(
                f"the token is not signed with {self._settings.algorithm}, the one algorithm that this host accepts"
            )
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.upper() not in _TYPES:
            _refuse("the token's type is not JWT")


def user_from_claims(claims: dict[str, Any]) -> User:
    """The user of verified claims. Raises IdentityError when a claim has a wrong type or the name is not one."""
    for name in _TIMES:
        if name in claims and (isinstance(claims[name], bool) or not isinstance(claims[name], (int, float))):
            _refuse(f"the token's claim {name!r} is not a number")
    name = claims["sub"]
    if not isinstance(name, str) or not valid_name(name):
        _refuse("the token's claim 'sub' is not a user name")
    return _with_account(
        name, _names(claims, "groups"), _names(claims, "roles"), _email(claims)
    )  # fmt: skip


def _with_account(name: str, groups: tuple[str, ...], roles: tuple[str, ...], email: str) -> User:
    """The user with the host's account of that name, where there is one."""
    account = os_user.by_name(name)
    if account is None:
        return User(name, groups=groups, roles=roles, email=email, method=METHOD, home=NO_HOME)
    if account.uid == 0:
        # The identity provider names tenants. Root is the host's own, and no claim makes anybody root.
        _refuse(f"a token cannot name {name!r}, which is root on this host")
    return User(
        name,
        uid=account.uid,
        gid=account.gid,
        groups=groups,
        roles=roles,
        email=email,
        method=METHOD,
        home=account.home,
    )


def _names(claims: dict[str, Any], claim: str) -> tuple[str, ...]:
    value = claims.get(claim, [])
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        _refuse(f"the token's claim {claim!r} is not a list of at most {MAX_NAMES} names")
    for name in value:
        if not isinstance(name, str) or not valid_name(name):
            _refuse(f"the token's claim {claim!r} holds something that is not a name")
    return tuple(dict.fromkeys(value))


def _email(claims: dict[str, Any]) -> str:
    value = claims.get("email", "")
    if not isinstance(value, str) or len(value) > 254 or not all(32 < ord(c) < 127 for c in value):
        _refuse("the token's claim 'email' is not an address")
    return value


def _explained(error: jwt.PyJWTError, settings: Jwt) -> tuple[str, str]:
    """The message and hint for what PyJWT refused; never the token's own text."""
    for kind, message, hint in (
        (jwt.ImmatureSignatureError, "the token is not valid yet", "compare this host's clock with the issuer's"),
        (jwt.MissingRequiredClaimError, f"the token has no claim {getattr(error, 'claim', '')!r}", LOGIN_HINT),
        (jwt.InvalidIssuerError, f"the token was not issued by {settings.issuer!r}", LOGIN_HINT),
        (jwt.InvalidAudienceError, f"the token is not meant for {settings.audience!r}", LOGIN_HINT),
        (jwt.InvalidSignatureError, "the token's signature is wrong", LOGIN_HINT),
        (jwt.InvalidKeyError, "the configured key does not fit the algorithm", "see `jwt` in the configuration"),
    ):
        if isinstance(error, kind):
            return message, hint
    return "the token cannot be read", LOGIN_HINT


def _expiry(token: str) -> str:
    """When an expired token expired. Its signature was good: PyJWT checks the signature first."""
    moment = jwt.decode(token, options={"verify_signature": False})["exp"]
    try:
        return dt.datetime.fromtimestamp(int(moment), dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "a time long ago"


def load_key(settings: Jwt) -> str | bytes:
    """The key of `settings`: a secret for HS256, else a public key in PEM. Raises ConfigurationError."""
    secret = settings.algorithm == "HS256"
    key = _read_key(settings.key_file, secret=secret) if settings.key_file else settings.key.encode()
    if secret:
        return _secret(key)
    if b"PRIVATE KEY" in key:
        raise ConfigurationError("jwt: this is a private key", hint="give the public key; who verifies need not sign")
    if b"-----BEGIN" not in key:
        raise ConfigurationError(f"jwt: {settings.algorithm} needs a public key in PEM")
    _check_public(key, settings.algorithm)
    return key


def _check_public(key: bytes, algorithm: str) -> None:
    try:
        jwt.get_algorithm_by_name(algorithm).prepare_key(key)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise ConfigurationError(f"jwt: the key does not fit {algorithm}: {error}") from None


def _secret(key: bytes) -> bytes:
    key = key.removesuffix(b"\n")
    if b"-----BEGIN" in key:
        # CVE-2015-9235: a public key as an HMAC secret lets anybody sign.
        raise ConfigurationError("jwt: HS256 takes a secret, not a PEM key", hint="or did you mean RS256 or ES256?")
    if len(key) < LEAST_SECRET_BYTES:
        raise ConfigurationError(
            f"jwt: the secret has {len(key)} bytes; HS256 needs {LEAST_SECRET_BYTES} (RFC 7518 section 3.2)",
            hint="make one with: openssl rand -hex 32",
        )
    return key


def _read_key(path: str, *, secret: bool) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(f"jwt: cannot read the key {path}: {os.strerror(error.errno or 0)}") from None
    with os.fdopen(descriptor, "rb") as file:
        _check_owner(path, os.fstat(descriptor), secret=secret)
        return file.read(MAX_KEY_BYTES)


def _check_owner(path: str, status: os.stat_result, *, secret: bool) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(f"jwt: the key {path} must be a regular file of root or of the launcher's user")
    forbidden, mode = (0o077, "0600") if secret else (0o022, "0644")
    if status.st_mode & forbidden:
        raise ConfigurationError(
            f"jwt: the key {path} has mode {status.st_mode & 0o7777:04o}, which lets others in",
            hint=f"chmod {mode} {path}",
        )


def _refuse(message: str, hint: str = "") -> NoReturn:
    raise IdentityError(message, hint=hint)
