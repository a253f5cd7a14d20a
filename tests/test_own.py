"""The user's own code: blocks, factories of modules, functions and classes that suggest; and who may run it."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

import paretonas as pn
from paretonas import own
from paretonas.errors import ExportError, InvalidArchitecture, InvalidSpace, UntrustedCode, UsageError
from paretonas.objectives import macs, parameters
from paretonas.spaces import (
    Candidate,
    DataSpec,
    as_space,
    example_input,
    prune,
    shapes,
    space_from_json,
    space_to_json,
    write_source,
)

GRAY = DataSpec((1, 8, 8), 10)
BRIEF = pn.TrainingSpace(epochs=1, finetune_epochs=1)
BLOCK = '''
import math

import torch
from torch import nn

SCALE = math.sqrt(2)


class Doubled(nn.Module):
    """Two convolutions side by side, added."""

    def __init__(self, in_width: int, width: int, *, kernel: int = 3, uses: int = 1) -> None:
        super().__init__()
        self.left = nn.Conv2d(in_width, width, kernel, padding=kernel // 2)
        self.right = nn.Conv2d(in_width, width, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(uses))

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        return scaled(self.norms[use](self.left(x) + self.right(x)).relu())


def scaled(x: torch.Tensor) -> torch.Tensor:
    return x / SCALE
'''
FACTORY = '''
"""Networks of mine."""

from torch import nn


def make_net(width: int, depth: int = 1, bad: str = "no") -> nn.Module:
    if bad == "raises":
        raise ValueError(f"no net of width {width}")
    if bad == "number":
        return 3
    layers = [nn.Flatten()]
    features = 64
    for _ in range(depth):
        layers += [nn.Linear(features, width), nn.ReLU()]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, 10))


if __name__ == "__main__":
    raise SystemExit("not to be run by an import")
'''
SPACES = """
from dataclasses import dataclass
from typing import ClassVar

import paretonas as pn


def suggest(trial, data):
    width = trial.suggest_int("width", 2, 9)
    return data.architecture([pn.Block("flatten"), pn.Block("linear", width=width)])


def suggest_nothing(trial, data):
    return None


@dataclass(frozen=True, kw_only=True)
class Tiny(pn.Space):
    widths: pn.ChoiceLike = pn.Options((4, 8))

    name: ClassVar = "tiny"
    rules: ClassVar = {"widths": pn.Whole()}

    def suggest(self, trial, data):
        width = self.gene(trial, "widths", "width")
        return pn.Candidate(data.architecture([pn.Block("flatten"), pn.Block("linear", width=width)]))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Write a module of the user's, and import it; it is not trusted yet."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own, "_trusted", set())
    made = []

    def make(name: str, source: str) -> Any:
        (tmp_path / f"{name}.py").write_text(dedent(source), encoding="utf-8")
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        made.append(name)
        return importlib.import_module(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)


# names


def test_code_is_run_only_where_it_is_trusted(module: Callable[[str, str], Any]) -> None:
    """A name alone runs nothing; the message says how to allow it."""
    made = module("my_nets", FACTORY)
    with pytest.raises(UntrustedCode, match=r"my_nets:make_net is code .* allow it with --allow-code my_nets:make_net"):
        own.load("my_nets:make_net")
    own.trust(["my_nets:make_net"])
    assert own.load("my_nets:make_net") is made.make_net


