"""Parts of ``compression.py`` in which something leaves a trained network: units, weights, layers."""

import copy
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from compression_setup import (  # type: ignore[import-not-found]
    MARGIN,
    Setting,
    Table,
    fastest_ms,
    latency_ratio,
    sample,
)

import paretonas as pn
from paretonas.objectives import (
    COUNTED,
    Deployed,
    Lesson,
    Teacher,
    cheapest_layers,
    loss_gradients,
    train,
)
from paretonas.search.delivery.export import agrees
from paretonas.search.evaluate import evaluate
from paretonas.spaces import (
    Move,
    Network,
    Start,
    example_input,
    global_target,
    moved,
    prune,
    pruned_architecture,
    unit_scores,
    write_source,
)
from paretonas.spaces.importance import CRITERIA
from paretonas.spaces.pruning import SCOPES
from paretonas.storage import weights_in_bytes

ALLOWED = 0.01  # of accuracy, that global pruning of half the units may lose
HALF = "0.5"
UNPRUNED = ("unpruned", "0")


@dataclass(frozen=True)
class Extent:
    """How much is run."""

    seeds: int
    ratios: tuple[float, ...] = (0.3, 0.5, 0.7)
    criteria: tuple[str, ...] = CRITERIA
    quick: bool = False


def structured(setting: Setting, extent: Extent, table: Table) -> None:
    """Units leave: each criterion, ratio and scope, on one trained network a seed; and that size from scratch."""
    for seed in range(extent.seeds):
        trained = setting.trained(seed)
        networks = {UNPRUNED: trained}
        gradients = list(loss_gradients(trained, setting.data, seed=seed))
        for criterion in extent.criteria:
            scores = unit_scores(trained, criterion, gradients=gradients, seed=seed)
            for scope, ratio in product(SCOPES, extent.ratios):
                if scope == "layer":
                    target = pruned_architecture(trained.architecture, ratio)
                else:
                    target = global_target(trained.architecture, scores, ratio)
                small = prune(trained, target, scores)
                check_size(small, target)
                networks[f"{scope} {criterion}", str(ratio)] = small
        for scope, criterion in product(SCOPES, ("l1", "taylor")):
            networks[f"{scope} {criterion}, self-distilled", HALF] = copy.deepcopy(
                networks[f"{scope} {criterion}", HALF]
            )
        for (method, _), network in networks.items():
            if network is not trained:
                finetune(network, setting, seed=seed, teacher=trained if "distilled" in method else None)
        epochs = setting.training.epochs + setting.training.finetune_epochs
        for method in ("layer l1", "global l1", "global taylor"):
            target = networks[method, HALF].architecture
            networks[f"{method}: this size from scratch", HALF] = setting.fresh(target, seed=seed, epochs=epochs)
        keep(table, setting, networks)
    verdict(setting, table)


def check_size(network: Network, target: pn.Architecture) -> None:
    """The measured parameters are those that the pruned architecture says, exactly."""
    with torch.device("meta"):
        said = sum(parameter.numel() for parameter in pn.build(target).parameters())
    measured = COUNTED["parameters"].count(Deployed(network, target)).value
    assert network.architecture == target
    assert measured == said, f"{target} says {said} parameters, {measured} were measured"


def check_export(network: Network) -> None:
    """The written source with the saved weights gives the network's outputs, bit for bit."""
    with tempfile.TemporaryDirectory() as folder:
        source, weights = Path(folder) / "net.py", Path(folder) / "net.safetensors"
        source.write_text(write_source(network.architecture, "A pruned network."), encoding="utf-8")
        weights.write_bytes(weights_in_bytes(network.architecture, network.state_dict()))
        assert agrees(network.eval(), network.architecture, source, weights), (
            f"{network.architecture} is exported badly"
        )


def finetune(network: Network, setting: Setting, *, seed: int, teacher: Network | None = None) -> None:
    """Fine-tune in place, with the network that it was as its teacher if that is given."""
    lesson = None if teacher is None else Lesson(Teacher(teacher, setting.data), 0.5)
    for _ in train(network, setting.data, setting.training, seed=seed, phase="finetune", lesson=lesson):
        pass
    network.eval()


def keep(table: Table, setting: Setting, networks: Mapping[tuple[str, str], Network]) -> None:
    """Time all networks in turns, check their exports, and put them into the table."""
    whole = networks[UNPRUNED]
    times = fastest_ms({key: each.eval() for key, each in networks.items()}, example_input(whole.architecture, 1))
    for (method, ratio), network in networks.items():
        latency = times[method, ratio] / times[UNPRUNED]
        for _ in range(3):
            if latency > 1 + MARGIN and ratio >= HALF:
                latency = min(latency, latency_ratio(network, whole, whole.architecture))
        check_export(network)
        found = sample(Deployed(network, network.architecture), setting, latency)
        table.add(setting.name, method, ratio, found)


