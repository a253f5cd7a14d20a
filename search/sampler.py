"""Who proposes candidates, by name, made repeatable: a search of ours, or any of Optuna's samplers."""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from .. import own
from ..errors import ParetonasError, StudyError, UsageError, there_is
from ..spaces import DataSpec
from .genes import Genes

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from .study import Study

EHVI = "ehvi"  # ours, see ehvi.py
# By name: from a seed, and whether other trials run at this moment. TPE keeps away from those (constant liar), which
# makes it read the store for each gene, so it does so only where there are any.
OPTUNA: dict[str, Callable[[int, bool], BaseSampler]] = {
    "tpe": lambda seed, others: TPESampler(seed=seed, constant_liar=others),
    "tpe_multivariate": lambda seed, others: TPESampler(seed=seed, constant_liar=others, multivariate=True, group=True),
    "nsga2": lambda seed, _: NSGAIISampler(seed=seed),
    "nsga3": lambda seed, _: NSGAIIISampler(seed=seed),
    "gp": lambda seed, _: GPSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed, _: RandomSampler(seed=seed),
}
SAMPLERS = (EHVI, *OPTUNA)
# Those that need no genes of a trial, as a move has none, or look at one gene at a time.
WITH_MOVES = (EHVI, "tpe", "random")
INTERRUPTED = "interrupted"  # user attribute of a trial whose parameters were put back in the queue
EXPLORE_AFTER = 3  # proposals in a row that were known before the next one is drawn at random
ALL_KNOWN = 10**6  # in place of how many were known in a row, where nothing new is left
OBJECT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")  # the class of a sampler that was handed in as an object

_held: "WeakKeyDictionary[Study, BaseSampler]" = WeakKeyDictionary()


def check_sampler(word: str) -> None:
    """UsageError unless it is one of SAMPLERS, a function of the user's own, or the class of an object."""
    if word not in SAMPLERS and not own.is_own(word) and not (isinstance(word, str) and OBJECT.fullmatch(word)):
        raise UsageError(
            f"unknown sampler {word!r}: {there_is(word, SAMPLERS)}; or take a function of your own that makes one from "
            "a seed, such as 'my.module:make_sampler', or an object of Optuna's"
        )


def sampler_name(sampler: str | BaseSampler | Callable[[int], BaseSampler]) -> str:
    """The word that a definition keeps of a sampler; a function that is handed in is trusted.

    An object is kept as its class, ``optuna.samplers.TPESampler``; ``hold`` gives the study the object itself.
    """
    if isinstance(sampler, BaseSampler):
        kind = type(sampler)
        module = [part for part in kind.__module__.split(".") if not part.startswith("_")]
        if module[0] == "optuna":  # where its users import it from
            module = module[:2]
        return ".".join((*module, kind.__name__))
    if isinstance(sampler, str) or not callable(sampler):
        check_sampler(sampler)
        return sampler
    return own.named(sampler)


def hold(study: "Study", sampler: BaseSampler) -> None:
    """Keep the object that a study was made with, as long as the study lives in this process."""
    _held[study] = sampler


