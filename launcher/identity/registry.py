"""Providers of identity, by name. On the launch path: a provider is made when it is first asked."""

from __future__ import annotations

from launcher.errors import IdentityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from launcher.identity.jwt_settings import Jwt
    from launcher.identity.user import User
    from launcher.policy.config import Config

    class Provider(Protocol):
        """Turns credentials into a User, or raises IdentityError."""

        def authenticate(self, **credentials: str) -> User: ...


class Providers:
    """The registry: `register(name, factory)`, then `authenticate(method, **credentials)`."""

    __slots__ = ("_factories", "_made")

    def __init__(self) -> None:
        self._factories: dict[str, Callable[[], Provider]] = {}
        self._made: dict[str, Provider] = {}

    def register(self, name: str, factory: Callable[[], Provider]) -> None:
        """Makes `name` a method. Raises ValueError for one that exists: a second would replace a check."""
        if name in self._factories:
            raise ValueError(f"the provider {name!r} is registered already")
        self._factories[name] = factory

    def names(self) -> list[str]:
        """The registered methods, sorted."""
        return sorted(self._factories)

    def authenticate(self, method: str, **credentials: str) -> User:
        """Who the credentials belong to, according to the provider `method`. Raises IdentityError."""
        if method not in self._factories:
            known = ", ".join(self.names())
            raise IdentityError(f"there is no way to authenticate called {method!r}", hint=f"this host has: {known}")
        if method not in self._made:
            self._made[method] = self._factories[method]()
        return self._made[method].authenticate(**credentials)


class OsProvider:
    """The caller's own OS account; takes no credentials."""

    __slots__ = ()

    def authenticate(self, **credentials: str) -> User:
        """The real uid of this process. Raises IdentityError when credentials are given: it would not look at them."""
        if credentials:
            raise IdentityError(f"the OS user is authenticated by the kernel, not by {', '.join(sorted(credentials))}")
        from launcher.identity import os_user

        return os_user.authenticate()


def default_providers(config: Config) -> Providers:
    """The providers of this issue: `os`, and `jwt` where the configuration says how to verify a token."""
    providers = Providers()
    providers.register("os", OsProvider)
    settings = config.jwt
    if settings is not None:
        providers.register("jwt", lambda: _token_provider(settings))
    return providers


def _token_provider(settings: Jwt) -> Provider:
    # PyJWT and cryptography take 60 ms to import: only when there is a token to check.
    from launcher.identity.token import TokenProvider

    return TokenProvider(settings)
