"""The files of a store: those that are lost or changed, and those of nobody."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator

from ..storage import ENDED, Store
from ..storage.artifact_store import CHECKPOINT, INT8, VIEW, WEIGHTS, slots_of
from ..storage.artifacts import ID, Kept
from ..storage.shared_files import ANSWERS
from ..storage.upkeep import File, Referring, files, forget_files, referring, uploads
from .doctor import Finding

OURS = (WEIGHTS, INT8)


def look_at_files(store: Store, *, fix: bool) -> Iterator[Finding]:
    """What is wrong with the files of a store."""
    kept = list(store.artifacts.kept())  # before the database is asked, which knows of each file before it is there
    known = {file.id: file for file in files(store)}
    evaluations = referring(store)
    yield from _lost(store, kept, known, evaluations, fix=fix)
    yield from _left_over(store, kept, known, evaluations, fix=fix)
    yield from _answers(store, known, fix=fix)
    yield from _of_nobody(store, kept, known, evaluations, fix=fix)


def _lost(
    store: Store, kept: list[Kept], known: dict[str, File], evaluations: list[Referring], *, fix: bool
) -> Iterator[Finding]:
    """Weights that trials have, and that are not there or not what was written."""
    holders: defaultdict[str, list[Referring]] = defaultdict(list)
    for evaluation in evaluations:
        for artifact in (evaluation.weights, evaluation.quantized):
            if artifact is not None:
                holders[artifact].append(evaluation)
    there = {file.name for file in kept if not file.part}
    if len(holders) > 1 and there.isdisjoint(holders):
        what = f"none of the {len(holders)} files of its trials is there: bring it back, or say where it is"
        yield Finding("place", store.artifacts.where, f"{what} with --artifacts")
        return
    for artifact, of in holders.items():
        if (fault := _fault(store, artifact, known.get(artifact))) is None:
            continue
        if fix and ID.fullmatch(artifact):
            store.artifacts.remove(artifact)
        if fix:
            forget_files(store, [artifact])
        trials = ", ".join(f"trial {one.trial_number} of {one.study!r}" for one in of)
        yield Finding("weights", trials, f"the file {artifact} {fault}", fixed=fix)


def _fault(store: Store, artifact: str, known: File | None) -> str | None:
    """What is wrong with a file, or None."""
    if not ID.fullmatch(artifact):
        return "is outside of the artifact store"
    size = store.artifacts.size(artifact)
    if size is None:
        return "is missing"
    if known is None:  # of a release that kept no hashes
        return None
    content = store.artifacts.read(artifact)
    same = hashlib.sha256(content).hexdigest() == known.sha256
    return None if same else f"is not what was written: it has {size} bytes of {known.bytes}, or another hash"


def _left_over(
    store: Store, kept: list[Kept], known: dict[str, File], evaluations: list[Referring], *, fix: bool
) -> Iterator[Finding]:
    """Files of trials that have ended which they have no use for: checkpoints, and weights that came to nothing."""
    there, owned = {file.name for file in kept}, defaultdict(set)
    for file in known.values():
        if file.evaluation is not None and not file.name.startswith(VIEW):
            owned[file.evaluation].add(file.id)
    used = {artifact for one in evaluations for artifact in (one.weights, one.quantized)}
    for one in (one for one in evaluations if one.state in ENDED):
        slots = set(slots_of(one.token))
        of_no_use = (owned[one.id] - used) | (slots & there)
        if not of_no_use:
            continue
        if fix:
            store.drop_checkpoint(one.id)
        checkpoints = sum(known[a].name == CHECKPOINT if a in known else True for a in of_no_use)
        kind = "checkpoint" if checkpoints == len(of_no_use) else "leftover"
        what = f"it is {one.state}, and has {len(of_no_use)} files that it has no use for"
        yield Finding(kind, f"trial {one.trial_number} of {one.study!r}", what, fixed=fix)


def _answers(store: Store, known: dict[str, File], *, fix: bool) -> Iterator[Finding]:
    """What no trial owns, where it is lost or changed: teachers' answers, which are made anew when they are needed, and
    what final trainings keep, which are gone on with, or made anew, when they are asked for.
    """
    for file in known.values():
        if file.evaluation is not None or (what := _fault(store, file.id, file)) is None:
            continue
        if fix:
            store.remove_artifact(file.id)
        kind = ANSWERS if file.name == ANSWERS else "final"
        yield Finding(kind, f"the file {file.id}", what, fixed=fix)


def _of_nobody(
    store: Store, kept: list[Kept], known: dict[str, File], evaluations: list[Referring], *, fix: bool
) -> Iterator[Finding]:
    """Files that nothing in the database names; what people gave to optuna-dashboard is named there."""
    named = known.keys() | {artifact for one in evaluations for artifact in (one.weights, one.quantized)}
    named |= {slot for one in evaluations if one.state not in ENDED for slot in slots_of(one.token)}
    handled = {slot for one in evaluations if one.state in ENDED for slot in slots_of(one.token)}
    named |= {artifact for artifact, name in uploads(store).items() if name not in OURS}
    for file in kept:
        if file.name in named or (file.name in handled and not file.part) or not ID.fullmatch(file.name):
            continue
        if fix:
            store.artifacts.remove_kept(file)
        what = "was not written to its end" if file.part else "is of no trial"
        yield Finding("orphan", f"the file {file.part or file.name}", f"it {what} ({file.bytes:,} bytes)", fixed=fix)