def verdict(setting: Setting, table: Table) -> None:
    """Whether half of the units can leave: what it costs, how it compares with training that size, and the clock."""
    name = setting.name
    whole = table.accuracies(name, *UNPRUNED)
    scratch = {
        method: table.accuracies(name, f"{method}: this size from scratch", HALF)
        for method in ("layer l1", "global l1", "global taylor")
    }
    for network, method, ratio in list(table.rows):
        if network != name or ratio != HALF or "scratch" in method:
            continue
        found = table.accuracies(network, method, ratio)
        change = [new - old for new, old in zip(found, whole, strict=True)]
        table.note(network, method, ratio, f"{100 * statistics.mean(change):+.1f} points")
    for method in ("global l1", "global taylor"):
        for kind in ("", ", self-distilled"):
            found = statistics.mean(table.accuracies(name, method + kind, HALF))
            lost, gain = statistics.mean(whole) - found, found - statistics.mean(scratch[method])
            what = f"{name}, {method}{kind} at 0.5"
            table.goal(f"{what}: loses {100 * lost:.1f} points (goal 1.0)", reached=lost <= ALLOWED)
            table.goal(f"{what}: {100 * gain:+.1f} points to that size from scratch", reached=gain > 0)
    slow = {
        method: worst
        for (network, method, ratio), rows in table.rows.items()
        if network == name and ratio == HALF
        and (worst := statistics.median([row.latency for row in rows])) > 1 + MARGIN
    }  # fmt: skip
    table.goal(
        f"{name}: latency at 0.5 is at most that of the unpruned (margin {MARGIN}) {slow or ''}", reached=not slow
    )


def sparse(setting: Setting, extent: Extent, table: Table) -> None:
    """Weights become zero and stay so: at once, gradually, and with the weights rewound."""
    for seed in range(extent.seeds):
        trained = setting.trained(seed)
        networks = {("dense", "0"): trained}
        for share in (0.5, 0.8, 0.9):
            for method, recipe in {
                "global": pn.Compression(sparsity=share),
                "layer": pn.Compression(sparsity=share, pattern="layer"),
                "global, gradual": pn.Compression(sparsity=share, schedule="gradual"),
                "global, rewound": pn.Compression(sparsity=share, schedule="rewind"),
            }.items():
                networks[method, str(share)] = compressed(setting, trained, recipe, seed)
        networks["2:4", "0.5"] = compressed(setting, trained, pn.Compression(pattern="2:4"), seed)
        times = fastest_ms(networks, example_input(trained.architecture, 1))
        for key, network in networks.items():
            found = sample(Deployed(network, trained.architecture), setting, times[key] / times["dense", "0"])
            table.add(setting.name, *key, found)
    ratios = [
        row.latency
        for (network, *_), rows in table.rows.items()
        if network == setting.name
        for row in rows
        if row.latency is not None
    ]
    print(
        f"{setting.name}: zeros make nothing faster, as they are multiplied too: latency ratios from {min(ratios):.2f} "
        f"to {max(ratios):.2f}, median {statistics.median(ratios):.2f}",
        flush=True,
    )


def compressed(setting: Setting, trained: Network, recipe: pn.Compression, seed: int) -> Network:
    """What the search makes of a trained network; one that rewinds is trained anew, as its early weights are needed."""
    start = None if recipe.rewinds else Start(0, "trained before")
    candidate = pn.Candidate(trained.architecture, training=setting.training, compression=recipe, start=start)
    result = evaluate(candidate, setting.data, ["accuracy"], seed=seed, start=trained if start else None)
    assert isinstance(result.deployed.network, Network)
    return result.deployed.network


def layers(setting: Setting, extent: Extent, table: Table) -> None:
    """One and two layers leave, those whose removal costs the least loss or those that change least."""
    epochs = setting.training.epochs + setting.training.finetune_epochs
    for seed in range(extent.seeds):
        trained = setting.trained(seed)
        networks = {UNPRUNED: trained}
        for by, count in product(("loss", "similarity"), (1, 2)):
            small, steps = trained, f"{count} layers" if count > 1 else "1 layer"
            for layer in cheapest_layers(trained, setting.data, count, by=by):
                small = moved(small, Move("remove_layer", layer))
            networks[f"{steps} by {by}, not fine-tuned", "0"] = copy.deepcopy(small)
            finetune(small, setting, seed=seed)
            networks[f"{steps} by {by}", "0"] = small
            if by == "loss":
                scratch = setting.fresh(small.architecture, seed=seed, epochs=epochs)
                networks[f"{steps} by {by}: this size from scratch", "0"] = scratch
        keep(table, setting, networks)
    whole = table.accuracies(setting.name, *UNPRUNED)
    for network, method, ratio in list(table.rows):
        if network == setting.name and method != UNPRUNED[0]:
            change = statistics.mean(table.accuracies(network, method, ratio)) - statistics.mean(whole)
            table.note(network, method, ratio, f"{100 * change:+.1f} points")
