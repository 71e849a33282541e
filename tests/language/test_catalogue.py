"""The names that the front end knows are those that the runtime has."""

import os

from launcher.language.catalogue import BUILTINS, LIBRARY, LIST_METHODS, OWN_LIST_METHODS, STRING_METHODS
from launcher.language.program import compile_program
from launcher.runtime import stdlib
from launcher.runtime.access import METHODS
from launcher.runtime.errors import KINDS, Caught
from launcher.runtime.library import Function, Module, Object
from launcher.runtime.machine import _FILES, Machine, library


def test_builtins() -> None:
    assert set(Machine(compile_program(b"", "x.ml")).builtins) == BUILTINS


def test_there_are_46_builtins() -> None:
    assert len(BUILTINS) == 46


def test_every_library_module_is_there() -> None:
    for name in LIBRARY:
        assert isinstance(library(name), Module), name


def test_every_file_of_the_library_is_in_the_catalogue() -> None:
    folder = os.path.dirname(stdlib.__file__)
    names = {name.removesuffix(".py") for name in os.listdir(folder) if name.endswith(".py") and name[0] != "_"}
    assert names <= LIBRARY | set(_FILES.values())


def test_methods_of_the_fast_paths_are_those_of_the_checked_ones() -> None:
    assert METHODS[str] >= STRING_METHODS
    assert METHODS[list] >= LIST_METHODS


def test_no_method_table_reaches_into_the_host() -> None:
    for kind, names in METHODS.items():
        for name in names:
            assert not name.startswith("_")
            assert hasattr(kind, name)
    assert not {"format", "format_map", "encode", "translate", "maketrans"} & METHODS[str]
    assert "fromkeys" not in METHODS[dict]


def test_kinds_are_host_names_of_errors() -> None:
    import builtins

    assert all(issubclass(getattr(builtins, name), Exception) for name in KINDS)


def host_types() -> list[type]:
    """Every host type that an ML value may have, arrays apart."""
    for name in LIBRARY:
        library(name)
    kinds = [Object, Module, *Module.__subclasses__()]
    for kind in kinds:
        kinds += kind.__subclasses__()
    values = ["", b"", 0, 0.5, True, None, (), {}, 1j, range, iter([]), iter(()), iter(""), iter({}), lambda: 0]
    return [*kinds, Function, Caught, *map(type, values), type(iter({}.values())), type(enumerate("")), zip, reversed]


def test_methods_that_are_called_without_a_check_are_those_of_arrays_alone() -> None:
    """`value.append(x)` is compiled to just that: on anything else the host must not find an attribute."""
    assert METHODS[list] >= OWN_LIST_METHODS
    for kind in host_types():
        assert not [name for name in OWN_LIST_METHODS if hasattr(kind, name)], kind
