"""How the host's collector of reference cycles is set for one job.

Most of what ML programs make is freed by counting references; cycles are rare. The host looks for them after every
700 new containers, which costs an object-heavy program a quarter of its time (`objects` of bench_language.py). A job
looks less often: what it can hold back in dead cycles is `THRESHOLD` containers of a young generation, a few MiB.
While a program is being compiled everything is kept, since a syntax tree has no cycles; what the start has made is
never looked at.
"""

from __future__ import annotations

import gc

# Containers made since the last look. A dictionary of three entries takes 232 bytes: 20,000 of them are 5 MiB.
THRESHOLD = 20_000


def postpone() -> None:
    """No collection until `settle`: for the start of a job."""
    gc.disable()


def settle() -> None:
    """From here on the program runs."""
    gc.freeze()
    gc.set_threshold(THRESHOLD, 20, 20)
    gc.enable()
