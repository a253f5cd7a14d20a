"""Notes and figures in the places of Optuna's storage where optuna-dashboard looks for them.

Its own functions would do, but importing it loads scikit-learn and costs a search two seconds, and each of its calls
reads all that is there. tests/test_publish.py has optuna-dashboard read back what is written here.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..study import Study

LONGEST = 2045  # characters that optuna-dashboard puts into one attribute
OURS = 1  # the version of each note of ours: what people save in optuna-dashboard has a later one


class Pages:
    """The notes and figures of a study, as they were when this was made and as they were written since.

    A note is named by its trial, by the number that a trial has in the whole store; None is the study's own.
    """

    def __init__(self, study: "Study") -> None:
        self._storage, self._study = study.store.optuna, study.optuna._study_id  # noqa: SLF001 - Optuna's id
        self._attributes = self._storage.get_study_system_attrs(self._study)

    def note(self, trial: int | None) -> str:
        """A note as it is; empty if there is none."""
        parts, place = [], 0
        while (part := self._attributes.get(f"{_note(trial)}note_str:{place}")) is not None:
            parts.append(part)
            place += 1
        return "".join(parts)

    def save_note(self, trial: int | None, body: str) -> None:
        """Write a note in Markdown, unless people changed it."""
        version = f"{_note(trial)}note_ver"
        if int(self._attributes.get(version, 0)) <= OURS:
            self._save(f"{_note(trial)}note_str:", body)
            self._set(version, OURS)

    def save_figure(self, name: str, figure: str) -> None:
        """Write a figure as JSON. name: letters, digits, ``-``, ``_`` and ``.``."""
        self._save(f"dashboard:plot_data:{name}:", figure)

    def _save(self, prefix: str, text: str) -> None:
        """In parts, of which those are written that differ; what is left of a longer text is emptied."""
        parts = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
        while f"{prefix}{len(parts)}" in self._attributes:
            parts.append("")
        for place, part in enumerate(parts):
            self._set(f"{prefix}{place}", part)

    def _set(self, key: str, value: str | int) -> None:
        if self._attributes.get(key) != value:
            self._storage.set_study_system_attr(self._study, key, value)
            self._attributes[key] = value


def _note(trial: int | None) -> str:
    return "dashboard:" if trial is None else f"dashboard:{trial}:"