def test_the_environment_can_trust(module: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are told by PARETONAS_TRUST."""
    made = module("my_nets", FACTORY)
    monkeypatch.setenv("PARETONAS_TRUST", "other:thing,my_nets:make_net")
    assert own.load("my_nets:make_net") is made.make_net


@pytest.mark.parametrize("name", ["my_nets", "my_nets:", ":make", "a b:c", "my.nets:a.b", "os:system()", "", 3])
def test_only_names_are_names(name: Any) -> None:
    """module:attribute, and nothing that could be more."""
    assert not own.is_own(name)
    with pytest.raises(UsageError, match="named as in"):
        own.load(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:x", "there is no module 'no_such_module'"),
        ("my_nets:make", "the module my_nets has no 'make'"),
        ("__main__:no_such_thing", "the script at work has no 'no_such_thing'"),
    ],
)
def test_what_is_not_there_is_named(module: Callable[[str, str], Any], name: str, message: str) -> None:
    """The module, or the name in it."""
    module("my_nets", FACTORY)
    own.trust([name])
    with pytest.raises(UsageError, match=message):
        own.load(name)


def test_a_name_inside_of_something_is_refused() -> None:
    """Another process could not find it."""

    def local() -> None:
        pass

    with pytest.raises(UsageError, match="move it to the top level"):
        own.name_of(local)


# a block


def test_an_own_block_does_all_that_a_block_does(module: Callable[[str, str], Any]) -> None:
    """Built, shared, pruned, counted, kept as JSON and exported with what it uses, from one file and one line."""
    block = pn.Block(module("my_blocks", BLOCK).Doubled, width=6)
    blocks = [block, block, block.replace(shares=1), pn.Block("max_pool"), pn.Block("global_average_pool")]
    candidate = Candidate(GRAY.architecture(blocks), 0.5)
    assert Candidate.from_json(json.loads(json.dumps(candidate.to_json()))).key == candidate.key
    network = pn.build(candidate.architecture, seed=0)
    assert parameters(network) == (60 + 12) + (330 + 42) + 3 * 12 + 70
    pruned = prune(network, candidate.deployed)
    assert parameters(pruned) == (30 + 6) + (84 + 12) + 3 * 6 + 40
    assert macs(candidate.deployed) == 64 * 3 * 10 + 2 * 64 * 9 * 10 + 30
    source = write_source(candidate.deployed, "A net.")
    assert "import math" in source
    assert source.index("def scaled") > source.index("class Doubled")
    names: dict[str, Any] = {}
    exec(compile(source, "net.py", "exec"), names)  # noqa: S102
    other = names["Net"]().eval()
    other.load_state_dict(pruned.state_dict())
    x = example_input(GRAY, 3)
    assert torch.equal(other(x), pruned.eval()(x))


def test_an_own_block_that_is_not_trusted_can_be_looked_at(module: Callable[[str, str], Any]) -> None:
    """Its data can be read, its code is not run."""
    block = pn.Block(module("my_blocks", BLOCK).Doubled, width=6)
    data = GRAY.architecture([block, pn.Block("global_average_pool")]).to_json()
    own._trusted.clear()
    read = pn.Architecture.from_json(data)
    assert str(read) == "my_blocks:Doubled6 · global_average_pool"
    with pytest.raises(UntrustedCode):
        pn.build(read)


def test_an_own_block_whose_definitions_clash_is_refused(module: Callable[[str, str], Any]) -> None:
    """One file can hold one thing of a name."""
    made = module("my_blocks", BLOCK.replace("scaled", "make_activation"))
    blocks = [pn.Block("conv", width=3), pn.Block(made.Doubled, width=6), pn.Block("global_average_pool")]
    with pytest.raises(ExportError, match="two blocks of this network define 'make_activation'"):
        write_source(GRAY.architecture(blocks), "")


# a factory


def test_a_factory_is_searched_stored_and_exported(module: Callable[[str, str], Any], url: str, tmp_path: Path) -> None:
    """Genes for its arguments, a study, and a file that another program uses."""
    module("my_nets", FACTORY)
    space = pn.ModuleSpace("my_nets:make_net", width=[4, 8, 16], depth=(1, 2), training=BRIEF)
    study = pn.create_study("own", space=space, objectives=["accuracy", "parameters"], storage=url)
    study.optimize(4, show_progress=False)
    assert {trial.state for trial in study.trials} == {"complete"}
    best = study.pick("best")
    assert best.values["parameters"] == parameters(best.load())
    folder = best.export(tmp_path / "out")
    program = """
import torch, net
from safetensors.torch import load_file
network = net.Net()
network.load_state_dict(load_file("net.safetensors"))
assert network.eval()(torch.rand(3, 1, 8, 8)).shape == (3, 10)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_factory_that_fails_makes_infeasible_trials(module: Callable[[str, str], Any], url: str) -> None:
    """What raises, or gives no module, is recorded with its reason; the search goes on."""
    module("my_nets", FACTORY)
    space = pn.ModuleSpace("my_nets:make_net", width=[4, 8], bad=["no", "raises", "number"], training=BRIEF)
    study = pn.create_study("own", space=space, objectives=["accuracy", "parameters"], storage=url)
    study.optimize(6, show_progress=False)
    reasons = {str(trial.reason) for trial in study.trials}
    assert "None" in reasons
    assert any("no net of width" in reason for reason in reasons)
    assert any("gives an nn.Module, my_nets:make_net gave int" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ({"wide": 3}, "unknown argument of my_nets:make_net 'wide'"),
        ({"depth": 2}, "my_nets:make_net needs width"),
        ({"width": []}, "ModuleSpace.width: a list of options has at least one"),
        ({"width": {"low": 1}}, "ModuleSpace.width: a choice is"),
    ],
)
def test_genes_that_a_factory_does_not_take_are_refused(
    module: Callable[[str, str], Any], url: str, genes: dict[str, Any], message: str
) -> None:
    """Before anything is tried."""
    module("my_nets", FACTORY)
    with pytest.raises(InvalidSpace, match=message):
        pn.create_study("own", space=pn.ModuleSpace("my_nets:make_net", **genes), storage=url)


