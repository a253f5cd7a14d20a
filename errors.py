"""Everything paretonas raises on purpose.

ParetonasError
├── UsageError               what was asked for is malformed: exit code 2 on the command line
│   ├── InvalidSpace         a search space with an empty, inverted or unknown choice
│   ├── InvalidArchitecture  a network description that cannot be built
│   └── UntrustedCode        a store names code that nobody allowed to run
├── StoreError               the database or the artifact folder cannot be opened, read or written
│   └── BrokenCheckpoint     a training cannot go on from what was kept of it: it begins anew
├── LeaseLost                an evaluation was taken up by another worker; what this one has of it is dropped
├── StudyError               the study is missing, differs from what was asked, or has nothing to give
│   ├── NothingFits          no point of the front satisfies a pick
│   └── SpaceExhausted       all that a space makes was tried
├── ExportError              a folder cannot take the exported network, or the export does not agree
├── DeviceLost               what a candidate runs on is gone; the candidate is kept for retry
└── CandidateFailed          one candidate could not be trained; the study goes on
    ├── Refused              what is known before training is enough: it violates a constraint, or cannot add anything
    └── Stopped              its training was stopped, because it is not expected to add anything

A message says the rule, what came, where, and what to do.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any


class ParetonasError(Exception):
    """Root of everything raised on purpose."""


class UsageError(ParetonasError, ValueError):
    """What was asked for is malformed."""


class InvalidSpace(UsageError):
    """A search space has an empty, inverted or unknown choice."""


class InvalidArchitecture(UsageError):
    """A network description cannot be built."""


class UntrustedCode(UsageError):
    """A store names code that nobody allowed to run."""


class StoreError(ParetonasError):
    """The database or the artifact folder cannot be opened, read or written."""


class BrokenCheckpoint(StoreError):
    """What was kept of a training cannot be read, or is of another one."""


class LeaseLost(ParetonasError):
    """An evaluation is another worker's by now, or gone: what this one has of it is dropped."""


class StudyError(ParetonasError):
    """The study is missing, differs from what was asked, or has nothing to give."""


class NothingFits(StudyError):
    """No point of the front satisfies a pick."""


class SpaceExhausted(StudyError):
    """All that a space makes is known or impossible; what was found stays."""


class ExportError(ParetonasError):
    """A folder cannot take the exported network, or the export does not agree with the original."""


class DeviceLost(ParetonasError):
    """The device that a candidate is trained or timed on is gone."""


class CandidateFailed(ParetonasError):
    """One candidate could not be trained.

    ``kind`` is one word for counting: ``diverged``, ``out_of_memory``, ``invalid``, ``crashed``, or ``infeasible`` if
    it cannot run where its latency is wanted.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Refused(CandidateFailed):
    """A candidate is not trained, because of what is known before.

    kind: ``infeasible`` if it violates a constraint, ``dominated`` if nothing that training could give would put it on
    the front. known: the measurements there are, by measure.
    """

    def __init__(self, reason: str, known: Mapping[str, Any], *, kind: str = "infeasible") -> None:
        super().__init__(kind, reason)
        self.known = known


class Stopped(CandidateFailed):
    """A candidate's training was stopped early. known: the measurements there are, quality as it was then."""

    def __init__(self, reason: str, known: Mapping[str, Any]) -> None:
        super().__init__("stopped", reason)
        self.known = known


def one_of(what: str, given: object, known: Iterable[str], error: type[ParetonasError] = UsageError) -> None:
    """Raise ``error`` naming all there is, unless ``given`` is one of ``known``."""
    names = list(known)
    if given not in names:
        raise error(f"unknown {what} {given!r}: {there_is(given, names)}")


def there_is(given: object, names: Sequence[str]) -> str:
    """The end of a message about a name that is not one of ``names``: the nearest of them if one is near, and all."""
    near = get_close_matches(str(given), names, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"{meant}there is {', '.join(names)}"
