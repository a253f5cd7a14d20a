"""Parts of ``compression.py`` in which a network learns from a teacher, is stored in bytes, or grows."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from compression_setup import (  # type: ignore[import-not-found]
    Setting,
    Table,
    built,
    conv,
    data_of,
    fastest_ms,
    learn,
    mlp,
    sample,
    transformer,
)
from compression_shrinking import Extent  # type: ignore[import-not-found]

import paretonas as pn
from paretonas.objectives import Deployed, Lesson, OnnxNetwork, Split, Teacher, quantize_for, to_onnx, train
from paretonas.search.evaluate import evaluate
from paretonas.spaces import Move, Network, Start, example_input, moved, possible_moves

FEW = 150  # labelled rows
INT8_SHARE = 0.3  # of the fp32 weight bytes
INT8_LOSS = 0.005  # of accuracy
GOOD_FOR = {"conv": "static", "mlp": "dynamic", "transformer": "dynamic"}
SAME = 1e-5  # largest difference of an output after growth
STUDENTS: dict[str, Callable[[str], list[pn.Block]]] = {
    "conv": lambda task: conv(task, 4, 8),
    "transformer": lambda task: transformer(task, 16, 1),
    "mlp": lambda _: [pn.Block("flatten"), pn.Block("linear", width=16)],
}


@dataclass(frozen=True)
class Way:
    """How a student learns. weight: of the teacher's answers. features: of its features."""

    name: str
    weight: float = 0.0
    features: float = 0.0


WAYS = (
    Way("labels alone"),
    Way("teacher 0.5", 0.5),
    Way("teacher 0.9", 0.9),
    Way("teacher 0.9, features", 0.9, 0.1),
)


def distillation(setting: Setting, extent: Extent, table: Table) -> None:
    """Small students of a large teacher, with few labels and with all; the same students and epochs without it.

    The teacher learned from all labels. With few labels the student sees no other rows, so the teacher's answers to
    these are all that it gets more.
    """
    whole = setting.data
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(whole.train), generator=generator)[:FEW]
    assert isinstance(whole.train, Split)
    assert isinstance(whole.train.y, torch.Tensor)
    few = replace(whole, train=Split(whole.train.x[rows], whole.train.y[rows]))
    teacher = data_setting(setting).trained(0)
    table.add(setting.name, "the teacher", "", sample(Deployed(teacher, teacher.architecture), setting))
    for labels, data in ((f"{FEW} labels", few), (f"{len(whole.train)} labels", whole)):
        training = replace(setting.training, batch_size=32, epochs=60) if data is few else setting.training
        if extent.quick:
            training = replace(training, epochs=2)
        shown = Teacher(teacher, data)
        for seed in range(max(5, extent.seeds) if not extent.quick else 1):
            for way in WAYS:
                student = built(whole.spec.architecture(STUDENTS[setting.family](setting.task)), seed)
                lesson = Lesson(shown, way.weight, features=way.features) if way.weight else None
                for _ in train(student, data, training, seed=seed, lesson=lesson):
                    pass
                found = sample(Deployed(student.eval(), student.architecture), setting)
                table.add(setting.name, f"student, {labels}, {way.name}", "", found)
        _note_gains(table, setting.name, labels)


def data_setting(setting: Setting) -> Setting:
    """Who teaches: a residual convolutional network, which is the best there is for these tasks."""
    return replace(setting, family="conv")


def _note_gains(table: Table, name: str, labels: str) -> None:
    """What each way gives more than labels alone, seed by seed."""
    alone = table.accuracies(name, f"student, {labels}, {WAYS[0].name}", "")
    for way in WAYS[1:]:
        method = f"student, {labels}, {way.name}"
        gains = [100 * (new - old) for new, old in zip(table.accuracies(name, method, ""), alone, strict=True)]
        mean, std = statistics.mean(gains), statistics.stdev(gains) if len(gains) > 1 else 0.0
        better = sum(gain > 0 for gain in gains)
        table.note(name, method, "", f"{mean:+.1f} ± {std:.1f} points, better in {better} of {len(gains)}")
        if str(FEW) in labels and way.weight == WAYS[2].weight and not way.features:
            table.goal(f"{name}, {labels}: a student gains {mean:+.1f} ± {std:.1f} by its teacher", reached=mean > 0)


def int8(setting: Setting, extent: Extent, table: Table) -> None:
    """Bytes instead of floats, in each way, against fp32 on the same runtime and in torch."""
    for seed in range(extent.seeds):
        trained = setting.trained(seed)
        architecture, data = trained.architecture, setting.data
        example = example_input(architecture, 1)
        float_model = OnnxNetwork(to_onnx(trained, example_input(architecture, 2)))
        deployed = {
            "fp32, torch eager": Deployed(trained, architecture),
            "fp32, ONNX Runtime": Deployed(trained, architecture, float_model),
            **{
                f"int8 {method}": Deployed(trained, architecture, quantize_for(trained, data, method=method))
                for method in ("static", "dynamic", "weight_only")
            },
            "int8 static, quantization-aware": aware(setting, trained, seed),
        }
        times = fastest_ms({name: each.answering for name, each in deployed.items()}, example)
        for name, each in deployed.items():
            to_float = None if each.quantized is None else times[name] / times["fp32, ONNX Runtime"]
            found = sample(each, setting, to_float, times[name] / times["fp32, torch eager"])
            table.add(setting.name, name, "", found)
    _note_int8(table, setting.name, setting.family)