def test_a_module_is_not_pruned(module: Callable[[str, str], Any]) -> None:
    """Only what is described block by block is."""
    made = module("my_nets", FACTORY)
    candidate = pn.ModuleSpace(made.make_net, width=4).sample(GRAY)
    assert candidate.deployed == candidate.architecture
    with pytest.raises(UsageError, match="no units and no layers of a module of your own leave"):
        Candidate(candidate.architecture, 0.5)


def test_arguments_are_data_in_the_exported_file(module: Callable[[str, str], Any]) -> None:
    """A text with quotes, backslashes and line breaks comes back as it was; a name that is none is refused."""
    made = module("my_nets", FACTORY)
    word = 'a"b\\\nraise SystemExit()\u00e9#\U0001f600'
    architecture = pn.ModuleSpace(made.make_net, width=4, bad=word).sample(GRAY).architecture
    names: dict[str, Any] = {}
    exec(write_source(architecture, ""), names)  # noqa: S102
    names["make_net"] = lambda **arguments: arguments
    assert names["Net"]() == {"width": 4, "bad": word}
    data = architecture.to_json()
    data["arguments"] = {"width=raise_it(), other": 3}
    with pytest.raises(InvalidArchitecture, match="an argument is a name and a JSON value"):
        Candidate.from_json({"architecture": data, "pruning": 0.0, "training": {}})


def test_a_thing_called_net_cannot_be_exported(module: Callable[[str, str], Any]) -> None:
    """The file's own network is called so."""
    made = module("my_nets", FACTORY.replace("make_net", "Net"))
    with pytest.raises(ExportError, match="called Net"):
        write_source(pn.ModuleSpace(made.Net, width=4).sample(GRAY).architecture, "")


def test_an_own_block_can_be_without_a_width(module: Callable[[str, str], Any]) -> None:
    """What leaves it is seen by running it; its channels stay whole in pruning."""
    source = """
    from torch import nn

    class Shuffled(nn.PixelShuffle):
        def __init__(self, factor: int = 2) -> None:
            super().__init__(factor)
    """
    blocks = [
        pn.Block("conv", width=8),
        pn.Block(module("my_blocks", source).Shuffled),
        pn.Block("conv", width=6),
        pn.Block("global_average_pool"),
    ]
    candidate = Candidate(GRAY.architecture(blocks), 0.5)
    assert shapes(candidate.architecture)[2] == (2, 16, 16)
    assert str(candidate.deployed) == "conv8 · my_blocks:Shuffled · conv3 · global_average_pool, relu"
    assert prune(pn.build(candidate.architecture), candidate.deployed)(example_input(GRAY, 2)).shape == (2, 10)


def test_a_shared_own_block_that_is_not_trusted_can_be_looked_at(module: Callable[[str, str], Any]) -> None:
    """Reading a store runs nothing, and loses nothing."""
    block = pn.Block(module("my_blocks", BLOCK).Doubled, width=1)
    data = GRAY.architecture([block, block.replace(shares=0), pn.Block("global_average_pool")]).to_json()
    own._trusted.clear()
    assert "(shared)" in str(pn.Architecture.from_json(data))
    with pytest.raises(UntrustedCode):
        _ = Candidate(pn.Architecture.from_json(data), 0.5).deployed


def test_an_error_in_own_code_is_its_own(module: Callable[[str, str], Any], tmp_path: Path) -> None:
    """A module that fails when it is imported says so itself."""
    module("my_nets", FACTORY)
    (tmp_path / "broken.py").write_text("import os\nos.no_such_thing\n", encoding="utf-8")
    own.trust(["broken:net"])
    with pytest.raises(AttributeError, match="no_such_thing"):
        own.load("broken:net")


# functions and classes


