"""Secrets are never written: what may hold one is replaced before an event reaches the log.

The tables name keys, argument spellings and token shapes. They are a second line: callers leave values out, and this
catches what a command line or an address carries along. Paths of files are names, not values, and stay as they are.
"""

from __future__ import annotations

REDACTED = "[redacted]"

# A key (of a mapping, an option, an environment variable, a query) holds a secret when one of these is part of it,
# compared in lower case without `-`, `_` and blanks.
SECRET_KEYS = (
    "token", "secret", "password", "passwd", "passphrase", "apikey", "accesskey", "privatekey", "signingkey",
    "authorization", "credential", "cookie", "sessionid", "bearer", "jwt", "signature",
)  # fmt: skip
SECRET_NAMES = frozenset(("pwd", "pass", "auth", "sig", "pin", "otp", "key"))
# `token_expires`, `password_file`: about a secret, not a secret.
HARMLESS_ENDINGS = ("file", "path", "id", "type", "count", "expires", "algorithm", "length", "name")
# Shapes that are a secret wherever they stand (GitHub, GitLab, Slack, AWS, Google, npm, PyPI, PEM).
SECRET_PREFIXES = (
    "ghp_", "gho_", "ghs_", "ghu_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "xoxa-", "AKIA", "ASIA", "AIza", "npm_",
    "pypi-", "sk-", "-----BEGIN ", "mlsandbox_",
)  # fmt: skip
SCHEMES_OF_AUTHORIZATION = frozenset(("bearer", "basic", "token", "digest"))
# Mappings of names to values that are secret as a whole.
SECRET_MAPPINGS = frozenset(("env", "environment", "headers", "secrets", "keychain"))
# Capabilities whose resource is a name in the file system or of a module.
NAMED_RESOURCES = frozenset(("file", "path", "device", "socket", "import", "env", "keychain", "js", "py", "sh"))


def redacted_event(event: dict[str, object]) -> dict[str, object]:
    """A copy of `event` without secrets: `resource` unless it is a name, and `detail` at any depth."""
    result = dict(event)
    resource = event.get("resource")
    if isinstance(resource, str) and event.get("capability") not in NAMED_RESOURCES:
        result["resource"] = redacted_text(resource)
    if event.get("detail"):
        result["detail"] = redacted(event["detail"])
    return result


def redacted(value: object) -> object:
    """A copy of a JSON value without secrets. Strings in lists are read as the words of a command line."""
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, dict):
        return {key: _member(key, value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return _words(value)
    return value


def is_secret_key(key: str) -> bool:
    """Whether a value under this name is to be taken for a secret."""
    name = key.lower().replace("-", "").replace("_", "").replace(" ", "")
    if name in SECRET_NAMES:
        return True
    if name in SECRET_KEYS:
        return True
    return any(part in name for part in SECRET_KEYS) and not name.endswith(HARMLESS_ENDINGS)


def redacted_text(text: str) -> str:
    """`text` with secrets replaced: `--token=V`, `KEY=V`, `Header: V`, `scheme://user:pw@host`, `?key=V`, tokens."""
    if _is_token(text):
        return REDACTED
    for separator in ("=", ":"):
        key, found, value = text.partition(separator)
        name = key.lstrip("-").rpartition(" ")[2]
        if found and value and is_secret_key(name) and not _is_address(key, separator, value):
            return key + separator + REDACTED
    return _phrase(text)


def _is_address(key: str, separator: str, value: str) -> bool:
    """`token.example.com:443`, `auth:443`, `auth://host`: no header, whose name has no dot and value is no port.

    What stands behind `://` is judged by the parts of the address.
    """
    return "://" in key or (separator == ":" and ("." in key or value.isdigit() or value.startswith("//")))


def _member(key: object, value: object) -> object:
    name = str(key)
    if isinstance(value, dict) and name.lower() in SECRET_MAPPINGS:
        return dict.fromkeys(value, REDACTED)
    if isinstance(value, (str, int)) and not isinstance(value, bool) and value and is_secret_key(name):
        return REDACTED
    return redacted(value)


def _words(words: list[object] | tuple[object, ...]) -> list[object]:
    """`--token V`: the word after a secret option is the secret."""
    result: list[object] = []
    secret = False
    for word in words:
        result.append(REDACTED if secret and isinstance(word, str) else redacted(word))
        secret = isinstance(word, str) and word.startswith("-") and "=" not in word and is_secret_key(word.lstrip("-"))
    return result


def _phrase(text: str) -> str:
    """The words of a text: addresses, `Bearer V`, and tokens standing alone."""
    words = text.split(" ")
    for index, word in enumerate(words):
        after_scheme = index > 0 and words[index - 1].lower() in SCHEMES_OF_AUTHORIZATION
        if _is_token(word) or (after_scheme and len(word) >= 8):
            words[index] = REDACTED
        elif "://" in word:
            words[index] = _address(word)
    return " ".join(words)


def _is_token(text: str) -> bool:
    if text.startswith(SECRET_PREFIXES):
        return len(text) >= 16
    return text.startswith("eyJ") and text.count(".") == 2  # a JWT begins with base64 of `{"`


def _address(text: str) -> str:
    """RFC 3986 userinfo and the values of secret query keys."""
    scheme, _, rest = text.partition("://")
    slash = min([position for position in map(rest.find, "/?#") if position >= 0], default=len(rest))
    authority, tail = rest[:slash], rest[slash:]
    user, at, host = authority.rpartition("@")
    if at:
        authority = f"{REDACTED}@{host}" if user else f"@{host}"
    path, mark, query = tail.partition("?")
    if mark:
        query = "&".join([_parameter(part) for part in query.split("&")])
    return f"{scheme}://{authority}{path}{mark}{query}"


def _parameter(part: str) -> str:
    key, equals, value = part.partition("=")
    secret = equals and value and (is_secret_key(key) or _is_token(value))
    return f"{key}={REDACTED}" if secret else part
