"""Which genes matter for which objective: how much worse a forest answers when one gene is shuffled."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...objectives import is_cost
from .figures_data import Snapshot, snapshot
from .figures_style import BLUE, rounded, say, styled
from .labels import label_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from sklearn.ensemble import ExtraTreesRegressor

    from ..study import Study

Matrix = npt.NDArray[np.float64]
FEWEST = 12  # complete trials, below which nothing is learned
LEARN_FROM = 300  # trials: more take longer and change little
TREES, SHUFFLES, SHOWN = 60, 3, 10
ABSENT = -1.0  # where a gene is not asked for; the numbers of a gene begin at 0


@dataclass(frozen=True)
class Importance:
    """Of each gene, for one objective: the mean squared error that shuffling it adds, as a share of the variance.

    explained: the share of the variance (R2) that the forest explains on trials that it was not shown.
    """

    objective: str
    genes: Mapping[str, float]
    explained: float


def importances(shot: Snapshot) -> list[Importance]:
    """Permutation importance (Breiman 2001, section 10) of genes, on trials that each forest was not shown.

    Optuna's own evaluators take only the genes that all trials have, which in a space with conditional genes are few;
    here what is not asked for is a value of its own. One forest of extremely randomised trees (Geurts et al. 2006)
    answers all objectives, costs as logarithms. Empty if too few trials are complete.
    """
    params = {trial.number: trial.params for trial in shot.study.optuna.get_trials(deepcopy=False)}
    done = [trial for trial in shot.trials if trial.state == "complete" and params.get(trial.number)]
    if len(done) < FEWEST:
        return []
    random = np.random.default_rng(0)
    if len(done) > LEARN_FROM:
        done = [done[index] for index in np.sort(random.permutation(len(done))[:LEARN_FROM])]
    names, x = _columns([params[trial.number] for trial in done])
    values = [[_figure(name, trial.values[name]) for name in shot.objectives] for trial in done]
    y = np.array(values, dtype=np.float64)
    spread = y.std(0)
    y = (y - y.mean(0)) / np.where(spread > 0, spread, 1.0)
    added, errors = _cross_fitted(x, y, random)
    return [
        Importance(name, dict(zip(names, map(float, added[:, place]), strict=True)), float(1 - errors[place]))
        for place, name in enumerate(shot.objectives)
        if spread[place] > 0
    ]


def _figure(name: str, value: float) -> float:
    return float(np.log(value)) if is_cost(name) and value > 0 else value


def _columns(params: Sequence[Mapping[str, Any]]) -> tuple[list[str], Matrix]:
    """Genes that differ, and a column for each: numbers from 0 to 1, words by their place."""
    names, columns = [], []
    for name in sorted({name for one in params for name in one}):
        there = {one[name] for one in params if name in one}
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in there)
        if numbers:
            low, high = min(there), max(there)
            codes = {value: (value - low) / ((high - low) or 1) for value in there}
        else:
            codes = {value: float(place) for place, value in enumerate(sorted(there, key=str))}
        column = np.array([codes[one[name]] if name in one else ABSENT for one in params])
        if np.ptp(column) > 0:
            names.append(name)
            columns.append(column)
    return names, np.stack(columns, axis=1) if columns else np.zeros((len(params), 0))


def _cross_fitted(x: Matrix, y: Matrix, random: np.random.Generator) -> tuple[Matrix, Matrix]:
    """The error that shuffling each column adds (genes, objectives), and the error without, on the other half each."""
    from sklearn.ensemble import ExtraTreesRegressor

    order = random.permutation(len(x))
    halves = np.array_split(order, 2)
    added, errors = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
    if not x.shape[1]:
        return added, errors + 1
    for shown, other in (halves, halves[::-1]):
        forest: ExtraTreesRegressor = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0)
        forest.fit(x[shown], y[shown])
        usual = _errors(forest, x[other], y[other])
        errors += usual * len(other) / len(x)
        for column in range(x.shape[1]):
            shuffled = np.repeat(x[other][None], SHUFFLES, axis=0)
            for copy in shuffled:
                copy[:, column] = random.permutation(copy[:, column])
            worse = _errors(forest, shuffled.reshape(-1, x.shape[1]), np.tile(y[other], (SHUFFLES, 1)))
            added[column] += (worse - usual) * len(other) / len(x)
    return np.maximum(added, 0.0), errors


def _errors(forest: "ExtraTreesRegressor", x: Matrix, y: Matrix) -> Matrix:
    answers = np.asarray(forest.predict(x)).reshape(y.shape)
    return np.asarray(((answers - y) ** 2).mean(0))


def importance_figure(study: "Study") -> "Figure":
    """The genes that matter most for each objective, and how much of it the genes explain; see ``importances``."""
    return draw_importance(snapshot(study))


def draw_importance(shot: Snapshot) -> "Figure":
    """See ``importance_figure``."""
    from plotly.subplots import make_subplots

    found = importances(shot)
    figure = make_subplots(
        rows=1,
        cols=max(1, len(found)),
        subplot_titles=[f"{html.escape(label_of(one.objective))}<br>R² {one.explained:.2f}" for one in found],
        horizontal_spacing=0.06 + 0.3 / max(2, len(found) + 1) if len(found) > 1 else 0.1,
    )
    for column, one in enumerate(found, start=1):
        most = sorted(one.genes.items(), key=lambda item: -item[1])[:SHOWN][::-1]
        figure.add_bar(
            x=rounded(value for _, value in most),
            y=[_short(name) for name, _ in most],
            orientation="h",
            marker={"color": BLUE, "opacity": 0.35 + 0.65 * max(0.0, one.explained)},
            hovertemplate="%{y}: %{x}<extra></extra>",
            row=1,
            col=column,
        )
    said = f"error that shuffling a gene adds, of the variance; {len(shot.trials)} trials; pale: little is explained"
    styled(figure, "Importance of genes for each objective", said)
    figure.update_layout(showlegend=False, margin={"t": 130}, title={"y": 0.96, "yanchor": "top"})
    figure.update_annotations(font={"size": 12})
    figure.update_yaxes(automargin=True, tickfont={"size": 11})
    figure.update_xaxes(rangemode="tozero", nticks=4)
    if not found:
        say(figure, f"At least {FEWEST} complete trials with genes are needed.")
    return figure


def _short(name: str) -> str:
    return html.escape(name if len(name) <= 28 else f"…{name[-27:]}")
