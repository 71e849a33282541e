"""The names that exist without being defined: builtins, library modules, and words of the host language.

The front end is pure and may not import the runtime, so the names are here as data; a test holds this table and the
runtime's against each other.
"""

from __future__ import annotations

_BUILTINS = """
    print input str int float bool typeof isinstance len range enumerate zip sorted reversed keys values min max sum
    abs round all any callable chr ord hex bin oct repr format iter next call hasattr getattr help methods modules
    available_modules has_module module_info hasCapability getCapabilities getCapabilityInfo requiredCapabilities
"""
BUILTINS = frozenset(_BUILTINS.split())

# Values that are names in the grammar. `builtin` is the builtins as a module: `builtin.len(x)`.
CONSTANTS = frozenset({"null", "undefined"})
BUILTIN_MODULE = "builtin"

_LIBRARY = """
    args collections console crypto csv database datetime env file functional http json keychain log math network
    path process random regex string
"""
LIBRARY = frozenset(_LIBRARY.split())

# Reading or calling one of these in a program that does not define it can only be meant for the host language.
_REFLECTION = "eval exec compile execfile globals locals vars delattr __import__ breakpoint"
REFLECTION = frozenset(_REFLECTION.split())

# Functions of the host language whose call is an error of its own kind: the first implementation had them underneath.
_HOST_FUNCTIONS = """
    set frozenset map filter type object open setattr delattr tuple list dict exit quit dir vars id hash super property
    classmethod staticmethod memoryview bytearray bytes complex slice divmod pow ascii issubclass aiter anext
"""
HOST_FUNCTIONS = frozenset(_HOST_FUNCTIONS.split())

# Modules of the host language that no ML program has under such a name unless it brings its own.
_HOST_MODULES = "os sys subprocess shutil pickle marshal imp importlib types inspect gc ctypes builtins"
HOST_MODULES = frozenset({*_HOST_MODULES.split(), "__builtin__", "__builtins__"})

# Methods and functions of the host that generated code may call as they are (`launcher.language.generate_calls`).
# Not `join`: the first try would use up an iterator.
STRING_METHODS = frozenset((
    "upper", "lower", "strip", "lstrip", "rstrip", "capitalize", "title", "swapcase", "replace", "split", "rsplit",
    "startswith", "endswith", "find", "rfind", "rindex", "isdigit", "isalpha", "isalnum", "isspace",
    "istitle", "isupper", "islower", "center", "ljust", "rjust",
))  # fmt: skip
# Functions of the library's `math` that are the host's own wherever that succeeds.
MATH_FUNCTIONS = frozenset(("sqrt", "sin", "cos", "tan", "atan", "floor", "ceil"))
# Methods that only arrays have: a test holds that no other ML value has such an attribute in the host, so that
# `value.append(x)` may be written as it is, and fails with an AttributeError on everything else.
OWN_LIST_METHODS = frozenset(("append", "insert", "remove", "reverse"))
# Methods whose effect comes last and cannot fail half-way with a TypeError.
LIST_METHODS = frozenset(("append", "insert", "remove", "pop", "reverse", "clear", "copy"))
