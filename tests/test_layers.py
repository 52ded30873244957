"""Students made of layers: tiny random networks of every family that AutoGluon's hf_text takes, cut and read again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from automm_distill import cache
from automm_distill.cache.pruning import entries_in
from automm_distill.errors import UserError
from automm_distill.inputs.checkpoints import layers
from automm_distill.inputs.checkpoints.finding import Checkpoint, find_checkpoint
from automm_distill.inputs.checkpoints.opening import check_checkpoint
from automm_distill.layer_choice import canonical_layers, chosen_layers, student_name
from automm_distill.memory import read_network_size

from .conftest import SENTENCES

LAYERS = 4
FULL, SLIDING = "full_attention", "sliding_attention"
SMALL = {
    **{"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": LAYERS, "intermediate_size": 32},
    **{"vocab_size": 50, "max_position_embeddings": 40, "pad_token_id": 0},
}
SPECIAL = {"bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": SMALL,
    "roberta": SMALL,
    "xlm-roberta": SMALL,
    "deberta-v2": SMALL | RELATIVE,
    "electra": SMALL | {"embedding_size": 8},
    "distilbert": {
        **{"dim": 16, "n_heads": 2, "n_layers": LAYERS, "hidden_dim": 32},
        **{"vocab_size": 50, "max_position_embeddings": 40},
    },
    "mpnet": SMALL,
    "modernbert": SMALL | SPECIAL,
    "longformer": SMALL | {"attention_window": [4, 8, 4, 8]},
}


def write(folder: Path, family: str, **changes: Any) -> Any:
    """A checkpoint of random weights in ``folder``, with something of a tokenizer; the network is returned."""
    config = transformers.AutoConfig.for_model(family, **(FAMILIES.get(family, SMALL) | changes))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = transformers.AutoModel.from_config(config).eval()
    network.save_pretrained(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[CLS]\n[SEP]\na\n")
    return network


def cut(folder: Path, choice: str, cache_folder: Path) -> Checkpoint:
    """The layers of the checkpoint in ``folder`` that ``--student_layers`` takes."""
    source = find_checkpoint("--teacher_model", str(folder))
    return layers.cut("it", source, layers.choose(canonical_layers(choice), "it", source), cache_folder)


def read(checkpoint: Checkpoint) -> Any:
    """The network in it, and that nothing but it was in its files."""
    network, report = transformers.AutoModel.from_pretrained(
        checkpoint.path, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values()), report
    return network.eval()


def layer_outputs(network: Any) -> list[torch.Tensor]:
    """What each layer makes of three rows, two of which are padded: shape (rows, tokens, width) each."""
    outputs: list[torch.Tensor] = []
    _, modules = layers.find_layers(network)
    hooks = [
        layer.register_forward_hook(lambda *call: outputs.append(call[2][0] if isinstance(call[2], tuple) else call[2]))
        for layer in modules
    ]
    tokens = torch.randint(3, 50, (3, 12), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        network(input_ids=tokens, attention_mask=(torch.arange(12) < torch.tensor([[12], [9], [4]])).int())
    for hook in hooks:
        hook.remove()
    return outputs


@pytest.mark.parametrize("family", FAMILIES)
def test_first_layers_compute_what_they_did_in_the_whole_network(family, tmp_path):
    whole = write(tmp_path / "model", family)
    expected = layer_outputs(whole)
    assert len(expected) == LAYERS
    found = layer_outputs(read(cut(tmp_path / "model", "first:2", tmp_path / "cache")))
    assert len(found) == 2
    for ours, theirs in zip(found, expected, strict=False):
        assert torch.equal(ours, theirs)
    assert not torch.equal(expected[0], expected[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_chosen_layers_keep_their_weights_and_so_does_all_around_them(family, tmp_path):
    whole = write(tmp_path / "model", family)
    checkpoint = cut(tmp_path / "model", "0,2", tmp_path / "cache")
    network = read(checkpoint)
    name, modules = layers.find_layers(whole)
    assert layers.find_layers(network)[0] == name
    assert network.config.num_hidden_layers == 2
    expected = {key: weight for key, weight in whole.state_dict().items() if not key.startswith(f"{name}.")}
    for place, layer in enumerate((0, 2)):
        expected |= {f"{name}.{place}.{key}": weight for key, weight in modules[layer].state_dict().items()}
    found = network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], weight) for key, weight in expected.items())
    assert checkpoint.layers == (0, 2)
    assert checkpoint.bytes == 4 * sum(weight.numel() for weight in expected.values())
    assert read_network_size(checkpoint.path).layers == 2, "so do the estimates of memory and time"


@pytest.mark.parametrize(
    ("family", "name", "before", "after"),
    [
        ("modernbert", "layer_types", [FULL, FULL, SLIDING, SLIDING], [FULL, SLIDING]),
        ("longformer", "attention_window", [4, 8, 4, 8], [4, 4]),
    ],
)
def test_lists_of_the_configuration_with_one_element_for_each_layer_are_cut_too(family, name, before, after, tmp_path):
    write(tmp_path / "model", family, **{name: before})
    assert getattr(read(cut(tmp_path / "model", "0,2", tmp_path / "cache")).config, name) == after


def test_list_with_as_many_elements_as_layers_by_chance_stays(tmp_path):
    write(tmp_path / "model", "deberta-v2", num_hidden_layers=2)
    assert read(cut(tmp_path / "model", "1,", tmp_path / "cache")).config.pos_att_type == ["p2c", "c2p"]


def test_layer_that_cannot_be_the_first_is_refused_and_leaves_nothing(tmp_path):
    """ModernBERT's first layer has no normalisation before its attention: the embeddings have one."""
    write(tmp_path / "model", "modernbert")
    line = (
        r"^--student_layers 1,3 of it: in a modernbert network some layers differ from others "
        r"\(layers\.0\.attn_norm\.weight\), and cannot take their places; try first:2$"
    )
    with pytest.raises(UserError, match=line):
        cut(tmp_path / "model", "1,3", tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_network_that_transformers_cannot_build_is_refused(tmp_path):
    """Its 5.14.1 reads no configuration of a ModernBERT without sliding attention."""
    write(tmp_path / "model", "modernbert")
    with pytest.raises(
        UserError, match=r"^--student_layers 0, of it: transformers cannot build a network of these lay"
    ):
        cut(tmp_path / "model", "first:1", tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("family", "changes", "count"),
    [
        ("albert", {"embedding_size": 8}, "no list"),
        ("t5", {"d_model": 16, "d_kv": 8, "num_heads": 2, "num_layers": LAYERS, "d_ff": 32}, "2 lists"),
    ],
)
def test_family_whose_layers_cannot_be_found_is_refused(family, changes, count, tmp_path):
    write(tmp_path / "model", family, **changes)
    line = rf"^--student_layers 0,2 of it: its layers cannot be found: .* \({family}\) has {count} of 4 layers; needs"
    with pytest.raises(UserError, match=line):
        cut(tmp_path / "model", "2", tmp_path / "cache")


def test_family_without_a_number_of_layers_is_refused(tmp_path):
    transformers.PerceiverConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"^--student_layers 2: it \(perceiver\) does not say how many layers it has$"):
        layers.choose("2", "it", Checkpoint(tmp_path, "of it", 1))


