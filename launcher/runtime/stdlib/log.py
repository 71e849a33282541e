"""ML `log`: lines with a level on standard output, and in files that were granted."""

from __future__ import annotations

import sys
import time

from launcher.runtime.context import current
from launcher.runtime.library import Object
from launcher.runtime.stdlib import _disk
from launcher.runtime.stdlib._declare import module
from launcher.runtime.stdlib.file import extend_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
SYNONYMS = {"WARN": "WARNING", "FATAL": "CRITICAL"}


class Logger(Object):
    """A named logger with its own level, format and files."""

    __slots__ = ("_files", "_format", "_level", "_name", "_stamped")
    methods: ClassVar = {
        name: name
        for name in (
            "debug", "info", "warn", "error", "critical", "set_level", "set_format", "set_timestamp", "add_file",
            "is_debug",
        )
    }  # fmt: skip

    def __init__(self, name: str) -> None:
        self._name = name
        self._level = LEVELS["INFO"]
        self._format = "text"
        self._stamped = True
        self._files: list[str] = []

    def debug(self, message: Any, data: Any = None) -> None:
        self._log("DEBUG", message, data)

    def info(self, message: Any, data: Any = None) -> None:
        self._log("INFO", message, data)

    def warn(self, message: Any, data: Any = None) -> None:
        self._log("WARNING", message, data)

    def error(self, message: Any, data: Any = None) -> None:
        self._log("ERROR", message, data)

    def critical(self, message: Any, data: Any = None) -> None:
        self._log("CRITICAL", message, data)

    def set_level(self, name: str) -> None:
        level = str(name).upper()
        level = SYNONYMS.get(level, level)
        if level not in LEVELS:
            raise ValueError(f"Invalid log level: {name}. Use one of: {', '.join(LEVELS)}")
        self._level = LEVELS[level]

    def set_format(self, name: str) -> None:
        if name not in {"text", "json"}:
            raise ValueError(f"Invalid format: {name}. Use 'text' or 'json'")
        self._format = name

    def set_timestamp(self, wanted: bool) -> None:
        self._stamped = bool(wanted)

    def add_file(self, path: str) -> None:
        """Lines go to this file too. It is checked now, so that a missing grant shows here, and again at each line."""
        canonical = _disk.resolved(path)
        extend_bytes(path, b"")
        self._files.append(canonical)

    def is_debug(self) -> bool:
        return self._level <= LEVELS["DEBUG"]

    def _log(self, level: str, message: Any, data: Any) -> None:
        if LEVELS[level] < self._level:
            return
        line = (self._json if self._format == "json" else self._plain)(level, message, data) + "\n"
        sys.stdout.write(line)
        for path in self._files:
            extend_bytes(path, line.encode())

    def _plain(self, level: str, message: Any, data: Any) -> str:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        extra = f" | {_pairs(data)}" if data else ""
        return f"[{stamp}] {level}: {message}{extra}"

    def _json(self, level: str, message: Any, data: Any) -> str:
        import json

        entry: dict[str, Any] = {"message": str(message), "level": level, "logger": self._name}
        if self._stamped:
            entry["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%S")
        if data:
            entry["data"] = data
        return json.dumps(entry)


def _pairs(data: Any) -> str:
    return ", ".join([f"{key}={value}" for key, value in data.items()]) if isinstance(data, dict) else str(data)


def _of_job(method: str) -> Callable[..., Any]:
    """A method of the job's own logger: a second job in this process starts with a fresh one."""

    def call(*arguments: Any) -> Any:
        state = current().job.state
        if "log" not in state:
            state["log"] = Logger("root")
        return getattr(state["log"], method)(*arguments)

    return call


def _create_logger(name: str) -> Logger:
    return Logger(name)


_W = "log.write"

MODULE = module(
    "log",
    "Lines with a level.",
    (
        ("debug", _of_job("debug"), _W, "debug(message[, data])"),
        ("info", _of_job("info"), _W, "info(message[, data])"),
        ("warn", _of_job("warn"), _W, "warn(message[, data])"),
        ("error", _of_job("error"), _W, "error(message[, data])"),
        ("critical", _of_job("critical"), _W, "critical(message[, data])"),
        ("set_level", _of_job("set_level"), _W, "set_level(name): debug, info, warn, error or critical"),
        ("set_format", _of_job("set_format"), _W, "set_format(name): text or json"),
        ("set_timestamp", _of_job("set_timestamp"), _W, "set_timestamp(b): for the json format"),
        ("add_file", _of_job("add_file"), f"{_W} file.write", "add_file(p): lines go there too"),
        ("is_debug", _of_job("is_debug"), "", "is_debug()"),
        ("create_logger", _create_logger, "", "create_logger(name): a Logger"),
    ),
)
