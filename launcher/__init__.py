"""mlsandbox. `from launcher import Service, launch` is the interface for Python programs (`launcher.service.api`)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.service.api import AsyncJob, Completed, Job, Options, Service, launch

__all__ = ["AsyncJob", "Completed", "Job", "Options", "Service", "launch"]


def __getattr__(name: str) -> object:
    """Imported when it is asked for: most of what is below here is a launch, which must import little."""
    if name not in __all__:
        raise AttributeError(f"module 'launcher' has no attribute {name!r}")
    import sys

    # by name, because the layers of the package hold for what is written out: `launcher` itself is below all of them
    __import__("launcher.service.api")
    return getattr(sys.modules["launcher.service.api"], name)
