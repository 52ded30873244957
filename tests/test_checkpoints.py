"""Checkpoints as people have them: opened as AutoGluon will, or refused in one line before anything is trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import transformers
from autogluon.multimodal.models.hf_text import HFAutoModelForTextPrediction
from safetensors.torch import load_file, save_file

from automm_distill import automm
from automm_distill.cli import run_script
from automm_distill.errors import UserError
from automm_distill.inputs.checkpoints.finding import find_checkpoint
from automm_distill.inputs.checkpoints.folder_files import require_network, require_whole_files
from automm_distill.inputs.checkpoints.opening import check_checkpoint

from .checkpoint_formats import WIDTHS, write_google_bert, write_mdeberta, write_mminilm
from .conftest import GERMAN, SENTENCES, make_settings, write_splits
from .fits import CPU

TEXTS = tuple(SENTENCES["sentence1"][:50])
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
QUICK = ["--max_epochs", "1", "--teacher_max_epochs", "1", "--batch_size", "32", "--num_workers", "0", "--num_gpu", "0"]


def check(folder: Path) -> int:
    """As a run does it: found, then opened."""
    require_network("--student_model x", folder)
    require_whole_files("--student_model x", folder)
    return check_checkpoint("--student_model", "x", folder, TEXTS)


@pytest.fixture
def folder(checkpoints, tmp_path) -> Path:
    """A BERT of one layer, for a test to spoil."""
    return shutil.copytree(checkpoints / "student", tmp_path / "checkpoint")


def change_json(file: Path, **changes) -> None:
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def change_config(**changes) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / "config.json", **changes)


def change_weights(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})

    return write


def write_file(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda folder: (
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content) and None
    )


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def to_bin(folder: Path, *, zipped: bool = True) -> None:
    """The same weights in PyTorch's own format."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)


def cut_off_bin(zipped: bool) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        to_bin(folder, zipped=zipped)
        path = folder / "pytorch_model.bin"
        path.write_bytes(path.read_bytes()[:-1000])

    return write


def spoil_the_middle_of_a_bin(folder: Path) -> None:
    to_bin(folder)
    path = folder / "pytorch_model.bin"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + data[len(data) // 2 :].replace(b"PK", b"  "))


def change_position_kind(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"position_embedding_type": None}))


