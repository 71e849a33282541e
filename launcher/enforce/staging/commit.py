"""The commit: prepare, record, rename. A crash anywhere leaves every file old or new, and the rest to `recover`. [L]

begin record -> temporaries, on disk -> commit record -> renames -> applied record -> temporaries removed
"""

from __future__ import annotations

import os
from errno import ENOENT

from launcher.enforce.staging import steps as steps_
from launcher.enforce.staging.journal import SUFFIX, Journal, abandoned, records
from launcher.enforce.staging.layers import Places
from launcher.enforce.staging.plan import plan, split_removal
from launcher.enforce.staging.prepare import Preparer, RefusedStepError
from launcher.enforce.staging.report import COMMITTED, CONFLICT, FAILED, REFUSED, Report
from launcher.enforce.staging.steps import CREATE, REMOVE, REPLACE, ConflictError, Step
from launcher.enforce.staging.tree import DIRECTORY, remove_tree, sync_file, sync_open
from launcher.errors import EnforcementError
from launcher.kernel import libc
from launcher.kernel.abi import RESOLVE_NO_SYMLINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from launcher.enforce.staging.judge import Judged, Verdict
    from launcher.enforce.staging.layers import Layers


_FEW = 16
_ORDER = (REMOVE, REPLACE, CREATE)
_SPOILT = "another change could not be committed, and `commit: success` is all or nothing"


class Settings:
    """How to commit. `job` names the journal and the temporaries (letters, digits, `-`); `umask` is the user's.

    `atomic`: all or nothing, also on conflicts. `break_links`: replace one name of a file that has several.
    """

    __slots__ = ("atomic", "break_links", "job", "journals", "umask")

    def __init__(self, journals: str, job: str, umask: int, *, atomic: bool = False, break_links: bool = False) -> None:
        self.journals = journals
        self.job = job
        self.umask = umask
        self.atomic = atomic
        self.break_links = break_links


def commit(verdict: Verdict, layers: Sequence[Layers], settings: Settings) -> Report:
    """Brings what `verdict` accepts to the host, with the fsuid that the caller has set; reports on every change.

    Raises EnforcementError if the journal cannot be written: then nothing was done.
    """
    report = Report()
    for item in verdict.refused:
        report.add(item, REFUSED, item.reason)
    if verdict.accepted:
        _Commit(layers, settings, report).run(verdict.accepted)
    return report


class _Commit:
    def __init__(self, layers: Sequence[Layers], settings: Settings, report: Report) -> None:
        self._layers = {area.name: area for area in layers}
        self._places = Places([(area.name, area.target) for area in layers])
        self._settings = settings
        self._report = report
        self._preparer = Preparer(self._layers, self._places, settings.umask, report.add)
        self._preparer.break_links = settings.break_links

    def run(self, accepted: list[Judged]) -> None:
        todo = plan(accepted, self._settings.job)
        journal = self._journal(todo)
        try:
            prepared, all_steps = self._prepare(todo)
            stopped = self._settings.atomic and (len(prepared) < len(todo) or bool(self._report.failed))
            if stopped:
                self._tell_all(prepared, REFUSED, _SPOILT)
            else:
                self._carry_out(prepared, journal)
            self._clear(all_steps, journal)
        finally:
            self._places.close()

    def _journal(self, todo: list[Step]) -> Journal:
        try:
            journal = Journal(self._settings.journals, self._settings.job)
            journal.write(begin_record(todo, list(self._layers.values())))
        except OSError as error:
            hint = "nothing was committed; the job's changes are lost"
            raise EnforcementError("write", "the commit's journal", error.errno or 0, hint=hint) from error
        return journal

    def _prepare(self, todo: list[Step]) -> tuple[list[Step], list[Step]]:
        """The steps that are ready, and all that may have a temporary."""
        removed = {(step.area, step.inside) for step in todo if step.kind == REMOVE}
        prepared: list[Step] = []
        pending = list(todo)
        for step in pending:
            try:
                self._preparer.prepare(step, removed)
            except (ConflictError, RefusedStepError, OSError) as error:
                self._forget(step)
                instead = [] if self._settings.atomic else split_removal(step)
                self._tell(step, *_outcome(error), but=[item for one in instead for item in one.items])
                pending += instead  # the loop comes to them
            else:
                prepared.append(step)
        return [step for kind in _ORDER for step in prepared if step.kind == kind], pending

    def _forget(self, step: Step) -> None:
        """A temporary that was begun; the step is not done."""
        try:
            remove_tree(self._places.directory(step.area, step.parent), step.temporary)
        except OSError:
            return  # its directory is not there

    def _carry_out(self, prepared: list[Step], journal: Journal) -> None:
        atomic = self._settings.atomic
        try:
            self._sync(prepared)
            journal.write({"record": "commit", "atomic": atomic, "steps": [step.to_data() for step in prepared]})
        except OSError as error:
            self._tell_all(prepared, *_outcome(error))
            return
        outcomes = apply_all(prepared, self._places, atomic=atomic)
        for step, (outcome, reason) in zip(prepared, outcomes, strict=True):
            self._tell(step, outcome, reason)
        try:
            self._sync(prepared)
            journal.write({"record": "applied"})
        except OSError:
            return  # every step is done; the record only spares a recovery the question

    def _sync(self, prepared: list[Step]) -> None:
        """Temporaries and names are on disk. A few are asked for singly, many by their file systems."""
        directories = {(step.area, step.parent) for step in prepared}
        items = sum(len(step.items) for step in prepared)
        if items > min(_FEW, len(prepared)):  # many, or a directory with files in it
            for root in self._places.roots():
                libc.syncfs(root)
            return
        for step in prepared:
            sync_file(self._places.directory(step.area, step.parent), step.temporary)
        for place in directories:
            sync_open(self._places.directory(*place))

    def _clear(self, all_steps: list[Step], journal: Journal) -> None:
        try:
            for step in all_steps:
                steps_.clear(step, self._places)
        except FileNotFoundError:
            journal.done()  # a directory that is gone took its temporaries with it
        except OSError:
            journal.leave()
        else:
            journal.done()

    def _tell_all(self, steps: list[Step], outcome: str, reason: str) -> None:
        for step in steps:
            self._tell(step, outcome, reason)

    def _tell(self, step: Step, outcome: str, reason: str, but: Sequence[Judged] = ()) -> None:
        for item in step.items:
            if item not in but:
                self._report.add(item, outcome, reason or item.reason)


