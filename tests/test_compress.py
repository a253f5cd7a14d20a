"""A trained module of the user's own, made small with one call, kept, and brought back."""

import copy
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch_pruning
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformer

from paretonas.errors import ExportError, UsageError
from paretonas.objectives import Digits, OnnxNetwork, loss_gradients, parameters, quality, train
from paretonas.search.compress import compress
from paretonas.search.compressed import Compressed, restore
from paretonas.search.data import load_data
from paretonas.spaces import Architecture, Block, Head, Network, Training, build, unit_scores
from paretonas.spaces.importance import CRITERIA
from paretonas.spaces.module_groups import module_groups
from paretonas.spaces.module_importance import module_scores
from paretonas.spaces.module_pruning import channels, prunable_groups, pruned_within, without

Cli = Callable[..., subprocess.CompletedProcess[str]]


class Residual(nn.Module):
    """Two convolutions around which the sum goes, as in torchvision's basic block."""

    def __init__(self, came: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(came, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.side = nn.Sequential(nn.Conv2d(came, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.second(self.norm1(self.first(x)).relu()))
        return (inner + self.side(x)).relu()  # type: ignore[no-any-return]


class SmallResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.stages = nn.Sequential(Residual(8, 16, 1), Residual(16, 32, 2))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)).mean((2, 3)))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """A transformer layer with fused queries, keys and values, and learned positions."""

    def __init__(self, width: int = 16, length: int = 6) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.positions = nn.Parameter(torch.randn(1, length, width))
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 40), nn.Linear(40, width)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.positions
        rows, length, _ = x.shape
        q, k, v = (part.view(rows, length, 4, -1).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        seen = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(seen.transpose(1, 2).reshape(rows, length, -1))
        return self.head((x + self.down(self.up(x).relu())).mean(1))  # type: ignore[no-any-return]


class TiedLanguage(nn.Module):
    """The head has the weight of the embedding, as in most language models."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.up, self.down = nn.Linear(16, 40), nn.Linear(40, 16)
        self.norm = nn.RMSNorm(16)
        self.head = nn.Linear(16, 30, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head(self.norm(x + self.down(self.up(x).relu())))  # type: ignore[no-any-return]


class TiedLayers(nn.Module):
    """Two layers in a row that have one weight: a unit that leaves one would leave another of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x.flatten(1)).relu()).relu())  # type: ignore[no-any-return]


class Detached(nn.Module):
    """Its first layer computes outside of autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.head(self.hidden(x.flatten(1)).relu())  # type: ignore[no-any-return]


class Joined(nn.Module):
    """Two branches side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(3, 6, 1)
        self.head = nn.Conv2d(14, 5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.joined(x)).flatten(1)  # type: ignore[no-any-return]

    def joined(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], 1).relu()


class JoinedInARow(Joined):
    """The same with a linear head, which torch-pruning 1.6.1 takes for one that reads the left branch alone."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(14 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.joined(x).flatten(1))  # type: ignore[no-any-return]


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 10))


def grouped() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.GroupNorm(4, 16),
        nn.PReLU(16),
        nn.Conv2d(16, 12, 1, groups=4),
        nn.Conv2d(12, 12, 2, groups=12),
        nn.Flatten(),
        nn.Linear(12, 5),
    )


def upward() -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(3, 8, 2, 2), nn.InstanceNorm2d(8, affine=True), nn.Conv2d(8, 5, 8))


IMAGE, TABLE = torch.rand(3, 3, 4, 4), torch.rand(3, 1, 8, 8)
MODULES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "mlp": (mlp, TABLE),
    "resnet": (SmallResNet, TABLE),
    "joined": (Joined, IMAGE),
    "grouped": (grouped, IMAGE),
    "upward": (upward, IMAGE),
    "attention": (Attention, torch.rand(3, 6, 8)),
    "tied": (TiedLanguage, torch.randint(30, (3, 6))),
}


def same_state(one: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether a module has these tensors, bit for bit."""
    mine = one.state_dict()
    return mine.keys() == state.keys() and all(torch.equal(mine[name], state[name]) for name in state)


