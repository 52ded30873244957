"""Devices, checkpoints and augmentation data: refused or replaced before training."""

import shutil
import zipfile
from pathlib import Path

import nltk
import pytest
import torch
from transformers import AlbertConfig, AutoModel, AutoTokenizer, SqueezeBertConfig

from automm_distill import cache, preflight
from automm_distill.automm import fit_options
from automm_distill.devices import Device, choose_device
from automm_distill.errors import UserError
from automm_distill.inputs.checkpoints import layers
from automm_distill.inputs.checkpoints.finding import find_checkpoint

from .conftest import SENTENCES, make_settings, write_splits


def test_validation_log_that_cannot_be_written_to_is_refused(tmp_path):
    folders = dict(output_folder=str(tmp_path / "results"), finetuned_model_cache_folder=str(tmp_path / "cache"))
    for path in (tmp_path, Path("/proc/log/validations.jsonl")):
        with pytest.raises(UserError, match=r"--validation_log.*cannot be written to"):
            preflight.preflight(make_settings(validation_log=str(path), **folders))


def gpus(monkeypatch, count, bf16=True):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)


@pytest.mark.parametrize(
    ("present", "num_gpu", "precision", "expected"),
    [
        (2, -1, "16", (2, "16", "16", "gpu")),
        (2, 1, "bf16", (1, "bf16", "bf16", "gpu")),
        (2, 1, "auto", (1, "bf16", "bf16", "gpu")),
        (2, 0, "32", (0, "32", "32", "cpu")),
        (0, 0, "32", (0, "32", "32", "cpu")),
    ],
)
def test_device_and_precision(monkeypatch, present, num_gpu, precision, expected):
    gpus(monkeypatch, present)
    device = choose_device(num_gpu, precision)
    assert (device.num_gpus, device.precision, device.prediction_precision, device.accelerator) == expected


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16", "avx512_f"])
@pytest.mark.parametrize("asked", ["auto", "bf16", "16"])
def test_cpu_trains_in_bf16_where_it_has_instructions_for_it(monkeypatch, caplog, capability, asked):
    gpus(monkeypatch, 1)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, capability: True})
    device = choose_device(0, asked)
    best = "32" if capability == "avx512_f" else "bf16"
    assert (device.precision, device.prediction_precision) == (best, "32")
    assert (f"precision {asked} is not supported on this CPU; using {best}" in caplog.text) == (
        asked not in ("auto", best)
    )


def test_capabilities_of_this_cpu_are_those_of_the_kernel():
    """torch asks the processor itself; Linux lists what it found in /proc/cpuinfo."""
    flags = Path("/proc/cpuinfo").read_text().split()
    if "flags" not in flags:
        pytest.skip("not an x86 processor")
    assert torch.cpu.get_capabilities()["avx512_bf16"] == ("avx512_bf16" in flags)
    assert torch.cpu.get_capabilities()["amx_bf16"] == ("amx_bf16" in flags)


def test_automatic_precision_of_a_gpu_without_bf16(monkeypatch, caplog):
    gpus(monkeypatch, 1, bf16=False)
    assert choose_device(-1, "auto").precision == "16"
    assert not caplog.text


def test_precision_that_the_device_lacks_is_replaced_and_said(monkeypatch, caplog):
    gpus(monkeypatch, 1, bf16=False)
    assert choose_device(-1, "bf16").precision == "32"
    assert "precision bf16 is not supported on this a GPU; using 32" in caplog.text


def test_more_gpus_than_there_are_is_refused(monkeypatch):
    gpus(monkeypatch, 2)
    with pytest.raises(UserError, match="--num_gpu 3: this machine has 2; use 0 for the CPU or -1 for all"):
        choose_device(3, "32")


def test_batch_that_the_devices_cannot_share_evenly_is_refused():
    three = Device(3, "32", "a GPU", 2)
    with pytest.raises(UserError, match=r"--batch_size 128: needs a multiple of 96"):
        preflight._require_whole_batches(make_settings(), three)
    preflight._require_whole_batches(make_settings(batch_size=192), three)