def test_a_function_is_a_space(module: Callable[[str, str], Any], url: str) -> None:
    """It is asked as in Optuna, and found again by its name."""
    made = module("my_spaces", SPACES)
    study = pn.create_study("own", space=made.suggest, objectives=["accuracy", "parameters"], storage=url)
    assert space_to_json(study.definition.space)["function"] == "my_spaces:suggest"
    assert str(study.definition.space.sample(GRAY).architecture).startswith("flatten · linear")
    with pytest.raises(InvalidArchitecture, match=r"my_spaces:suggest_nothing gives a Candidate .* gave NoneType"):
        as_space(made.suggest_nothing).sample(GRAY)


def test_a_class_is_a_space(module: Callable[[str, str], Any], url: str) -> None:
    """A space of the user's own comes back from the store by its name, if it is trusted."""
    made = module("my_spaces", SPACES)
    study = pn.create_study("own", space=made.Tiny(widths=[2, 3]), objectives=["accuracy", "parameters"], storage=url)
    assert pn.load_study("own", storage=url).definition.space == made.Tiny(widths=[2, 3])
    data = space_to_json(study.definition.space)
    assert data["type"] == "my_spaces:Tiny"
    own._trusted.clear()
    with pytest.raises(UntrustedCode):
        space_from_json(data)


def test_what_is_no_space_is_refused() -> None:
    """A space, a function or a table."""
    with pytest.raises(InvalidSpace, match="such as ConvSpace"):
        as_space("conv")
    with pytest.raises(InvalidSpace, match="unknown search space"):
        as_space({"type": "cnov"})
    own.trust(["json:JSONDecoder"])
    with pytest.raises(InvalidSpace, match="json:JSONDecoder is"):
        space_from_json({"type": "json:JSONDecoder"})


@pytest.mark.long
def test_a_script_searches_its_own_factory_with_two_workers(
    module: Callable[[str, str], Any], tmp_path: Path, cli: Callable[..., Any]
) -> None:
    """Workers are processes of their own; they find the module in the folder and may run what the script named."""
    module("my_nets", FACTORY)
    script = """
import paretonas as pn
space = pn.ModuleSpace("my_nets:make_net", width=[4, 8, 16], training=pn.TrainingSpace(epochs=1))
study = pn.create_study("own", space=space, objectives=["accuracy", "parameters"], storage="sqlite:///nas.db")
study.optimize(3, workers=2, show_progress=False)
assert [trial.state for trial in study.trials] == ["complete"] * 3
"""
    (tmp_path / "search_it.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "search_it.py"],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    again = ("pick", "best", "--storage", f"sqlite:///{tmp_path / 'nas.db'}")
    asked = cli(*again)
    assert asked.returncode == 2
    assert "allow it with --allow-code my_nets:make_net" in asked.stderr
    assert cli(*again, "--allow-code", "my_nets:make_net").returncode == 0


def test_a_factory_that_takes_any_name_is_asked_by_any(module: Callable[[str, str], Any]) -> None:
    """``**kwargs`` is a name for all."""
    made = module("my_nets", "from torch import nn\ndef make_net(**sizes):\n    return nn.Linear(64, sizes['out'])\n")
    assert pn.ModuleSpace(made.make_net, out=10).share_that_fits(GRAY) == 1.0


def test_a_gene_cannot_be_called_training() -> None:
    """The word is taken in a study file too."""
    with pytest.raises(InvalidSpace, match="cannot be called training"):
        as_space({"type": "module", "factory": "my_nets:make_net", "genes": {"training": 3}})


def test_a_block_without_annotations_is_refused(module: Callable[[str, str], Any]) -> None:
    """The message says what to write."""
    made = module("my_other_blocks", BLOCK.replace(" width: int, *", " width, *"))
    with pytest.raises(InvalidArchitecture, match="annotate it, as width: int"):
        pn.Block(made.Doubled, width=3)


def test_a_module_with_tied_weights_is_kept(module: Callable[[str, str], Any], url: str) -> None:
    """One parameter under two names is counted once, saved, and tied again when loaded."""
    source = """
    from torch import nn

    def make_tied(width: int) -> nn.Module:
        first, second = nn.Linear(64, 64), nn.Linear(64, 64)
        second.weight = first.weight
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.Linear(64, 10))
    """
    space = pn.ModuleSpace(module("my_tied", source).make_tied, width=1, training=BRIEF)
    study = pn.create_study("tied", space=space, objectives=["accuracy", "parameters"], storage=url)
    study.optimize(1, show_progress=False)
    (trial,) = study.trials
    assert trial.values["parameters"] == 64 * 64 + 64 + 64 + 650
    layers = list(trial.load().children())
    assert layers[1].weight is layers[3].weight