@pytest.fixture(scope="module")
def trained() -> SmallResNet:
    """A residual network that knows the digits. To be read only."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SmallResNet()
    list(train(network, load_data(Digits()), Training(epochs=5), seed=0))
    return network.eval()


@pytest.fixture(scope="module")
def small(trained: SmallResNet) -> Compressed:
    """It, compressed to 40 % of its parameters and int8. To be read only."""
    return compress(trained, "digits", max_parameters=0.4 * parameters(trained), epochs=4, show_progress=False)


@pytest.fixture(scope="module")
def folder(small: Compressed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, exported. To be read only."""
    return small.export(tmp_path_factory.mktemp("small") / "out")


def test_a_module_is_brought_within_its_bound_and_stays_good(trained: SmallResNet, small: Compressed) -> None:
    """Parameters, MACs and bytes are fewer, counted on what is left, and at most 3 points of accuracy are lost."""
    assert small.after["parameters"] == parameters(small.module) <= 0.4 * parameters(trained)
    assert small.before["parameters"] == parameters(trained)
    assert small.after["macs"] < small.before["macs"]
    assert small.quantized is not None
    assert small.after["size_bytes"] == small.quantized.weight_bytes < 0.2 * small.before["size_bytes"]
    assert small.after["test_accuracy"] > small.before["test_accuracy"] - 0.03
    assert small.after.keys() == small.before.keys()


def test_int8_answers_as_well_as_the_smaller_module(small: Compressed) -> None:
    """Within 1 point of accuracy, on the test split."""
    data = load_data(Digits())
    before = quality(small.module, data.test, data, ["accuracy"])["accuracy"]
    assert small.after["test_accuracy"] == pytest.approx(before, abs=0.01)


def test_the_original_is_never_changed() -> None:
    """Neither its tensors nor its answers nor its mode, also where compression fails half way."""
    convolution = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    module = nn.Sequential(convolution, nn.Flatten(), nn.Linear(216, 10)).train()
    state, answers = copy.deepcopy(module.state_dict()), module.eval()(TABLE)
    module.train()
    made = compress(module, "digits", max_macs=2500, bits=32, epochs=1, criterion="l2", show_progress=False)
    with pytest.raises(UsageError, match=r"parameters of at most 50 cannot be reached.*smallest module"):
        compress(module, "digits", max_parameters=50, bits=32, criterion="bn_scale", show_progress=False)
    assert module.training
    assert same_state(module, state)
    assert torch.equal(module.eval()(TABLE), answers)
    assert made.after["macs"] <= 2500 < made.before["macs"]


def test_the_table_has_every_figure_before_and_after(small: Compressed) -> None:
    """Names, both values, their ratio, and the units."""
    text = str(small)
    for name in small.before:
        assert name in text
    assert f"{small.after['parameters']:,.0f}" in text
    assert f"{small.after['size_bytes'] / small.before['size_bytes']:.3f}" in text


def test_a_module_comes_back_from_its_folder(small: Compressed, folder: Path) -> None:
    """Bit for bit, from a new instance with other weights, which is not changed."""
    fresh = SmallResNet()
    state = copy.deepcopy(fresh.state_dict())
    restored = restore(fresh, folder)
    assert same_state(restored, small.module.state_dict())
    assert torch.equal(restored(TABLE), small.module(TABLE))
    assert same_state(fresh, state)


def test_the_folder_has_what_is_needed(small: Compressed, folder: Path) -> None:
    """Weights, card, and both ONNX models, which answer as the modules do; the card says what was done, in order."""
    assert {path.name for path in folder.iterdir()} == {"net.safetensors", "net.json", "net.onnx", "net.int8.onnx"}
    model, int8 = (OnnxNetwork((folder / name).read_bytes()) for name in ("net.onnx", "net.int8.onnx"))
    assert small.quantized is not None
    torch.testing.assert_close(model(TABLE), small.module(TABLE), rtol=1e-4, atol=1e-4)
    assert torch.equal(int8(TABLE), small.quantized(TABLE))
    card = json.loads((folder / "net.json").read_text())
    assert card["after"] == small.after
    assert [step["step"] for step in card["steps"]] == ["prune", "finetune", "quantize"]
    assert len(card["steps"][1]["epochs"]) == 4


