"""Candidates that the user wants tried next. They wait in Optuna's queue, so that all workers share it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from ..errors import UsageError, there_is
from ..spaces import Architecture, Candidate, Compression, DataSpec, Training
from ..spaces.builder import shapes
from ..spaces.choices import Choice, Options
from ..spaces.looking import Questions, RandomAnswers
from .data import data_of
from .genes import allows, in_words

if TYPE_CHECKING:
    from .study import Study

ENQUEUED = "enqueued"  # user attribute of a trial whose candidate was given, as JSON
USUAL = {**asdict(Compression()), **asdict(Training())}  # genes of these names, where an architecture says nothing
ATTEMPTS = 64  # random settings of the other genes, to find out whether a gene is ever asked for


def enqueue(study: "Study", given: Architecture | Candidate | Mapping[str, Any]) -> int | None:
    """Put a candidate in the queue; the next free worker tries it.

    An architecture is trained as the space says, with the defaults where that is searched. Of genes by name those that
    are left out are drawn. Returns the number of the trial that has this candidate already, in which case nothing is
    queued; otherwise None. UsageError if it does not fit the data or the space.
    """
    spec = _spec(study)
    if isinstance(given, Mapping):
        study.optuna.enqueue_trial(_checked(study, given, spec))
        return None
    if isinstance(given, Architecture):
        given = study.definition.space.candidate(_Usual(), given, 0.0, data=spec)
    if not isinstance(given, Candidate):
        raise UsageError(
            f"what is queued is an Architecture, a Candidate, or genes by name, {type(given).__name__} was given"
        )
    _check_fit(given, spec)
    known = _number_of(study, given)
    if known is None:
        study.optuna.enqueue_trial({}, user_attrs={ENQUEUED: given.to_json()})
    return known


def enqueued(trial: OptunaTrial) -> Candidate | None:
    """The candidate that a trial was queued with; None if it was not, or by its genes."""
    data = trial.user_attrs.get(ENQUEUED)
    return None if data is None else Candidate.from_json(data)


def requeue(study: "Study", trial: OptunaTrial) -> None:
    """Put what an interrupted proposal was queued with back in the queue; what was drawn, its place draws again."""
    fixed = study.store.optuna.get_trial_system_attrs(trial._trial_id).get("fixed_params")  # noqa: SLF001 - no public name
    if fixed is not None:
        kept = {ENQUEUED: data} if (data := trial.user_attrs.get(ENQUEUED)) is not None else None
        study.optuna.enqueue_trial(fixed, user_attrs=kept)


class _Usual(Questions):
    """Answers with the default of Training and Compression where it may be, otherwise with the first that may be."""

    def answer(self, name: str, choice: Choice) -> Any:
        usual = USUAL.get(name)
        if usual is not None and allows(choice, usual):
            return usual
        return choice.values[0] if isinstance(choice, Options) else choice.low


class _Given(RandomAnswers):
    """Answers the genes that were given, and draws the others."""

    def __init__(self, genes: Mapping[str, Any], seed: int) -> None:
        super().__init__(seed)
        self._genes = genes

    def answer(self, name: str, choice: Choice) -> Any:
        if name not in self._genes:
            return super().answer(name, choice)
        if not allows(choice, self._genes[name]):
            raise UsageError(f"the gene {name} is {in_words(choice)}, {self._genes[name]!r} was given")
        return self._genes[name]


def _checked(study: "Study", genes: Mapping[str, Any], spec: DataSpec) -> dict[str, Any]:
    """The genes, if the space asks for each of them under some setting of the others."""
    asked: set[str] = set()
    for seed in range(ATTEMPTS):
        answers = _Given(genes, seed)
        study.definition.space.suggest(answers, spec)
        asked |= answers.asked.keys()
        if genes.keys() <= asked:
            return dict(genes)
    wrong = next(name for name in genes if name not in asked)
    raise UsageError(f"the space does not ask for the gene {wrong!r}: {there_is(wrong, sorted(asked))}")


def _check_fit(candidate: Candidate, spec: DataSpec) -> None:
    """UsageError unless the network takes the examples and answers what the task asks."""
    network = candidate.architecture
    for what, has, wanted in (
        ("inputs of shape", network.input_shape, spec.input_shape),
        ("tokens below", network.vocabulary, spec.vocabulary),
        ("category codes below", network.categories, spec.categories),
        ("heads", _heads(network.heads), _heads(spec.heads)),
    ):
        if has != wanted:
            raise UsageError(
                f"a network for this task has {what} {wanted}, one with {has} was given ({network}): make it for the "
                "task's data"
            )
    shapes(network)


def _heads(heads: Sequence[Any]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((head.name, head.outputs) for head in heads))


def _number_of(study: "Study", candidate: Candidate) -> int | None:
    """The trial that has this candidate, or waits to try it."""
    for evaluation in study.store.evaluations(study.id):
        if evaluation.key == candidate.key:
            return evaluation.trial_number
    for trial in study.optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        data = trial.user_attrs.get(ENQUEUED)
        if data is not None and Candidate.from_json(data).key == candidate.key:
            return trial.number
    return None


def _spec(study: "Study") -> DataSpec:
    """What the space is told of the data, as in a search."""
    return replace(data_of(study.definition, "cpu").spec, taught=bool(study.definition.teacher))
