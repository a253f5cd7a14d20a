"""The winner leaves the tool: a readable module, its weights and its card, which agree with the trial bit for bit."""

import ast
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import paretonas as pn
from paretonas.errors import ExportError, ParetonasError, StudyError

FILES = {"net.py", "net.safetensors", "net.json"}
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


def test_an_export_is_three_files(small: pn.Study, exported: Path) -> None:
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
    with pytest.raises(ParetonasError, match=r"is not in .*bring it back"):
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