def test_cut_checkpoint_is_known_by_what_it_is_made_from_and_is_made_once(tmp_path):
    write(tmp_path / "model", "bert")
    first = cut(tmp_path / "model", "2", tmp_path / "cache")
    written = (first.path / cache.MANIFEST).stat().st_mtime_ns
    assert cut(tmp_path / "model", "0,2", tmp_path / "cache") == first
    assert (first.path / cache.MANIFEST).stat().st_mtime_ns == written
    assert cut(tmp_path / "model", "2", tmp_path / "elsewhere").fingerprint == first.fingerprint
    assert cut(tmp_path / "model", "0,3", tmp_path / "cache").fingerprint != first.fingerprint
    write(tmp_path / "other", "bert", hidden_act="relu")
    assert cut(tmp_path / "other", "2", tmp_path / "cache").fingerprint != first.fingerprint
    (entry,) = (each for each in entries_in(tmp_path / "cache") if each.path.name == first.path.name)
    assert (entry.kind, entry.about) == ("layers", "layers 0,2, it")


def test_weights_that_the_checkpoint_lacks_are_the_same_in_every_cut(tmp_path):
    """Language models are saved without the pooler."""
    config = transformers.AutoConfig.for_model("bert", **SMALL)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "model")
    torch.manual_seed(1)
    one = cut(tmp_path / "model", "2", tmp_path / "one")
    torch.manual_seed(2)
    expected = torch.rand(1)
    torch.manual_seed(2)
    other = cut(tmp_path / "model", "2", tmp_path / "other")
    assert torch.equal(torch.rand(1), expected), "nor does it change what is drawn next"
    assert (one.path / "model.safetensors").read_bytes() == (other.path / "model.safetensors").read_bytes()


def test_cut_of_shards_in_half_precision_is_one_file_in_single(tmp_path):
    whole = write(tmp_path / "whole", "bert").half()
    whole.save_pretrained(tmp_path / "model", max_shard_size="10KB")
    assert len([*(tmp_path / "model").glob("*.safetensors")]) > 1
    checkpoint = cut(tmp_path / "model", "1,", tmp_path / "cache")
    assert sorted(path.name for path in checkpoint.path.iterdir()) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
    ]
    found, expected = (layers.find_layers(network)[1] for network in (read(checkpoint), whole))
    for ours, theirs in zip(found[0].parameters(), expected[1].parameters(), strict=True):
        assert torch.equal(ours, theirs.float())