def test_torch_pruning_understands_the_history_in_the_card(folder: Path) -> None:
    """Its own replay of what left gives the shapes of the exported tensors."""
    module = SmallResNet()
    history = json.loads((folder / "net.json").read_text())["steps"][0]["history"]
    graph = torch_pruning.DependencyGraph().build_dependency(module, TABLE, forward_fn=lambda m, x: m(x))
    graph.load_pruning_history([tuple(entry) for entry in history])
    found = {name: tensor.shape for name, tensor in module.state_dict().items()}
    assert found == {name: tensor.shape for name, tensor in load_file(folder / "net.safetensors").items()}


def test_an_export_overwrites_only_if_it_is_forced(small: Compressed, tmp_path: Path) -> None:
    """The second one is refused, with the names; nothing else is left behind."""
    small.export(tmp_path)
    with pytest.raises(ExportError, match=r"net\.int8\.onnx.*would be overwritten"):
        small.export(tmp_path)
    small.export(tmp_path, force=True)
    assert len(list(tmp_path.iterdir())) == 4


def test_another_module_is_not_restored(folder: Path, tmp_path: Path) -> None:
    """Of another class, of other sizes, from no folder, or with other weights: refused with the reason."""
    with pytest.raises(UsageError, match="tensors are of another module"):
        restore(mlp(), folder)
    other = SmallResNet()
    other.head = nn.Linear(32, 9)
    with pytest.raises(UsageError, match=r"head\.\w+ has the shape"):
        restore(other, folder)
    with pytest.raises(UsageError, match="holds no compressed module"):
        restore(SmallResNet(), tmp_path)
    (tmp_path / "net.json").write_bytes((folder / "net.json").read_bytes())
    save_file(SmallResNet().state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(UsageError, match="is not the file"):
        restore(SmallResNet(), tmp_path)


def test_bounds_that_hold_change_nothing() -> None:
    """The module that comes out has the weights that came in, and no step was taken but int8."""
    module = mlp()
    made = compress(module, "digits", max_parameters=10**6, show_progress=False)
    assert same_state(made.module, module.state_dict())
    assert [step["step"] for step in made.card["steps"]] == ["quantize"]


def test_a_latency_out_of_reach_is_refused() -> None:
    """A nanosecond."""
    with pytest.raises(UsageError, match="smallest module"):
        compress(mlp(), "digits", max_latency_ms=1e-6, bits=32, criterion="random", show_progress=False)


def test_a_network_of_paretonas_stays_one(tmp_path: Path) -> None:
    """It is pruned to a smaller architecture, and leaves as source that was checked; it comes back from the folder."""
    architecture = Architecture(
        (1, 8, 8), (Block("conv", width=12), Block("conv", width=16), Block("global_average_pool")), (Head(10),)
    )
    network = build(architecture, seed=0)
    made = compress(network, "digits", max_parameters=1000, epochs=1, criterion="l1", show_progress=False)
    assert isinstance(made.module, Network)
    assert parameters(made.module) <= 1000
    assert made.module.architecture.blocks[1].width in range(1, 16)
    made.export(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"net.py", "net.safetensors", "net.json", "net.int8.onnx"}
    assert torch.equal(restore(nn.Identity(), tmp_path)(TABLE), made.module(TABLE))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"bits": 32}, "what to compress to is needed"),
        ({"bits": 4}, "32 or 8 bits"),
        ({"max_parameters": 0}, "finite and above 0, 0 was given for parameters"),
        ({"max_bytes": float("nan")}, "nan was given for size_bytes"),
        ({"max_macs": -1.0}, "for macs"),
        ({"epochs": -1}, "epochs must be a whole number from 0"),
        ({"criterion": "magic"}, "unknown criterion 'magic'"),
        ({"device": "tpu"}, "unknown device"),
        ({"threads": 0}, "threads"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_what_cannot_be_is_refused_at_once(asked: dict[str, object], message: str) -> None:
    """In one sentence, before any data are read."""
    with pytest.raises(UsageError, match=message):
        compress(mlp(), "no such task" if asked else "digits", show_progress=False, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 9)), r"answer a tensor of \(4, 10\).*\(4, 9\) came"),
        (nn.Sequential(nn.Linear(7, 10)), "does not take the task's inputs"),
        (nn.Flatten(), "has none"),
        (mlp().requires_grad_(requires_grad=False), "call requires_grad_"),
        (mlp().to("meta"), "lies on another device"),
        ("mlp", "a trained nn.Module is compressed, str was given"),
    ],
)
def test_a_module_that_does_not_fit_the_task_is_refused(module: nn.Module, message: str) -> None:
    """In one sentence."""
    with pytest.raises(UsageError, match=message):
        compress(module, "digits", show_progress=False)