def test_augmentation_without_its_data_is_refused(monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(UserError, match=r"--aug_scale: .* NLTK's wordnet.*python -m nltk\.downloader wordnet"):
        preflight._require_augmentation_data()


def test_augmentation_data_may_be_zipped(monkeypatch, tmp_path):
    for resource in ("corpora/wordnet", "corpora/omw-1.4", "taggers/averaged_perceptron_tagger_eng"):
        path = tmp_path / f"{resource}.zip"
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{path.stem}/", "")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    preflight._require_augmentation_data()


def test_checkpoint_is_known_by_its_content(checkpoints, tmp_path):
    original = find_checkpoint("--teacher_model", str(checkpoints / "teacher"))
    for file in (checkpoints / "teacher").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert find_checkpoint("--teacher_model", str(tmp_path)).fingerprint == original.fingerprint
    (tmp_path / "notes.md").write_text("not part of the model")
    assert find_checkpoint("--teacher_model", str(tmp_path)).fingerprint == original.fingerprint
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert find_checkpoint("--teacher_model", str(tmp_path)).fingerprint != original.fingerprint


def test_folders_that_are_no_checkpoints_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"--student_model .*: no config\.json in "):
        find_checkpoint("--student_model", str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"no model\.safetensors or pytorch_model\.bin in "):
        find_checkpoint("--student_model", str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    with pytest.raises(UserError, match="is not JSON"):
        find_checkpoint("--student_model", str(tmp_path))


@pytest.mark.parametrize("weights", [{}, {"hard_label_weight": 0.0, "soft_label_weight": 0.0}])
def test_what_makes_a_run_worthless_is_said_before_it(checkpoints, tmp_path, caplog, weights):
    """Twenty test rows that are training rows too, rows longer than the models read, and a head that nothing trains."""
    rows = SENTENCES[:60].assign(sentence1=lambda frame: frame["sentence1"] + " word" * 80)
    write_splits(tmp_path / "data" / "rte", {"train": rows, "validation": rows[:20]})
    caplog.set_level("INFO", logger="automm_distill")
    preflight.preflight(
        make_settings(
            dataset_path=str(tmp_path / "data"),
            glue_task="rte",
            **{f"{role}_model": str(checkpoints / role) for role in ("teacher", "student")},
            **{name: str(tmp_path) for name in ("output_folder", "finetuned_model_cache_folder")},
            **weights,
        )
    )
    said = [record.getMessage() for record in caplog.records]
    assert "20 of 20 test rows of rte are training rows too: scores on them say little" in said
    assert "rte has 20 test row(s): 30 or more are needed to judge a gain" in said
    for role in ("teacher", "student"):
        assert any(line.endswith(f"tokens that the {role} reads, and are cut") for line in said)
    assert any("its answers will be chance" in line for line in said) == bool(weights)


@pytest.mark.parametrize(("num_gpus", "compiled"), [(0, False), (1, True)])
def test_networks_are_compiled_on_a_gpu_only(num_gpus, compiled):
    """On a CPU that costs time; the setting itself stays, since a cluster's nodes may have GPUs."""
    device = Device(num_gpus=num_gpus, precision="32", name="", threads=1)
    options = fit_options(make_settings(compile=True), device, "checkpoint", "teacher")
    assert options.compile is compiled


def test_log_of_validations_replaces_nothing_else(checkpoints, datasets_folder, tmp_path):
    folders = {name: str(tmp_path) for name in ("output_folder", "finetuned_model_cache_folder")}
    models = {f"{role}_model": str(checkpoints / role) for role in ("teacher", "student")}
    path = tmp_path / "log.jsonl"
    settings = make_settings(
        dataset_path=str(datasets_folder), glue_task="rte", num_gpu=0, validation_log=str(path), **folders, **models
    )
    for content in ("", '{"epoch": 1.0, "step": 2, "metric": "accuracy", "score": 0.5, "larger_is_better": true}\n'):
        path.write_text(content)
        preflight.preflight(settings)
        assert path.read_text() == content
    for content in ('{"run": "a row of results"}\n', "notes\n", "[1]\n"):
        path.write_text(content)
        with pytest.raises(UserError, match=r"--validation_log .*log\.jsonl: is there, and is no log of validations"):
            preflight.preflight(settings)
        assert path.read_text() == content


def settings_of_a_run(checkpoints, datasets_folder, tmp_path, **changes):
    folders = {name: str(tmp_path / name) for name in ("output_folder", "finetuned_model_cache_folder")}
    models = {"teacher_model": str(checkpoints / "teacher"), "student_model": None}
    run = dict(dataset_path=str(datasets_folder), glue_task="rte", num_gpu=0, student_layers="1")
    return make_settings(**{**run, **folders, **models, **changes})


def test_student_of_layers_is_a_checkpoint_in_the_cache_marked_as_in_use(checkpoints, datasets_folder, tmp_path):
    context = preflight.preflight(settings_of_a_run(checkpoints, datasets_folder, tmp_path))
    student = context.student
    assert student.path.parent == (tmp_path / "finetuned_model_cache_folder").resolve()
    assert student.path.name == f"layers-{student.fingerprint}"
    assert student.layers == (0,)
    assert (student.max_tokens, student.bytes < context.teacher.bytes) == (context.teacher.max_tokens, True)
    names = [context.model_name(role) for role in ("teacher", "baseline", "student")]
    assert names == [str(checkpoints / "teacher"), f"{checkpoints / 'teacher'}[0]", "teacher[0]"]
    assert not cache.remove(student.path), "a run uses it"
    context.entries_in_use.close()
    assert cache.remove(student.path)


def test_layers_are_those_of_a_student_that_is_given(checkpoints, datasets_folder, tmp_path):
    """The baseline starts from the same checkpoint whether the student then gets the teacher's weights or not."""
    of_teacher = settings_of_a_run(checkpoints, datasets_folder, tmp_path, student_layers="1,")
    given = settings_of_a_run(
        *(checkpoints, datasets_folder, tmp_path), student_layers="1,", student_model=str(checkpoints / "teacher")
    )
    one, other = map(preflight.preflight, (of_teacher, given))
    assert one.student == other.student
    assert one.identity != other.identity
    assert [other.model_name(role) for role in ("baseline", "student")] == [f"{checkpoints / 'teacher'}[1]"] * 2
    small = settings_of_a_run(*(checkpoints, datasets_folder, tmp_path), student_model=str(checkpoints / "student"))
    assert preflight.preflight(small).student.bytes < one.student.bytes


@pytest.mark.parametrize(("role", "total"), [("teacher", "2 layers, 0 to 1"), ("student", "1 layer, 0 to 0")])
def test_more_layers_than_a_checkpoint_has_are_refused(checkpoints, datasets_folder, tmp_path, role, total):
    changes = {} if role == "teacher" else {"student_model": str(checkpoints / "student")}
    settings = settings_of_a_run(checkpoints, datasets_folder, tmp_path, student_layers="3", **changes)
    with pytest.raises(UserError, match=rf"^--student_layers 3: \S+{role} has {total}$"):
        preflight.preflight(settings)


def test_teacher_that_is_broken_is_refused_under_its_own_flag(checkpoints, datasets_folder, tmp_path):
    shutil.copytree(checkpoints / "teacher", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not weights")
    settings = settings_of_a_run(checkpoints, datasets_folder, tmp_path, teacher_model=str(tmp_path / "model"))
    with pytest.raises(UserError, match=r"^--teacher_model \S+model: the weights in .* cannot be read"):
        preflight.preflight(settings)
    assert not list((tmp_path / "finetuned_model_cache_folder").glob("layers-*"))


def test_room_is_needed_for_hidden_states_too(checkpoints, datasets_folder, tmp_path, monkeypatch):
    needed = {}
    monkeypatch.setattr(preflight, "_require_room", lambda folder, flag, size: needed.setdefault(flag, []).append(size))
    for weight in (0.0, 1.0):
        changes = {"student_layers": "1", "student_model": None, "hidden_states_loss_weight": weight}
        context = preflight.preflight(settings_of_a_run(checkpoints, datasets_folder, tmp_path, **changes))
    without, states = needed["--finetuned_model_cache_folder"]
    assert states - without == preflight.OUTPUT_BYTES * len(context.splits.student.train)
    assert context.hidden_layers == ((0, 1),)
    assert needed["--output_folder"] == [5 * context.student.bytes] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hidden_states_layers": "1:0"},
            "--hidden_states_layers 1:0: the student has layers 0 to 0, and no layer 1",
        ),
        (
            {"hidden_states_layers": "0:2"},
            "--hidden_states_layers 0:2: the teacher has layers 0 to 1, and no layer 2",
        ),
        (
            {"teacher_outputs": "online"},
            "--hidden_states_loss_weight: with --teacher_outputs online the states of all tokens are compared, and "
            "teacher and student have different tokenizers",
        ),
    ],
)
def test_hidden_states_that_cannot_be_compared_are_refused(checkpoints, datasets_folder, tmp_path, changes, message):
    settings = settings_of_a_run(
        checkpoints,
        datasets_folder,
        tmp_path,
        student_layers=None,
        student_model=str(checkpoints / "student"),
        hidden_states_loss_weight=1.0,
        **changes,
    )
    with pytest.raises(UserError) as refused:
        preflight.preflight(settings)
    assert str(refused.value).startswith(message)


def test_augmentation_and_the_states_of_all_tokens_exclude_each_other():
    with pytest.raises(UserError, match="--hidden_states_loss_weight compares all tokens with --teacher_outputs"):
        make_settings(hidden_states_loss_weight=1.0, teacher_outputs="online", aug_scale=0.1)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (AlbertConfig(hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=2), "no list"),
        (SqueezeBertConfig(hidden_size=16, num_attention_heads=2, intermediate_size=32, embedding_size=16), "states"),
    ],
)
def test_hidden_states_of_layers_that_cannot_be_watched_are_refused(checkpoints, tmp_path, config, problem):
    tokenizer = AutoTokenizer.from_pretrained(checkpoints / "teacher")
    config.vocab_size = len(tokenizer)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=rf"^--flag: mine: .*{problem}.*; --flag 0 leaves them out$"):
        layers.count("--flag", "mine", find_checkpoint("--teacher_model", str(tmp_path)))