class SeededSampler(BaseSampler):
    """A sampler whose random numbers follow from the study's seed and the trial's place among those not interrupted.

    So a study that was interrupted proposes what it would have proposed, and workers differ from each other.
    ``known_in_a_row`` is set by the worker: a sampler that only repeats itself gives way to random search. It is set
    to ALL_KNOWN here where nothing new is left in the space.
    """

    def __init__(self, study: "Study", spec: DataSpec) -> None:
        self._study, self._spec = study, replace(spec, taught=bool(study.definition.teacher))
        self._inner: BaseSampler = RandomSampler(seed=study.definition.seed)
        self.known_in_a_row = 0

    def before_trial(self, study: "optuna.Study", trial: "FrozenTrial") -> None:
        chooses = self._study.definition.sampler == EHVI and self.known_in_a_row < EXPLORE_AFTER
        if chooses and "fixed_params" not in trial.system_attrs:  # it reads what it needs, and when it is needed
            self._inner = Answering(self._chosen, seed_of(self._study.definition.seed, trial.number))
        else:
            trials = study.get_trials(deepcopy=False, states=(TrialState.FAIL, TrialState.RUNNING))
            others = any(t.state is TrialState.RUNNING and t.number != trial.number for t in trials)
            self._inner = self._made(place_of(trial.number, trials), others=others)
        self._inner.before_trial(study, trial)

    def _made(self, place: int, *, others: bool) -> BaseSampler:
        """The sampler of one trial that is not chosen whole, or for which some genes were put in the queue."""
        word, seed = self._study.definition.sampler, seed_of(self._study.definition.seed, place)
        if word == EHVI or self.known_in_a_row >= EXPLORE_AFTER:
            return OPTUNA["random"](seed, others)
        if word in OPTUNA:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return OPTUNA[word](seed, others)
        return _of_the_user(self._study, word, seed)

    def _chosen(self) -> Genes:
        """Whatever goes wrong here is not the fault of the candidate that is asked for."""
        from .ehvi import ehvi_of

        try:
            genes = ehvi_of(self._study, self._spec).choose()
        except ParetonasError:
            raise
        except Exception as error:
            text = str(error).strip().split("\n")[0]
            raise StudyError(
                f"choosing the next candidate of {self._study.name!r} failed: {type(error).__name__}: {text}: report "
                "it, and search on with another sampler under another name"
            ) from error
        if genes is None:
            self.known_in_a_row = ALL_KNOWN
        return genes or {}

    def infer_relative_search_space(self, study: "optuna.Study", trial: "FrozenTrial") -> "dict[str, BaseDistribution]":
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: "optuna.Study", trial: "FrozenTrial", search_space: "dict[str, BaseDistribution]"
    ) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: "optuna.Study", trial: "FrozenTrial", param_name: str, param_distribution: "BaseDistribution"
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: "optuna.Study", trial: "FrozenTrial", state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)


class Answering(RandomSampler):
    """Answers with the genes of a candidate that is chosen as a whole, when the first of them is asked for.

    One that was not foreseen is drawn at random. So nothing is chosen for a trial that asks for none, as a move.
    """

    def __init__(self, choose: Callable[[], Genes], seed: int) -> None:
        super().__init__(seed=seed)
        self._choose = choose
        self._genes: Genes | None = None

    def sample_independent(
        self, study: "optuna.Study", trial: "FrozenTrial", param_name: str, param_distribution: "BaseDistribution"
    ) -> Any:
        if self._genes is None:
            self._genes = self._choose()
        if param_name in self._genes and _has(param_distribution, self._genes[param_name]):
            return self._genes[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)


def _has(distribution: "BaseDistribution", value: Any) -> bool:
    """Whether a value may be drawn from it."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))  # noqa: SLF001 - it has no public name
    except ValueError:
        return False


def seed_of(seed: int, place: int) -> int:
    """The seed of one place of a study, 32 bits."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0])


def place_of(number: int, trials: "Sequence[FrozenTrial]") -> int:
    """The place of the trial of that number among those that were not interrupted. trials: the interrupted ones."""
    return number - sum(trial.number < number and INTERRUPTED in trial.user_attrs for trial in trials)


def _of_the_user(study: "Study", word: str, seed: int) -> BaseSampler:
    """The object that the study was made with, or what the user's function makes of the seed."""
    if study in _held:
        return _held[study]
    if not own.is_own(word):
        raise StudyError(
            f"the sampler {word} of {study.name!r} was handed in as an object, which only the process that did so has: "
            "hand it in again with create_study and work with one worker, or take a function of your own that makes it"
        )
    made = own.load(word)(seed)
    if not isinstance(made, BaseSampler):
        raise UsageError(f"a sampler of your own is an optuna.samplers.BaseSampler, {word} gave {type(made).__name__}")
    return made
