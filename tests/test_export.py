"""The winner leaves the tool: a readable module, its weights and its card, which agree with the trial bit for bit."""

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import paretonas as pn
from paretonas.errors import ExportError, ParetonasError, StudyError

Cli = Callable[..., subprocess.CompletedProcess[str]]
FILES = {"net.py", "net.safetensors", "net.json", "README.md", "train.py"}
# run in a folder with one export in each subfolder, in a process that cannot import paretonas
ELSEWHERE = """
import sys
from pathlib import Path

class NoParetonas:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "paretonas":
            raise ImportError("the exported file asked for paretonas")

sys.meta_path.insert(0, NoParetonas())
import torch
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
batch = load_file("batch.safetensors")["batch"]
scores = {}
for folder in sorted(path for path in Path().iterdir() if path.is_dir()):
    sys.path.insert(0, str(folder))
    from net import Net
    net = Net()
    net.load_state_dict(load_file(folder / "net.safetensors"))
    with torch.inference_mode():
        scores[folder.name] = net.eval()(batch)
    del sys.path[0], sys.modules["net"]
save_file(scores, "scores.safetensors")
"""


@pytest.fixture(scope="module")
def exported(small: pn.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a subfolder for each trial of the small study, named by its number."""
    folder = tmp_path_factory.mktemp("exported")
    for trial in small.trials:
        assert trial.export(folder / str(trial.number)) == folder / str(trial.number)
    return folder


def test_the_exported_network_gives_the_same_outputs_elsewhere(small: pn.Study, exported: Path) -> None:
    """``load()``, ``load_model`` and the file in a process without paretonas give bitwise equal outputs."""
    batch = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    save_file({"batch": batch}, exported / "batch.safetensors")
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=exported, check=True)
    scores = load_file(exported / "scores.safetensors")
    assert len(scores) == 8
    for trial in small.trials:
        model = pn.load_model(small.store.url, study="small", pick=trial.number)
        with torch.inference_mode():
            trained, loaded = trial.load()(batch), model(batch)
        assert trained.shape == (32, 10)
        assert torch.equal(trained, loaded)
        assert torch.equal(trained, scores[str(trial.number)])


def test_loaded_networks_are_ready_for_use(small: pn.Study) -> None:
    """``load_model`` takes the knee of the only study by default, on the CPU in evaluation mode."""
    model = pn.load_model(small.store.url)
    knee = small.pick("knee")
    assert not model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert model.architecture == knee.architecture
    assert sum(parameter.numel() for parameter in model.parameters()) == knee.values["parameters"]


def test_an_export_is_five_files(small: pn.Study, exported: Path) -> None:
    """Nothing else is left in the folder."""
    for trial in small.trials:
        assert {path.name for path in (exported / str(trial.number)).iterdir()} == FILES


def test_the_exported_module_imports_only_torch(small: pn.Study, exported: Path) -> None:
    """Whatever the network, its file needs torch and nothing else."""
    for trial in small.trials:
        tree = ast.parse((exported / str(trial.number) / "net.py").read_text(encoding="utf-8"))
        imported = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add((node.module or "").split(".")[0])
        assert imported == {"torch"}


def test_the_docstring_carries_the_figures(small: pn.Study, exported: Path) -> None:
    """The module says where it comes from, what it reached and how to use it."""
    for trial in small.trials:
        text = ast.get_docstring(ast.parse((exported / str(trial.number) / "net.py").read_text(encoding="utf-8")))
        assert text is not None
        assert f"Trial {trial.number} of the paretonas study 'small' on digits." in text
        assert f"{trial.values['parameters']:,.0f}" in text
        assert f"{trial.values['macs']:,.0f}" in text
        assert f"{trial.values['accuracy']:.4g}" in text
        assert f"{trial.values['latency_ms']:.4g}" in text
        assert f"{trial.test_metrics()['test_accuracy']:.4g}" in text
        assert str(trial.architecture) in text
        assert "In: (N, 1, 8, 8) float32, prepared as 'preprocessing' in net.json says." in text
        assert "Out: (N, 10), scores of the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in text
        assert 'net.load_state_dict(load_file("net.safetensors"))' in text


def test_the_card_holds_what_the_network_was_chosen_by(small: pn.Study, exported: Path) -> None:
    """Values with units and conditions, the test accuracy, the seed, the architecture and the weights' hash."""
    for trial in small.trials:
        folder = exported / str(trial.number)
        card = json.loads((folder / "net.json").read_text(encoding="utf-8"))
        measured = {name: trial.values[name] for name in ("accuracy", "parameters", "macs", "latency_ms")}
        assert card["values"] == {**measured, **trial.test_metrics()}
        assert card["units"].keys() == card["values"].keys()
        assert all(card["units"].values())
        assert card["conditions"]["latency_ms"]["threads"] == 1
        assert (card["study"], card["trial"], card["task"]) == ("small", trial.number, {"type": "digits"})
        assert card["preprocessing"]["input"]["pixel_scale"] == 1 / 16
        assert card["targets"] == {"head": {"kind": "classes", "classes": [str(digit) for digit in range(10)]}}
        assert card["objectives"] == ["accuracy", "parameters", "latency_ms"]
        assert card["seed"] == trial.evaluation.seed
        assert pn.Architecture.from_json(card["architecture"]) == trial.architecture
        assert pn.Candidate.from_json(card["candidate"]) == trial.candidate
        assert card["licence"] == "not stated"
        assert "host" not in card["conditions"]["latency_ms"]
        assert card["files"] == {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES - {"net.json"}
        }
        assert card["weights_sha256"] == hashlib.sha256((folder / "net.safetensors").read_bytes()).hexdigest()


def test_the_weights_file_says_what_it_belongs_to(small: pn.Study, exported: Path) -> None:
    """Its metadata hold the architecture, from which the network can be built again."""
    for trial in small.trials:
        with safe_open(exported / str(trial.number) / "net.safetensors", framework="pt") as file:
            described = pn.Architecture.from_json(json.loads(file.metadata()["architecture"]))
        assert described == trial.architecture


def test_nothing_is_written_over_what_is_there(small: pn.Study, tmp_path: Path) -> None:
    """One file of an export is enough to refuse, and no other is written; with force all are."""
    (tmp_path / "net.py").write_text("mine")
    (tmp_path / "other.txt").write_text("also mine")
    with pytest.raises(ExportError, match=r"net\.py of .* would be overwritten"):
        small.pick("knee").export(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"net.py": "mine", "other.txt": "also mine"}
    small.pick("knee").export(tmp_path, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "other.txt"}
    assert "class Net(nn.Module)" in (tmp_path / "net.py").read_text(encoding="utf-8")
    assert (tmp_path / "other.txt").read_text() == "also mine"


def test_a_folder_that_cannot_be_is_refused(small: pn.Study, tmp_path: Path) -> None:
    """A file where the folder should be is named in one sentence."""
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ExportError) as caught:
            small.pick("knee").export(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_trial_is_not_exported(mixed: pn.Study, tmp_path: Path) -> None:
    """The error says why it failed, and no folder is made."""
    failed = next(trial for trial in mixed.trials if trial.state == "failed")
    with pytest.raises(StudyError, match="out_of_memory"):
        failed.export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_weights_writes_nothing(url: str, tmp_path: Path) -> None:
    """If the weights are gone the export says so, and what was exported before stays as it was."""
    space = pn.MLPSpace(layers=1, widths=4, pruning=0.0, training=pn.TrainingSpace(epochs=1))
    study = pn.create_study("s", space=space, objectives=["accuracy", "macs"], storage=url)
    study.optimize(1, show_progress=False)
    folder = tmp_path / "out"
    study.trials[0].export(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (Path(study.store.artifacts.where) / str(study.trials[0].evaluation.weights)).unlink()
    with pytest.raises(ParetonasError, match=r"is not in .*bring it back.*: paretonas train 0 --as-trial --seed 1"):
        study.trials[0].export(folder, force=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ['a """ b', "back\\slash \\N{x}", "quote'\"", "ünï · cödé", "{braces} %s"])
def test_any_study_name_gives_a_module_that_runs(url: str, tmp_path: Path, name: str) -> None:
    """What stands in the docstring cannot break the file."""
    space = pn.MLPSpace(layers=0, training=pn.TrainingSpace(epochs=1))
    study = pn.create_study(name, space=space, objectives=["accuracy", "macs"], storage=url)
    study.optimize(1, show_progress=False)
    folder = study.trials[0].export(tmp_path / "out")
    text = ast.get_docstring(ast.parse((folder / "net.py").read_text(encoding="utf-8")))
    assert text is not None
    assert text.startswith("Trial 0 of the paretonas study ")
    assert json.loads((folder / "net.json").read_text(encoding="utf-8"))["study"] == name


# the card


def test_the_card_tells_people_what_they_have(small: pn.Study, exported: Path) -> None:
    """Figures with units and conditions, data, files, the front that it was chosen from, and how to use it."""
    for trial in small.trials:
        page = (exported / str(trial.number) / "README.md").read_text(encoding="utf-8")
        assert page.startswith(f"# Trial {trial.number} of small\n")
        assert f"| parameters | {trial.values['parameters']:,.0f} | trainable numbers, after pruning |" in page
        share = trial.test_metrics()["test_accuracy"]
        assert re.search(rf"\| test\\_accuracy \| {share:.4g} \| .*; n = 360, 95 % interval 0\.\d+ to 0\.\d+ \|", page)
        assert re.search(r"latency\\_ms: torch .*threads 1, batch 1, float32, coefficient of variation", page)
        assert "Examples: 1,077 train, 360 validation, 360 test." in page
        assert '"pixel_scale": 0.0625' in page
        assert "Classes of head: 0 to 9, in this order." in page
        assert "| licence | not stated" in page
        assert "The Pareto front of 8 trials (8 complete)" in page
        for other in small.pareto_front:
            assert f"trial {other.number}" in page
        assert f"**trial {trial.number}, this one**" in page


def test_the_code_on_the_card_runs(small: pn.Study, tmp_path: Path) -> None:
    """Every block of it, in one process without paretonas; all files give the same answers there."""
    folder = small.pick("knee").export(tmp_path / "out", formats="torch_export,onnx")
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    script = "batch = torch.rand(4, 1, 8, 8)\nfound = []\n"
    for block in blocks:
        script += f"{block}\nfound.append(torch.as_tensor(answers[0] if isinstance(answers, list) else answers))\n"
    script += "assert all(torch.allclose(found[0], one, atol=1e-5) for one in found)\nprint(len(found))"
    assert run("import torch\n" + script, folder).split() == ["3"]


@pytest.mark.parametrize("name", ["a | b", "<script>alert(1)</script>", "[x](javascript:1) `y`", "# *z*"])
def test_names_mean_nothing_to_the_page(url: str, tmp_path: Path, name: str) -> None:
    """Study names and licences are text, whatever is in them."""
    space = pn.MLPSpace(layers=0, training=pn.TrainingSpace(epochs=1))
    study = pn.create_study(name, space=space, objectives=["accuracy", "macs"], storage=url)
    study.optimize(1, show_progress=False)
    page = (study.trials[0].export(tmp_path / "out", licence=name) / "README.md").read_text(encoding="utf-8")
    assert name not in page
    assert "<script" not in page
    assert all(line.count("|") - line.count("\\|") == 3 for line in page.splitlines() if line.startswith("| licence"))


# the formats


def test_formats_lie_beside_the_source(small: pn.Study, tmp_path: Path, cli: Cli) -> None:
    """The command writes them, says how far they are from the network, and so do both cards; the licence is there."""
    url, out = small.store.url, tmp_path / "out"
    done = cli("export", "--storage", url, "--to", str(out), "--formats", "onnx,torch_export", "--license", "MIT")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in out.iterdir()} == {*FILES, "net.onnx", "net.pt2"}
    card, page = json.loads((out / "net.json").read_text()), (out / "README.md").read_text(encoding="utf-8")
    assert card["licence"] == "MIT"
    assert "| licence | MIT |" in page
    assert list(card["formats"]) == ["net.pt2", "net.onnx"]
    for name, one in card["formats"].items():
        assert 0 <= one["largest_difference"] <= 1e-5
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"{name}: "))
        assert line.removeprefix(f"{name}: ") in page.replace("\\", "")
    again = cli("export", "--storage", url, "--to", str(out), "--formats", "onnx", "--force", "--json")
    document = json.loads(again.stdout)
    assert set(document["files"]) == {*FILES, "net.onnx"}
    assert list(document["formats"]) == ["net.onnx"]