def test_cut_checkpoint_opens_like_any_other_with_the_files_of_its_tokenizer(checkpoints, tmp_path):
    texts = tuple(SENTENCES["sentence1"][:20])
    checkpoint = cut(checkpoints / "teacher", "1,", tmp_path)
    for file in (checkpoints / "teacher").iterdir():
        same = file.name not in ("config.json", "model.safetensors")
        assert ((checkpoint.path / file.name).read_bytes() == file.read_bytes()) == same
    longest = check_checkpoint("--student_model", "it", checkpoints / "teacher", texts)
    assert check_checkpoint("--student_model", "it", checkpoint.path, texts) == longest


def test_cut_checkpoint_can_be_cut_again(tmp_path):
    write(tmp_path / "model", "bert")
    half = cut(tmp_path / "model", "0,2,3", tmp_path / "cache")
    again = cut(half.path, "0,2", tmp_path / "cache")
    cache.verified_manifest(again.path)
    assert json.loads((again.path / cache.MANIFEST).read_text())["recipe"]["layers"] == [0, 2]


def test_damaged_cut_is_made_again(tmp_path, caplog):
    write(tmp_path / "model", "bert")
    checkpoint = cut(tmp_path / "model", "2", tmp_path / "cache")
    (checkpoint.path / "model.safetensors").write_bytes(b"")
    assert cut(tmp_path / "model", "2", tmp_path / "cache") == checkpoint
    assert "is damaged (model.safetensors is changed)" in caplog.text
    read(checkpoint)


@pytest.mark.parametrize(
    ("written", "canonical", "total", "layers_taken"),
    [
        ("3", "3", 6, (0, 2, 4)),
        ("3", "3", 12, (0, 4, 8)),
        ("4", "4", 6, (0, 1, 3, 4)),
        ("5", "5", 7, (0, 1, 2, 4, 5)),
        ("1", "1", 6, (0,)),
        (" 06 ", "6", 6, (0, 1, 2, 3, 4, 5)),
        ("first:3", "first:3", 6, (0, 1, 2)),
        (" first: 3", "first:3", 3, (0, 1, 2)),
        ("0,2,4", "0,2,4", 5, (0, 2, 4)),
        (" 0, 2 ,04", "0,2,4", 6, (0, 2, 4)),
        ("0 2 4", "0,2,4", 6, (0, 2, 4)),
        ("1,5,", "1,5", 6, (1, 5)),
        ("2,", "2,", 6, (2,)),
        ("2 , ", "2,", 3, (2,)),
    ],
)
def test_layers_are_chosen_in_one_spelling(written, canonical, total, layers_taken):
    assert canonical_layers(written) == canonical
    assert canonical_layers(canonical) == canonical
    assert chosen_layers(canonical, "it", total) == layers_taken


@pytest.mark.parametrize(
    "text", ["", " ", ",", "x", "first", "first:", "last:3", "0,,2", ",2", "1.5", "-1", "0-3", "٣"]
)
def test_what_is_no_choice_of_layers_is_refused(text):
    with pytest.raises(
        UserError, match=r"^--student_layers .*: needs a number of layers \(3: spread over the depth\),"
    ):
        canonical_layers(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("0", r"--student_layers 0: needs 1 layer or more \(the first one alone is 0,\)"),
        ("first:0", "--student_layers first:0: needs 1 layer or more"),
        ("4,2", "--student_layers 4,2: needs ascending layers, each once, such as 2,4"),
        ("2,2", "--student_layers 2,2: needs ascending layers, each once, such as 2,"),
        ("9" * 5000, "--student_layers 9+: needs a number of layers"),
    ],
)
def test_layers_that_no_network_has_are_refused(text, line):
    with pytest.raises(UserError, match=f"^{line}"):
        canonical_layers(text)


@pytest.mark.parametrize("choice", ["7", "first:7", "6,", "0,2,6", "9999"])
def test_more_layers_than_there_are_are_refused(choice):
    with pytest.raises(UserError, match=rf"^--student_layers {choice}: bert has 6 layers, 0 to 5$"):
        chosen_layers(choice, "bert", 6)


def test_all_layers_are_taken_but_that_is_said(tmp_path, caplog):
    write(tmp_path / "model", "bert")
    assert cut(tmp_path / "model", "4", tmp_path / "cache").layers == (0, 1, 2, 3)
    assert "--student_layers 4: these are all layers of it" in caplog.text


def test_student_is_called_by_its_layers():
    assert student_name("hub/bert", ()) == "hub/bert"
    assert student_name("models/bert/", (0, 2, 4)) == "models/bert[0,2,4]"
    assert student_name(None, (1,)) == "teacher[1]"