def test_layers_that_have_one_weight_are_refused_by_name() -> None:
    """Where what they would lose differs; the others are pruned."""
    module = TiedLayers()
    with pytest.raises(UsageError, match=r"first\.weight and second\.weight are one parameter"):
        compress(module, "digits", max_parameters=100, bits=32, criterion="l1", show_progress=False)
    assert module.first.weight is module.second.weight


def test_a_module_outside_of_autograd_is_refused_by_name() -> None:
    """It cannot be traced."""
    with pytest.raises(UsageError, match=r"Detached cannot be traced for pruning, because layer 'hidden'"):
        compress(Detached(), "digits", max_parameters=1000, bits=32, show_progress=False)


def test_a_module_that_cannot_be_exported_is_refused_before_it_is_trained() -> None:
    """It has to be, for 8 bits; with 32 it has no figures of ONNX Runtime, and no such file."""

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.head = nn.Linear(64, 32), nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.hidden(x.flatten(1))
            return self.head(x.relu() if x.sum() > 0 else x.tanh())  # type: ignore[no-any-return]

    with pytest.raises(UsageError, match="cannot be traced"):
        compress(Branching(), "digits", max_parameters=1000, show_progress=False)
    made = compress(Branching(), "digits", max_parameters=1000, epochs=1, bits=32, criterion="l1", show_progress=False)
    assert "latency:onnxruntime" not in made.before.keys() | made.after.keys()
    assert made.after["parameters"] <= 1000


def test_a_layer_that_fails_is_named() -> None:
    """Also if it is deep inside."""
    module = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(9, 5)))
    with pytest.raises(UsageError, match=r"layer '1\.0' of Sequential fails"):
        module_groups(module, torch.rand(2, 8))


def test_torch_pruning_that_runs_in_circles_is_stopped() -> None:
    """As it does in windowed attention."""
    module = SwinTransformer([4, 4], 24, [2, 2], [2, 2], [4, 4])
    with pytest.raises(UsageError, match="in circles"):
        prunable_groups(module.eval(), torch.rand(2, 3, 64, 64))