def in_shards(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-{number % 2 + 1:05}-of-00002.safetensors" for number, name in enumerate(weights)}
    for file in set(files.values()):
        part = {name: weight for name, weight in weights.items() if files[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def lose_a_shard(folder: Path) -> None:
    in_shards(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def spoil_the_index(content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        in_shards(folder)
        (folder / "model.safetensors.index.json").write_text(content)

    return write


def spoil_a_number(weights: dict) -> dict:
    weights["encoder.layer.0.output.dense.weight"][3, 5] = float("nan")
    return weights


def overflow(weights: dict) -> dict:
    weights["encoder.layer.0.output.LayerNorm.weight"][:] = 3e38
    return weights


def spoil_a_number_in_a_shard(folder: Path) -> None:
    change_weights(spoil_a_number)(folder)
    in_shards(folder)


def replace_weights(folder: Path, *names: str) -> None:
    """Nothing of the folder but these files and the configuration."""
    for file in folder.iterdir():
        if file.name != "config.json":
            file.unlink()
    for name in names:
        (folder / name).write_bytes(b"\0" * 100)


def be_an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def lose_the_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def lose_the_merges(folder: Path) -> None:
    be_of("roberta", **WIDTHS, vocab_size=300)(folder)
    lose_the_tokenizer(folder)
    (folder / "vocab.json").write_text(json.dumps({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4}))


def know_other_words(folder: Path) -> None:
    """A tokenizer whose words are in no row."""
    lose_the_tokenizer(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nЩЮ\n")


def have_no_padding(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", pad_token=None)


def have_no_ends(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", cls_token=None, sep_token=None)


def be_of(model_type: str, **config) -> Callable[[Path], None]:
    """Another architecture, with random weights, beside the tokenizer that is there."""

    def write(folder: Path) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(model_type, **config))
        network.save_pretrained(folder)

    return write


VISION = {"image_size": 32, "patch_size": 16}
REFUSED = {
    "configuration that is a list": (write_file("config.json", "[1]"), r"config\.json is no configuration"),
    "configuration with a text for a number": (change_config(hidden_size="big"), r"config\.json cannot be used"),
    "no model_type": (change_config(model_type=None), "config.json has no model_type .*transformers 5"),
    "unknown model_type": (change_config(model_type="mine"), "model_type 'mine' in config.json is none that is known"),
    "two model_types": (change_config(model_type=["bert"]), r"model_type \['bert'\] in config.json is none that is"),
    "no kind of positions": (change_position_kind, r"no saying how long its rows may be \(TypeError"),
    "spoilt .bin": (spoil_the_middle_of_a_bin, r"the weights in .*pytorch_model\.bin cannot be read"),
    "quantized": (change_config(quantization_config={"quant_method": "gptq"}), "quantized, and cannot be trained"),
    "vision": (be_of("vit", **WIDTHS, **VISION), "a vit network reads pixel_values, not text"),
    "no tokenizer": (lose_the_tokenizer, r"no tokenizer files in .*; found none of tokenizer\.json, vocab\.txt"),
    "no merges": (lose_the_merges, r"no tokenizer can be made of the files in .*merges"),
    "damaged tokenizer": (write_file("tokenizer.json", '{"version": "1.0"'), "no tokenizer can be made of the files"),
    "tokenizer of another language": (know_other_words, r"reads nothing but \[UNK\] in 50 texts of the task"),
    "no padding token": (have_no_padding, "no padding token, like those of GPT-2 and Llama"),
    "no tokens for the ends of a row": (have_no_ends, "no tokens for the start and the end of a row"),
    "fewer embeddings than tokens": (
        be_of("bert", **WIDTHS, vocab_size=20),
        r"tokens up to number \d+, its network embeddings for 20 \(vocab_size in config\.json\)",
    ),
    "decoder with a padding token": (
        be_of(
            "opt", hidden_size=32, word_embed_proj_dim=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=900
        ),
        r"sees nothing of the others in this network \(opt\), as in a decoder",
    ),
    "encoder of two networks": (
        be_of("marian", d_model=32, encoder_layers=1, decoder_layers=1, vocab_size=900, pad_token_id=0),
        "its network cannot read a row as AutoGluon gives it",
    ),
    "no rows with padding": (
        be_of("nystromformer", **WIDTHS, vocab_size=900, num_landmarks=8, segment_means_seq_len=64),
        "its network cannot read a row as AutoGluon gives it",
    ),
    "rows of no length": (
        be_of("xlnet", d_model=32, n_layer=1, n_head=2, vocab_size=900),
        "would cut its rows to -1 tokens",
    ),
    "cut off": (cut_off, r"the weights in .*model\.safetensors cannot be read, get them again"),
    "cut off, zipped .bin": (cut_off_bin(zipped=True), r"the weights in .*pytorch_model\.bin cannot be read"),
    "cut off, old .bin": (cut_off_bin(zipped=False), r"the weights in .*pytorch_model\.bin cannot be read"),
    "empty file": (write_file("model.safetensors", b""), r"the weights in .*model\.safetensors cannot be read"),
    "git-lfs pointer": (write_file("model.safetensors", POINTER), r"model\.safetensors is a git-lfs pointer.*lfs pull"),
    "git-lfs pointer of a tokenizer": (write_file("tokenizer.json", POINTER), r"tokenizer\.json is a git-lfs pointer"),
    "lost shard": (lose_a_shard, r"1 of the 2 files of its weights are not in .*, such as model-00002-of-00002"),
    "index of nothing": (spoil_the_index("{}"), r"index\.json is no index of weights"),
    "index of no weights": (spoil_the_index('{"weight_map": {}}'), r"index\.json is no index of weights"),
    "index of numbers": (spoil_the_index('{"weight_map": {"a": 1}}'), r"index\.json is no index of weights"),
    "index of lists": (spoil_the_index('{"weight_map": {"a": ["b"]}}'), r"index\.json is no index of weights"),
    "shapes of another network": (
        change_config(intermediate_size=48),
        r"encoder\.layer\.0\.intermediate\.dense\.bias is \(32,\) in .* and \(48,\) by config\.json",
    ),
    "names of another network": (
        change_weights(lambda weights: {f"x.{name.replace('.', '_')}": value for name, value in weights.items()}),
        r"21 of the 21 weights of its network \(bert\) are not in",
    ),
    "NaN": (
        change_weights(spoil_a_number),
        r"1 of 512 numbers of encoder\.layer\.0\.output\.dense\.weight are not finite.*in .*/model\.safetensors",
    ),
    "NaN in a shard": (spoil_a_number_in_a_shard, r"output\.dense\.weight are not finite.*/model-0000\d-of-00002"),
    "numbers that overflow": (
        change_weights(overflow),
        "what its network makes of a row is not finite",
    ),
    "adapter": (be_an_adapter, r"is an adapter \(LoRA or the like\).*merge_and_unload"),
    "GGUF": (lambda folder: replace_weights(folder, "model-q4.gguf"), r"weights for llama\.cpp \(GGUF\) only"),
    "TensorFlow": (lambda folder: replace_weights(folder, "tf_model.h5"), "weights for TensorFlow only"),
    "weights of no name": (lambda folder: replace_weights(folder, "model.fp16.safetensors"), "no model.safetensors or"),
}


@pytest.mark.parametrize(("spoil", "line"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_train_is_refused_in_one_line(folder, spoil, line):
    spoil(folder)
    with pytest.raises(UserError, match=f"^--student_model x: .*{line}") as refusal:
        check(folder)
    assert "\n" not in str(refusal.value)


def drop(*beginnings: str) -> Callable[[Path], None]:
    return change_weights(
        lambda weights: {name: value for name, value in weights.items() if not name.startswith(beginnings)}
    )


def test_embeddings_that_are_not_there_are_refused_though_they_are_one_weight(folder):
    drop("embeddings.word_embeddings")(folder)
    with pytest.raises(UserError, match=r"1 of the \d+ weights .* such as embeddings\.word_embeddings\.weight"):
        check(folder)


def test_pooler_that_autogluon_does_not_use_may_be_of_any_kind(folder):
    change_weights(lambda weights: weights | {"pooler.dense.weight": weights["pooler.dense.weight"] * torch.nan})(
        folder
    )
    check(folder)


def test_layers_that_the_configuration_leaves_out_are_said(folder, caplog):
    change_config(num_hidden_layers=1)(folder)
    layer = "encoder.layer.1.output.dense.weight"
    change_weights(lambda weights: weights | {layer: weights["encoder.layer.0.output.dense.weight"].clone()})(folder)
    check(folder)
    assert f"1 weights are left out, such as {layer}" in caplog.text


def test_tokenizer_that_finds_only_letters_is_said(folder, caplog):
    """The class of another family, which cuts the texts in its own way before the vocabulary is asked."""
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    words = [f"word{number}" for number in range(1000)]
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *letters, *(f"##{letter}" for letter in letters), *words]))
    be_of("bert", **WIDTHS, vocab_size=1100)(folder)
    check(folder)
    assert "reads the task's texts almost letter by letter" in caplog.text


def test_code_that_a_checkpoint_brings_is_neither_run_nor_asked_about(folder, monkeypatch):
    code = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    change_json(folder / "config.json", model_type="mine", auto_map=code)
    (folder / "code.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    with pytest.raises(UserError, match=r"needs Python code of its own \(auto_map in config\.json\)"):
        check(folder)
    # A known architecture needs no code, so that its own is left alone.
    change_json(folder / "config.json", model_type="bert")
    change_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["code.Tokenizer", None]})
    assert check(folder) == 64
    assert not asked
    assert not (folder / "ran").exists()


def be_gamma_and_beta(weights: dict) -> dict:
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): weight
        for name, weight in weights.items()
    }


LAYERS = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
FITTING = {
    "in shards": in_shards,
    "torch's format": to_bin,
    "torch's old format": lambda folder: to_bin(folder, zipped=False),
    "half precision": change_weights(lambda weights: {name: value.half() for name, value in weights.items()}),
    "names of old": change_weights(be_gamma_and_beta),
    "without pooler": change_weights(lambda weights: {k: v for k, v in weights.items() if "pooler" not in k}),
    "of a language model": change_weights(lambda weights: {f"bert.{name}": v for name, v in weights.items()}),
    "pointers of other frameworks": write_file("tf_model.h5", POINTER),
    **{
        f"{model_type} {positions}": be_of(
            model_type, **WIDTHS, vocab_size=900, max_position_embeddings=positions, type_vocab_size=types
        )
        for model_type, positions, types in (
            *(("bert", 512, 2), ("bert", 600, 2), ("roberta", 514, 1), ("xlm-roberta", 514, 1), ("electra", 512, 2)),
            *(("mpnet", 514, 1), ("deberta-v2", 512, 0), ("longformer", 4098, 1)),
        )
    },
    "modernbert": be_of("modernbert", **WIDTHS, vocab_size=900, pad_token_id=0),
    "deberta": be_of("deberta-v2", **WIDTHS, vocab_size=900, relative_attention=True, position_biased_input=False),
    "albert": be_of("albert", **WIDTHS, embedding_size=16, vocab_size=900),
    "distilbert": be_of("distilbert", dim=32, n_layers=1, n_heads=2, hidden_dim=64, vocab_size=900),
    "t5": be_of("t5", d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, vocab_size=900),
    "bart": be_of("bart", d_model=32, **LAYERS, encoder_ffn_dim=64, decoder_ffn_dim=64, vocab_size=900),
    "canine": be_of("canine", **WIDTHS),
}


@pytest.mark.parametrize("write", FITTING.values(), ids=FITTING)
def test_what_can_train_passes_with_autogluons_own_longest_row(folder, write):
    write(folder)
    assert check(folder) == HFAutoModelForTextPrediction("hf_text", str(folder), max_text_len=512).max_text_len


@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta", "mpnet"])
def test_positions_that_are_never_a_tokens_make_rows_shorter(folder, model_type):
    be_of(model_type, **WIDTHS, vocab_size=900, max_position_embeddings=50, type_vocab_size=1)(folder)
    assert check(folder) == 48


def test_layers_that_start_at_random_are_said(folder, caplog):
    change_json(folder / "config.json", num_hidden_layers=2)
    before = torch.get_rng_state()
    assert check(folder) == 64
    assert "16 of the 37 weights of its network are not in" in caplog.text
    assert "start at random, such as encoder.layer.1." in caplog.text
    assert torch.equal(torch.get_rng_state(), before)


def test_pooler_that_starts_at_random_is_not_said(folder, caplog):
    change_weights(lambda weights: {k: v for k, v in weights.items() if "pooler" not in k})(folder)
    check(folder)
    assert not caplog.text


def test_language_that_the_tokenizer_does_not_know_is_said(folder, caplog):
    texts = (*TEXTS, *["ЩЮ"] * 10)
    check_checkpoint("--teacher_model", "x", folder, texts)
    assert "--teacher_model x: of 60 texts of the task, its tokenizer reads 10 as mostly [UNK]" in caplog.text


def test_only_fewer_tokens_than_autogluons_limit_are_an_option_of_a_fit():
    """So that a model that was cached before keeps its key."""
    arguments = (make_settings(), CPU, "/a/checkpoint", "teacher")
    usual, short = automm.fit_options(*arguments), automm.fit_options(*arguments, max_tokens=128)
    assert "model.hf_text.max_text_len" not in usual.hyperparameters
    assert short.training_key["hyperparameters"]["model.hf_text.max_text_len"] == 128


@pytest.fixture
def long_rows(tmp_path) -> Path:
    """RTE with rows of more than 100 words."""
    long = SENTENCES.assign(sentence1=[" ".join([text] * 20) for text in SENTENCES["sentence1"]])
    write_splits(tmp_path / "data" / "rte", {"train": long[:80], "validation": long[80:120]})
    return tmp_path / "data"


def glue_flags(data: Path, checkpoints: Path, tmp_path: Path) -> list[str]:
    return [
        *("--glue_task", "rte", "--dataset_path", str(data)),
        *("--teacher_model", str(checkpoints / "teacher"), "--student_model", str(checkpoints / "student")),
        *("--finetuned_model_cache_folder", str(tmp_path / "cache"), "--output_folder", str(tmp_path / "results")),
        *QUICK,
    ]


def test_rows_are_cut_to_the_positions_of_a_student_like_roberta(folder, long_rows, checkpoints, tmp_path):
    be_of("roberta", **WIDTHS, vocab_size=900, max_position_embeddings=34, type_vocab_size=1)(folder)
    assert run_script("glue", [*glue_flags(long_rows, checkpoints, tmp_path), "--student_model", str(folder)]) == 0
    (row,) = pd.read_json(tmp_path / "results" / "results.jsonl", lines=True).to_dict("records")
    student = automm.load(Path(row["paths"]["student"]), make_settings(glue_task="rte").tasks[0], verbosity="quiet")
    counts = student.token_counts(pd.read_parquet(long_rows / "rte" / "validation.parquet"))
    assert set(counts) == {32}


@pytest.mark.parametrize("flag", ["--teacher_model", "--student_model"])
def test_run_ends_before_any_training(folder, datasets_folder, checkpoints, tmp_path, capfd, flag):
    lose_the_tokenizer(folder)
    assert run_script("glue", [*glue_flags(datasets_folder, checkpoints, tmp_path), flag, str(folder)]) == 2
    error = capfd.readouterr().err
    (line,) = (text for text in error.splitlines() if "error:" in text)
    assert f"{flag} {folder}: no tokenizer files in {folder}" in line
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_adapter_is_named_when_it_is_looked_for(folder):
    replace_weights(folder, "adapter_config.json", "adapter_model.safetensors")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"--teacher_model .*is an adapter"):
        find_checkpoint("--teacher_model", str(folder))


# --- The scripts' default checkpoints ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def public(tmp_path_factory) -> Path:
    """A folder with the default checkpoints in the formats that the hub has them in."""
    root = tmp_path_factory.mktemp("public")
    english = [*SENTENCES["sentence1"], *SENTENCES["sentence2"]]
    both = [*english, *GERMAN["sentence1"], *GERMAN["sentence2"]]
    write_google_bert(root / "bert-12", english, layers=3)
    write_google_bert(root / "bert-6", english, layers=2)
    write_mdeberta(root / "mdeberta", both)
    write_mminilm(root / "mminilm", both)
    return root


def test_default_checkpoints_pass_in_their_formats(public, caplog):
    assert {path.name: check(path) for path in sorted(public.iterdir())} == {
        "bert-12": 512,
        "bert-6": 512,
        "mdeberta": 512,
        "mminilm": 512,
    }
    assert not caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "task", "teacher", "student"),
    [
        ("glue", ["--glue_task", "rte"], "bert-12", "bert-6"),
        ("pawsx", ["--pawsx_teacher_tasks", "en", "de", "--pawsx_student_tasks", "en", "de"], "mdeberta", "mminilm"),
    ],
)
def test_default_checkpoints_train(public, datasets_folder, tmp_path, script, task, teacher, student):
    pair = ["--teacher_model", str(public / teacher), "--student_model", str(public / student)]
    flags = [*glue_flags(datasets_folder, public, tmp_path)[2:], *pair]
    assert run_script(script, [*task, *flags]) == 0
    (row,) = pd.read_json(tmp_path / "results" / "results.jsonl", lines=True).to_dict("records")
    assert set(row["training"]) == {"teacher", "baseline", "student"}
    trained = torch.load(Path(row["paths"]["student"]) / "model.ckpt", weights_only=False)["state_dict"]
    weights = [weight for weight in trained.values() if weight.is_floating_point()]
    assert {weight.dtype for weight in weights} == {torch.float32}
    assert all(weight.isfinite().all() for weight in weights)
    frame = pd.read_parquet(row["paths"]["predictions"])
    assert len(frame) == 60 if script == "glue" else 120
    assert frame["student_probabilities"].map(tuple).nunique() > 10, "rows are told apart"
