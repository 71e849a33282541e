"""Which entry of an object a failed call was about.

`o.f(x)` is compiled to a plain call of a temporary, which costs nothing to check while it succeeds. Only when the host
says that the value cannot be called is the name looked up, in the temporary's own name (`.t3_f`).
"""

from __future__ import annotations

from launcher.language.compiled import FILE_PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def called_property(traceback: TracebackType | None) -> str:
    """The entry's name if the innermost frame is ML code that was calling `o.name(...)`, else ""."""
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    if not code.co_filename.startswith(FILE_PREFIX):
        return ""
    from dis import get_instructions

    before = [instruction for instruction in get_instructions(code) if instruction.offset <= traceback.tb_lasti]
    place = before[-1].positions
    for instruction in reversed(before):
        here, name = instruction.positions, instruction.argval
        same = here and place and (here.lineno, here.col_offset) == (place.lineno, place.col_offset)
        if same and isinstance(name, str) and name.startswith(".t"):
            return name.partition("_")[2]
    return ""