@pytest.mark.parametrize("name", MODULES)
def test_units_leave_as_torch_pruning_takes_them_out(name: str) -> None:
    """Cut group by group by torch-pruning itself, the module gives the same answers."""
    make, example = MODULES[name]
    module = make().eval()
    groups, _ = prunable_groups(module, example)
    assert groups
    leaving = {group.layer: list(range(0, group.size, 3)) for group in groups}
    theirs = copy.deepcopy(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for layer, _, units in channels(groups, leaving):
            graph = torch_pruning.DependencyGraph().build_dependency(theirs, example, forward_fn=lambda m, x: m(x))
            root = theirs.get_submodule(layer)
            graph.get_pruning_group(root, graph.get_pruner_of_module(root).prune_out_channels, units).prune()
            for part in theirs.modules():
                if isinstance(part, nn.RMSNorm):  # of which torch-pruning knows the weight alone
                    part.normalized_shape = tuple(part.weight.shape)
            if isinstance(theirs, TiedLanguage):  # which it unties
                theirs.head.weight = theirs.embed.weight
    ours = without(module, groups, leaving)
    assert parameters(ours) < parameters(module)
    torch.testing.assert_close(ours(example), theirs.eval()(example))


@pytest.mark.parametrize("name", MODULES)
def test_a_bound_is_met_by_as_few_units_as_it_takes(name: str) -> None:
    """One unit less would be too many parameters; what was one parameter is one still."""
    make, example = MODULES[name]
    module = make().eval()
    groups, _ = prunable_groups(module, example)
    bound, tried = 0.7 * parameters(module), list[int]()

    def fits(smaller: nn.Module) -> bool:
        tried.append(parameters(smaller))
        return tried[-1] <= bound

    smaller, leaving = pruned_within(module, example, groups, module_scores(module, groups), fits)
    assert parameters(smaller) == max(count for count in tried if count <= bound)
    assert all(len(units) < group.size for group in groups if (units := leaving.get(group.layer)))
    if isinstance(smaller, TiedLanguage):
        assert smaller.head.weight is smaller.embed.weight
        assert smaller.embed.embedding_dim < 16


def test_what_cannot_leave_is_said_with_its_layer() -> None:
    """Heads cut the width of fused attention, so it stays; the stream around it and the hidden units may leave."""
    groups, whole = prunable_groups(Attention().eval(), torch.rand(3, 6, 8))
    assert {group.layer for group in groups}.isdisjoint({"qkv", "head"})
    assert len(groups) == 2
    assert "does not run without some of its units" in whole["qkv"]


def test_what_torch_pruning_gets_wrong_is_not_believed() -> None:
    """A group whose cut does not run, or is not the same as units at zero, stays whole."""
    groups, whole = prunable_groups(JoinedInARow().eval(), IMAGE)
    assert groups == []
    assert "does not run" in whole["left"]


def test_a_weight_that_is_computed_stays_whole() -> None:
    """Under weight normalisation; the next layer's units leave all the same."""
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 16))
    module = nn.Sequential(normed, nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5))
    groups, whole = prunable_groups(module.eval(), torch.rand(3, 8))
    assert [group.layer for group in groups] == ["2"]
    assert "computed from other tensors" in whole["0"]


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"random"}))
def test_units_are_ranked_as_in_networks_of_paretonas(criterion: str) -> None:
    """The same network as a module has the same scores."""
    blocks = (Block("conv", width=6), Block("residual", width=6, hidden=9), Block("flatten"), Block("linear", width=7))
    network = build(Architecture((1, 8, 8), blocks, (Head(10),)), seed=0).eval()
    assert isinstance(network, Network)
    data = load_data(Digits())
    ours = unit_scores(network, criterion, gradients=loss_gradients(network, data, examples=20))
    groups, whole = prunable_groups(network, TABLE)
    theirs = module_scores(network, groups, criterion, gradients=loss_gradients(network, data, examples=20))
    assert not whole
    assert len(ours) == len(theirs) == 3
    for score in ours.values():
        assert any(score.shape == other.shape and torch.allclose(score, other) for other in theirs.values())


def test_random_ranks_follow_from_the_seed() -> None:
    """And from nothing else."""
    groups, _ = prunable_groups(mlp(), TABLE)
    one, same, other = (module_scores(mlp(), groups, "random", seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(one[layer], same[layer]) for layer in one)
    assert not any(torch.equal(one[layer], other[layer]) for layer in one)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's own on the path, in a folder of its own."""
    text = "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 24),"
    (tmp_path / "mine_to_compress.py").write_text(
        text + " torch.nn.ReLU(), torch.nn.Linear(24, 10))\nnumber = 3\ntext = str\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine_to_compress", raising=False)
    return tmp_path


def test_the_command_compresses_and_exports(cli: Cli, written: Path) -> None:
    """What a function gives, on the task of a study file, as JSON; bytes are those of the tensors, with 32 bits."""
    (written / "study.toml").write_text('task = "digits"\n')
    ended = cli(
        *("compress", "mine_to_compress:make", "--task", str(written / "study.toml"), "--max-bytes", "4000"),
        *("--epochs", "1", "--bits", "32", "--criterion", "l1", "--to", str(written / "out"), "--json", "--quiet"),
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    said = json.loads(ended.stdout)
    stored = sum(tensor.nbytes for tensor in load_file(written / "out" / "net.safetensors").values())
    assert 3500 < stored == said["after"]["size_bytes"] <= 4000 < said["before"]["size_bytes"]
    assert said["folder"] == str(written / "out")
    assert (written / "out" / "net.onnx").exists()


def test_the_command_says_what_is_no_module(cli: Cli, written: Path) -> None:
    """A name without a function behind it, and a function that gives none: one line, exit code 2."""
    assert written
    for name, message in (("number", "is int"), ("other", "has no 'other'"), ("text", "gave str")):
        ended = cli("compress", f"mine_to_compress:{name}")
        assert ended.returncode == 2
        assert message in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