def test_what_an_earlier_export_left_goes_with_it(small: pn.Study, tmp_path: Path) -> None:
    """With force, its other formats leave too, unless they are others by now; what is no export's stays."""
    first, second = small.pareto_front[:2]
    first.export(tmp_path, formats=["onnx", "torch_export"])
    (tmp_path / "net.pt2").write_bytes(b"mine")
    (tmp_path / "notes.txt").write_text("mine")
    second.export(tmp_path, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "net.pt2", "notes.txt"}
    assert json.loads((tmp_path / "net.json").read_text())["trial"] == second.number


def test_a_changed_script_is_named_before_it_is_lost(small: pn.Study, tmp_path: Path) -> None:
    """A folder in use says which of its files were changed since they were exported."""
    small.pick("knee").export(tmp_path)
    (tmp_path / "train.py").write_text("my data")
    with pytest.raises(
        ExportError, match=r"net\.py, .*README\.md, train\.py \(changed since its export\) of .* would be"
    ):
        small.pick("knee").export(tmp_path)
    assert (tmp_path / "train.py").read_text() == "my data"


def test_a_card_from_elsewhere_takes_nothing_away(small: pn.Study, tmp_path: Path) -> None:
    """Whatever names stand in the card of a folder, only files of exports are removed."""
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "net.json").write_text(json.dumps({"files": {"../outside.txt": digest, "x": 3, "net.pte": 1}}))
    small.pick("knee").export(tmp_path / "out", force=True)
    assert outside.read_text() == "mine"