def _outcome(error: Exception) -> tuple[str, str]:
    if isinstance(error, ConflictError):
        return CONFLICT, str(error)
    if isinstance(error, RefusedStepError):
        return REFUSED, str(error)
    return FAILED, getattr(error, "strerror", None) or str(error)


def apply_all(todo: Sequence[Step], places: Places, *, atomic: bool) -> list[tuple[str, str]]:
    """Does every step; the outcome and reason of each. With `atomic` a failure takes back what was done."""
    outcomes: list[tuple[str, str]] = []
    for step in todo:
        try:
            steps_.apply(step, places)
            outcomes.append((COMMITTED, ""))
        except (ConflictError, OSError) as error:
            outcomes.append(_outcome(error))
            if atomic:
                return _taken_back(todo, places, outcomes)
    return outcomes


def _taken_back(todo: Sequence[Step], places: Places, outcomes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    for step in reversed(todo[: len(outcomes)]):
        steps_.revert(step, places)
    last = outcomes[-1]
    others = (REFUSED, _SPOILT)
    return [others] * (len(outcomes) - 1) + [last] + [others] * (len(todo) - len(outcomes))


def begin_record(todo: Sequence[Step], layers: Sequence[Layers]) -> dict[str, Any]:
    """The areas by name, with the identity of their directories, and where the temporaries will be."""
    every = [one for step in todo for one in (step, *split_removal(step))]
    areas = {}
    for area in layers:
        found = os.fstat(area.target)
        areas[area.name] = [area.directory, found.st_dev, found.st_ino]
    ids = [libc.setfsuid(-1), libc.setfsgid(-1), os.getgroups()]  # -1 is no id: they only answer with the current one
    return {
        "record": "begin",
        "ids": ids,
        "areas": areas,
        "temporaries": [[step.area, step.parent, step.temporary] for step in every],
    }


# --- the next start --------------------------------------------------------------------------------------------------


def recover(journals: str, act_as: Callable[[dict[str, Any]], None] | None = None) -> list[tuple[str, str]]:
    """Finishes or undoes every commit that a crash interrupted: (job, "finished" | "undone" | "stuck: why").

    `act_as` is called with each begin record before the host is touched: there a root launcher takes the `ids` (fsuid,
    fsgid, groups) of the commit, as far as they are those of the journal's owner, who could write anything there; and
    afterwards its own. Its ValueError leaves that journal alone. A commit that is still running is left alone, too.
    What is stuck (a directory that is gone) stays in the journal.
    """
    outcomes = []
    for name in sorted(os.listdir(journals)) if os.path.isdir(journals) else []:
        path = f"{journals}/{name}"
        fd = abandoned(path) if name.endswith(SUFFIX) else None
        if fd is None:
            continue
        try:
            outcomes.append((name.removesuffix(SUFFIX), _recover_one(path, records(fd), act_as)))
        finally:
            os.close(fd)
    return outcomes


def _recover_one(path: str, found: list[dict[str, Any]], act_as: Callable[[dict[str, Any]], None] | None) -> str:
    if not found:
        os.unlink(path)  # it ended before its first record, so before its first temporary
        return "undone"
    roots: dict[str, int] = {}
    try:
        if act_as:
            act_as(found[0])
        _open_areas(found[0]["areas"], roots)
        places = Places(list(roots.items()))
        try:
            outcome = _finish(found, places) if len(found) > 1 else _undo(found[0], places)
        finally:
            places.close()
        os.unlink(path)
    except OSError as error:
        return f"stuck: {error.filename}: {error.strerror}"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"stuck: this is no journal of a commit: {error}"
    finally:
        for root in roots.values():
            os.close(root)
    return outcome


def _open_areas(areas: dict[str, list[Any]], roots: dict[str, int]) -> None:
    for name, (directory, device, inode) in areas.items():
        roots[name] = libc.openat2(libc.HERE, directory, DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
        found = os.fstat(roots[name])
        if (found.st_dev, found.st_ino) != (device, inode):
            raise OSError(ENOENT, "it is another directory now", directory)


def _finish(found: list[dict[str, Any]], places: Places) -> str:
    todo = [Step.from_data(data) for data in found[1]["steps"]]
    if len(found) == 2:
        apply_all(todo, places, atomic=found[1]["atomic"])
        for root in places.roots():
            libc.syncfs(root)
    for step in todo:
        steps_.clear(step, places)
    return "finished"


def _undo(begin: dict[str, Any], places: Places) -> str:
    for area, parent, temporary in begin["temporaries"]:
        if temporary.startswith(steps_.TEMPORARY) and "/" not in temporary:
            try:
                remove_tree(places.directory(area, parent), temporary)
            except FileNotFoundError:
                continue
    return "undone"
