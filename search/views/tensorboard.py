"""The learning curves, hyperparameters and results of a study as TensorBoard reads them.

In ``DIR/STUDY/trial-00012`` stand the loss and the score (the first metric of the data, on the validation split) after
each epoch, written while the trial is trained, whoever trains it; in ``result`` below it, once it has ended, its genes
and all that was measured, which TensorBoard's HParams page compares. A trial that was taken up again, from an earlier
epoch, replaces what was written after that.
"""

import time
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from ...errors import UsageError
from ...spaces.architecture import Json
from ...storage import CurvePoint

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from ...storage import Evaluation
    from ..study import Study

RESULT = "result"
EVENTS = "events.out.tfevents."  # TensorBoard's files are named so, then the second that they were made in


def check_installed() -> None:
    """UsageError if TensorBoard's package is missing."""
    if find_spec("tensorboard") is None:
        raise UsageError("what TensorBoard reads is written by its package: pip install 'paretonas[tensorboard]'")


class TensorBoard:
    """Writes what is new in a study. A folder that cannot be written any more is said once, and the search goes on."""

    def __init__(self, study: "Study", folder: Path) -> None:
        self._study = study
        self._folder = folder / (quote(study.name, safe=" ").replace(".", "%2E") or "study")
        self._curves: dict[int, _Curve] = {}  # of trials that have not ended, by evaluation
        self._ended: set[int] = set()
        self._broken = False

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{self._folder} cannot take what TensorBoard reads: {error.strerror or error}: choose another folder"
            ) from error
        self.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.refresh()
        finally:
            for curve in self._curves.values():
                curve.close()

    def refresh(self) -> None:
        """Write the epochs and the ends that came since the last call."""
        if self._broken:
            return
        try:
            self._write()
        except OSError as error:
            self._broken = True
            warnings.warn(f"nothing more is written to {self._folder}: {error.strerror or error}", stacklevel=2)

    def _write(self) -> None:
        store, study = self._study.store, self._study.id
        if store.finished(study) != len(self._ended):
            new = [identity for identity in store.finished_ids(study) if identity not in self._ended]
            curves = store.curves(new)
            for evaluation in store.read(new):
                self._end(evaluation, curves.get(evaluation.id, []))
            self._ended.update(new)
        running = {one.evaluation: one.trial_number for one in store.held(study) if one.trial_number is not None}
        for identity, points in store.curves(running).items():
            number = running[identity]
            assert number is not None
            self._curve(identity, number).write(points)

    def _curve(self, identity: int, number: int) -> "_Curve":
        if identity not in self._curves:
            self._curves[identity] = _Curve(self._place(number))
        return self._curves[identity]

    def _place(self, number: int) -> Path:
        return self._folder / f"trial-{number:05d}"

    def _end(self, evaluation: "Evaluation", points: Sequence[CurvePoint]) -> None:
        """The whole curve, then the result, which says that all is written."""
        result = self._place(evaluation.trial_number) / RESULT
        if any(result.glob("events.*")):
            return
        if points or evaluation.id in self._curves:
            curve = self._curve(evaluation.id, evaluation.trial_number)
            curve.write(points)
            curve.close()
            del self._curves[evaluation.id]
        write_result(result, self._genes(evaluation), evaluation)

    def _genes(self, evaluation: "Evaluation") -> Json:
        """What the sampler chose; of a network that was not proposed by genes, its training."""
        number = evaluation.trial_number
        genes = self._study.store.optuna.numbered(self._study.name, [number])[number].params
        return dict(genes) or {f"training.{name}": value for name, value in vars(evaluation.candidate.training).items()}


class _Curve:
    """The curve of one trial, of which so many points are written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: list[CurvePoint] = []
        self._writer: SummaryWriter | None = None

    def write(self, points: Sequence[CurvePoint]) -> None:
        """Write the points that are new; what was written and is gone, or another one now, is taken back."""
        same = 0
        while same < min(len(points), len(self._written)) and points[same] == self._written[same]:
            same += 1
        if same == len(points) == len(self._written):
            return
        if self._writer is None or same < len(self._written):
            self._begin_at(same + 1)
        assert self._writer is not None
        for step, point in enumerate(points[same:], same + 1):
            self._writer.add_scalar("loss", point.loss, step)
            self._writer.add_scalar("validation_score", point.score, step)
            self._writer.add_scalar("seconds", point.seconds, step)
        self._written = list(points)
        self._writer.flush()

    def _begin_at(self, step: int) -> None:
        """Whatever a file of this folder has from this step on, also one of an earlier process, does not count."""
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        self._wait_for_a_later_name()
        self._writer = SummaryWriter(str(self._folder), purge_step=step)

    def _wait_for_a_later_name(self) -> None:
        """TensorBoard reads files in the order of their names, which begin with the second that they were made in."""
        named = (path.name.removeprefix(EVENTS).split(".")[0] for path in self._folder.glob(f"{EVENTS}*"))
        seconds = [int(word) for word in named if word.isdecimal()]  # others are files of somebody else
        if seconds and (pause := max(seconds) + 1 - time.time()) > 0:
            time.sleep(min(pause, 1.0))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def write_result(folder: Path, genes: Json, evaluation: "Evaluation") -> None:
    """Hyperparameters and all measured values of a trial, as one session of TensorBoard's HParams page."""
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    network = str(evaluation.deployed).replace(" \u00b7 ", ", ")  # the page shows other signs as codes
    named = {"network": network, "state": evaluation.state, **genes}
    _, start, end = hparams(  # type: ignore[no-untyped-call]
        {name: value for name, value in named.items() if value is not None}, {}
    )
    writer = SummaryWriter(str(folder))
    events: Any = writer.file_writer
    events.add_summary(start)
    for name, value in evaluation.values.items():
        writer.add_scalar(name, value, 0)
    events.add_summary(end)
    writer.close()