STUBBORN = """
from torch import nn


class Deciding(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, x):
        return self.layers(x) if x.sum() > 0 else -self.layers(x)


def make_net(width):
    return Deciding(width)
"""


def test_a_network_that_a_format_cannot_take(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by its word, nothing is written; with ``all`` the card says what was left out and why."""
    (tmp_path / "stubborn.py").write_text(STUBBORN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    space = pn.ModuleSpace("stubborn:make_net", width=4, training=pn.TrainingSpace(epochs=1))
    study = pn.create_study("own", space=space, objectives=["accuracy", "parameters"], storage=url)
    study.optimize(1, show_progress=False)
    with pytest.raises(ExportError, match=r"cannot be written as onnx: .*cannot be traced.*leave onnx out"):
        study.trials[0].export(tmp_path / "out", formats="onnx")
    assert list((tmp_path / "out").iterdir()) == []
    folder = study.trials[0].export(tmp_path / "out", formats="all")
    assert {path.name for path in folder.iterdir()} == FILES
    card = json.loads((folder / "net.json").read_text())
    assert all("cannot be traced" in one["left_out"] for one in card["formats"].values())
    assert "not written: " in (folder / "README.md").read_text(encoding="utf-8")


# the script


def test_the_script_goes_on_from_the_weights(small: pn.Study, exported: Path, tmp_path: Path) -> None:
    """It judges as the card does, trains on, and keeps weights that net.py takes; without paretonas."""
    best = small.pick("best")
    folder = shutil.copytree(exported / str(best.number), tmp_path / "out")
    said = run_script(folder, "--epochs", "2").splitlines()
    assert float(said[0].split()[-1]) == pytest.approx(best.test_metrics()["test_accuracy"], abs=1e-4)
    assert float(said[2].split()[-1]) > best.test_metrics()["test_accuracy"]
    before, after = (load_file(folder / name) for name in ("net.safetensors", "trained.safetensors"))
    assert {name: tensor.shape for name, tensor in before.items()} == {n: tensor.shape for n, tensor in after.items()}
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert "from_scratch" not in run_script(folder, "--from-scratch", "--epochs", "1", "--to", str(tmp_path / "w.st"))
    assert (tmp_path / "w.st").exists()


def test_zeros_stay_zero_in_the_script(url: str, tmp_path: Path) -> None:
    """What the search made sparse is not filled again."""
    space = pn.MLPSpace(
        layers=1,
        widths=16,
        pruning=0.0,
        training=pn.TrainingSpace(epochs=1, finetune_epochs=1),
        compression=pn.CompressionSpace(sparsity=0.5),
    )
    study = pn.create_study("s", space=space, objectives=["accuracy", "nonzero_parameters"], storage=url)
    study.optimize(1, show_progress=False)
    folder = study.trials[0].export(tmp_path / "out")
    run_script(folder, "--epochs", "1")
    before, after = (load_file(folder / name) for name in ("net.safetensors", "trained.safetensors"))
    zeros = {name: tensor == 0 for name, tensor in before.items() if tensor.dim() > 1}
    assert sum(int(zero.sum()) for zero in zeros.values()) > 100
    assert all(not after[name][zero].any() for name, zero in zeros.items())


def tasks(folder: Path) -> dict[str, tuple[pn.Space, pn.Task, list[str]]]:
    """A study of each kind of data and answer."""
    rows = [f"{x},{'ab'[x % 2]},{3 * x + 100}" for x in range(60)]
    (folder / "table.csv").write_text("\n".join(["size,kind,price", *rows]), encoding="utf-8")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60, encoding="utf-8")
    brief = pn.TrainingSpace(epochs=1, batch_size=8)
    mlp = pn.MLPSpace(layers=1, widths=4, pruning=0.0, training=brief)
    decoder = pn.TransformerSpace(layers=1, widths=8, heads=2, head_widths=4, pruning=0.0, training=brief)
    return {
        "number": (mlp, pn.Table(file=folder / "table.csv", target="price", kind="number"), ["mae", "parameters"]),
        "tokens": (decoder, pn.TextFile(file=folder / "text.txt", length=8), ["perplexity", "parameters"]),
        "two": (mlp, pn.DigitsParity(), ["digit.accuracy", "parameters"]),
        "signal": (mlp, pn.MNIST1D(), ["accuracy", "parameters"]),
    }


@pytest.mark.parametrize(
    "kind", [*(pytest.param(kind, marks=pytest.mark.long) for kind in ("number", "signal", "two")), "tokens"]
)
def test_the_script_runs_for_every_kind_of_data(url: str, tmp_path: Path, kind: str) -> None:
    """On random examples of the right shape, or those that it ships; it is clean to ruff's default rules."""
    space, task, objectives = tasks(tmp_path)[kind]
    study = pn.create_study(kind, space=space, task=task, objectives=objectives, storage=url)
    study.optimize(1, show_progress=False)
    trial = study.trials[0]
    assert trial.state == "complete", trial.reason
    folder = trial.export(tmp_path / "out")
    said = run_script(folder)
    assert ("random examples" in said) == (kind != "two")
    assert "epoch 1 of " in said
    assert (folder / "trained.safetensors").exists()
    if kind == "two":
        judged = {name: float(value) for name, value in re.findall(r"accuracy of (\w+) ([\d.]+)", said.splitlines()[0])}
        assert judged == pytest.approx({h: trial.test_metrics()[f"test_{h}.accuracy"] for h in judged}, abs=1e-4)
    checked = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "train.py"]
    found = subprocess.run(checked, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_bounds_choose_what_is_loaded(small: pn.Study) -> None:
    """From another project, by all that a pick knows."""
    least = min(trial.values["parameters"] for trial in small.pareto_front)  # several may have as few
    model = pn.load_model(small.store.url, max_parameters=least)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == least
    assert model.architecture == small.pick(max_parameters=least).architecture
    weighted = pn.load_model(small.store.url, weights={"parameters": 1.0, "accuracy": 0.01})
    assert weighted.architecture == small.pick(weights={"parameters": 1.0, "accuracy": 0.01}).architecture


def test_eight_bits_are_loaded_as_they_run_or_as_they_train(url: str) -> None:
    """The int8 network by default; the one that it was made of where it is to be trained on."""
    space = pn.MLPSpace(
        layers=1,
        widths=4,
        pruning=0.0,
        training=pn.TrainingSpace(epochs=1),
        compression=pn.CompressionSpace(bits=8),
    )
    study = pn.create_study("s", space=space, objectives=["accuracy", "parameters"], storage=url)
    study.optimize(1, show_progress=False)
    assert not list(pn.load_model(url).parameters())
    assert sum(p.numel() for p in pn.load_model(url, quantized=False).parameters()) > 0


# in a process that cannot import paretonas

ALONE = """
import sys
sys.modules["paretonas"] = None
"""


def run(script: str, folder: Path, *arguments: str) -> str:
    """What a process prints that cannot import paretonas, in a folder."""
    command = [sys.executable, "-W", "error", "-c", ALONE + script, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_script(folder: Path, *arguments: str) -> str:
    """What train.py of a folder prints."""
    script = "import runpy, sys\nsys.path.insert(0, '.')\nrunpy.run_path('train.py', run_name='__main__')"
    return run(script, folder, *arguments)