def aware(setting: Setting, trained: Network, seed: int) -> Deployed:
    """Fine-tuned with the rounding in sight, then quantized."""
    candidate = pn.Candidate(
        trained.architecture,
        training=setting.training,
        compression=pn.Compression(bits=8, quantization_aware=True),
        start=Start(0, "trained before"),
    )
    return evaluate(candidate, setting.data, ["accuracy"], seed=seed, start=trained).deployed


def _note_int8(table: Table, name: str, family: str) -> None:
    """What each way takes and costs, and whether the one that suits such networks reaches the goals."""
    floats = table.rows[name, "fp32, torch eager", ""]
    whole = statistics.mean(table.accuracies(name, "fp32, torch eager", ""))
    for network, method, ratio in list(table.rows):
        if network != name or "int8" not in method:
            continue
        found = table.rows[network, method, ratio]
        share = statistics.mean(row.weight_bytes for row in found) / floats[0].weight_bytes
        change = statistics.mean(table.accuracies(network, method, ratio)) - whole
        table.note(network, method, ratio, f"weights {share:.2f} of fp32, {100 * change:+.2f} points")
        if method == f"int8 {GOOD_FOR[family]}":
            slower = statistics.median([row.latency for row in found])
            table.goal(f"{name}, {method}: weight bytes {share:.2f} of fp32 (goal 0.3)", reached=share <= INT8_SHARE)
            table.goal(f"{name}, {method}: {100 * change:+.2f} points (goal -0.5)", reached=change >= -INT8_LOSS)
            table.goal(f"{name}, {method}: latency {slower:.2f} of fp32 there (goal 1)", reached=slower <= 1)


def growth(_: Setting, extent: Extent, table: Table) -> None:
    """Networks that grow answer as before: with a layer more in each place, and widened."""
    for name, architecture in grown_architectures():
        setting = Setting("digits", "conv", pn.Training(epochs=2))
        for seed in range(extent.seeds):
            network = built(architecture, seed)
            if architecture.vocabulary is None:
                learn(network, setting, seed=seed, training=setting.training)  # statistics that are not 0 and 1
            example = example_input(architecture, 8)
            with torch.inference_mode():
                before = network.eval()(example)
            places = [move for move in possible_moves(architecture) if move.kind == "insert_layer"]
            ways = {("insert a layer", ""): places}
            ways |= {("widen", f"{ratio:g}"): [Move("widen", ratio=ratio)] for ratio in (1.5, 2.0)}
            for (method, ratio), moves in ways.items():
                grown = [moved(network, move).eval() for move in moves]
                with torch.inference_mode():
                    differences = [float((each(example) - before).abs().max()) for each in grown]
                _add_growth(table, (name, method, ratio), grown, max(differences))


def _add_growth(table: Table, key: tuple[str, str, str], grown: list[Network], difference: float) -> None:
    """A row of the last of the grown networks, with the largest difference so far of all of them."""
    worst = max(difference, float(table.notes[key].split()[2]) if key in table.notes else 0.0)
    places = f" in {len(grown)} places" if len(grown) > 1 else ""
    table.add(*key, sample(Deployed(grown[-1], grown[-1].architecture), None))
    table.note(*key, f"largest difference {worst:.1e}{places}")
    if difference >= SAME:
        table.goal(f"{key[0]}, {key[1]}: differs by {difference:.1e} (goal {SAME})", reached=False)


def grown_architectures() -> Iterator[tuple[str, pn.Architecture]]:
    """Networks with residuals, each normalisation, squeeze and excitation, and sharing."""
    spec = data_of("digits").spec
    first, layer = pn.Block("conv", width=16), pn.Block("transformer", heads=2, head_width=8, hidden=32)
    patches = pn.Block("patches2d", width=16, size=2, length=16)
    ends = [pn.Block("sequence_norm"), pn.Block("mean_positions")]
    shared = pn.Block("transformer", heads=2, head_width=8, hidden=32, shares=1)
    inverted = pn.Block("inverted_residual", width=16, hidden=32, squeeze=4, skip="identity")
    pool = pn.Block("global_average_pool")
    yield "residual, batch norm", spec.architecture(conv("digits", 12, 16))
    yield "inverted residual, squeeze", spec.architecture([first, inverted, inverted, pool])
    yield "conv, shared", spec.architecture([first, first, pn.Block("conv", width=16, shares=1), pool])
    yield "mlp, batch norm", spec.architecture(mlp("digits"))
    yield "transformer", spec.architecture(transformer("digits", 16, 2))
    yield "transformer, shared", spec.architecture([patches, layer, shared, shared, *ends])
    words = pn.DataSpec((16,), 50, vocabulary=50, per_position=True)
    embedding = pn.Block("embedding", width=16, vocabulary=50, length=16)
    causal = pn.Block("transformer", heads=2, head_width=8, hidden=32, causal=True)
    decoder = [embedding, causal, causal, pn.Block("sequence_norm")]
    yield "decoder, tied", words.architecture(decoder, (pn.Head(50, tied=0),))
