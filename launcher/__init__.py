"""mlsandbox. `from launcher import Service, launch` is the interface for Python programs (`launcher.service.api`)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.service.api import AsyncJob, Completed, Job, Options, Service, launch

__all__ = ["AsyncJob", "Completed", "Job", "Options", "Service", "launch"]


def __getattr__(name: str) -> object:
    """Imported when it is asked for: most of what is below here is a launch, which must import little."""
    if name not in __all__:
        raise AttributeError(f"module 'launcher' has no attribute {name!r}")
    from launcher.service import api

    return getattr(api, name)
