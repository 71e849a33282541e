"""What a profile may choose about its filter, as plain data. [L]"""

from __future__ import annotations

from launcher.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Setting = str | bool | tuple[str, ...]

EXEC = ("allow", "refuse", "once", "trace")
_FLAGS = {"unix": False, "memfd": False, "inet": True, "live": False}
_KEYS = ("exec", *_FLAGS, "add")


def normalised(variant: Mapping[str, object]) -> dict[str, Setting]:
    """`variant` complete and checked: exec, unix, memfd, inet, live, add (sorted, without the leading `+`).

    Raises ConfigurationError for a key or value that means nothing.
    """
    for key in variant:
        if key not in _KEYS:
            raise ConfigurationError(f"unknown system call setting {key!r}", hint=f"one of {', '.join(_KEYS)}")
    exec_mode = variant.get("exec", "allow")
    if exec_mode not in EXEC:
        raise ConfigurationError(f"unknown exec mode {exec_mode!r}", hint=f"one of {', '.join(EXEC)}")
    chosen: dict[str, Setting] = {"exec": str(exec_mode), "add": _additions(variant.get("add", ()))}
    for flag, default in _FLAGS.items():
        value = variant.get(flag, default)
        if not isinstance(value, bool):
            raise ConfigurationError(f"the system call setting {flag!r} is true or false, not {value!r}")
        chosen[flag] = value
    return chosen


def _additions(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ConfigurationError(f"additions of system calls are a list of names, not {value!r}")
    return tuple(sorted({name.removeprefix("+") for name in value}))


def tokens(chosen: Mapping[str, Setting]) -> frozenset[str]:
    """The words that a table's `in` and `conflicts` use for a normalised variant: `exec=once unix inet=false +perf`."""
    words = {f"exec={chosen['exec']}"}
    for flag, default in _FLAGS.items():
        if chosen[flag] != default:
            words.add(f"{flag}=false" if default else flag)
    additions = chosen["add"]
    return (
        frozenset(words.union(f"+{name}" for name in additions)) if isinstance(additions, tuple) else frozenset(words)
    )


VARIANT_WORDS = frozenset(
    {*(f"exec={mode}" for mode in EXEC), *(f"{flag}=false" if on else flag for flag, on in _FLAGS.items())}
)
