"""A checkpoint of some layers of another one: the start of a student that is as wide as its teacher, but not as deep.

Embeddings, the chosen layers in their order and what follows the last one are kept, as DistilBERT (Sanh et al. 2019,
arXiv 1910.01108, section 3) was begun.
"""

import fnmatch
import logging
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automm_distill import cache
from automm_distill.errors import UserError
from automm_distill.inputs.checkpoints.finding import Checkpoint, small_files
from automm_distill.inputs.checkpoints.opening import load_network, load_tokenizer, refusing
from automm_distill.inputs.checkpoints.weight_files import single_precision_bytes, weight_files
from automm_distill.layer_choice import chosen_layers, spelled
from automm_distill.versions import TRAINING_FORMAT, library_versions

if TYPE_CHECKING:
    from torch import nn

# Files that a cut checkpoint has of its own; the last one lists the shards of the weights.
_REPLACED = ("config.json", cache.MANIFEST, "*.index.json")
# Lists of a configuration that can have as many elements as the network has layers, and yet are not one for each.
_NOT_BY_LAYER = ("architectures", "pos_att_type")

log = logging.getLogger(__name__)


def find_layers(network: Any) -> tuple[str, "nn.ModuleList"]:
    """The name of the list of layers in ``network``, an encoder of transformers, and that list, first layer to last.

    It is its one list of ``num_hidden_layers`` modules. ALBERT, whose layers are one and the same, has none; a T5
    has two, the decoder's being as long.

    :raises UserError: when there is no such list, or more than one.
    """
    from torch import nn

    total = getattr(network.config, "num_hidden_layers", None)
    lists = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == total
    ]
    if len(lists) != 1:
        count = f"{len(lists)} lists" if lists else "no list"
        raise UserError(
            f"its layers cannot be found: a network of this kind ({network.config.model_type}) has {count} of {total} "
            "layers; needs an encoder with one, such as a BERT or a RoBERTa"
        )
    return lists[0]


def choose(choice: str, name: str, source: Checkpoint) -> tuple[int, ...]:
    """The layers of ``source``, a checkpoint that was opened before, that ``--student_layers`` takes.

    :param choice: the flag's value in its canonical spelling.
    :param name: of the checkpoint, for messages.
    :raises UserError: when it has no such layers, or not as many.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(source.path, trust_remote_code=False)
    total = getattr(config, "num_hidden_layers", None)
    if not isinstance(total, int):
        raise UserError(f"--student_layers {choice}: {name} ({config.model_type}) does not say how many layers it has")
    layers = chosen_layers(choice, name, total)
    if len(layers) == total:
        log.warning("--student_layers %s: these are all layers of %s", choice, name)
    return layers


def count(flag: str, name: str, checkpoint: Checkpoint) -> int:
    """How many layers a checkpoint's network has, which was opened before, and whose states can be watched.

    :param flag: and ``name`` of the checkpoint: for messages.
    :raises UserError: when they cannot be found, or do not give the states of all tokens when they are called.
    """
    import torch

    where = f"{flag}: {name}: "
    network, _ = load_network(checkpoint.path)
    tokens = torch.tensor([load_tokenizer(checkpoint.path)("a")["input_ids"]])
    states: list[Any] = []
    try:
        _, modules = find_layers(network)
    except UserError as error:
        raise UserError(f"{where}{error}; {flag} 0 leaves them out") from error
    for module in modules:
        module.register_forward_hook(lambda _, inputs, output: states.append(layer_states(output)))
    with torch.inference_mode():
        network(tokens)
    shapes = {tuple(each.shape) for each in states}
    if len(states) != len(modules) or shapes != {(*tokens.shape, network.config.hidden_size)}:
        raise UserError(
            f"{where}the layers of a {network.config.model_type} network do not give the states of all tokens; "
            f"{flag} 0 leaves them out"
        )
    return len(modules)


def count_configured(flag: str, name: str, checkpoint: Checkpoint) -> int:
    """The same of a network that is there without its weights, by its configuration.

    :raises UserError: when the layers cannot be found.
    """
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(checkpoint.path, trust_remote_code=False)
    with torch.device("meta"):
        network = transformers.AutoModel.from_config(config, trust_remote_code=False)
    try:
        return len(find_layers(network)[1])
    except UserError as error:
        raise UserError(f"{flag}: {name}: {error}; {flag} 0 leaves them out") from error


def layer_states(output: Any) -> Any:
    """The states (B, L, D) in what a layer returns: by themselves, or first of several things."""
    return output[0] if isinstance(output, tuple) else output


def entry(source: Checkpoint, layers: Sequence[int], folder: Path) -> Path:
    """Where in the cache ``folder`` these layers of ``source`` are kept."""
    return folder / f"layers-{cache.fingerprint(_recipe(source, layers))}"


def cut(name: str, source: Checkpoint, layers: tuple[int, ...], folder: Path) -> Checkpoint:
    """The checkpoint of these ``layers`` of ``source``: found in the cache ``folder``, or put there.

    Its fingerprint is that of what it is made from. Tokenizer files are copied as they are.

    :param name: of ``source``, which was opened before, for messages.
    :raises UserError: when its layers cannot be found, or one cannot take another's place.
    """
    path, where = entry(source, layers, folder), f"--student_layers {spelled(layers)} of {name}"

    def build(partial: Path) -> Mapping[str, Any]:
        partial.mkdir()
        _write_network(where, source.path, layers, partial)
        for file in small_files(source.path):
            if not any(fnmatch.fnmatch(file.name, pattern) for pattern in _REPLACED):
                shutil.copyfile(file, partial / file.name)
        return {"task": f"layers {','.join(map(str, layers))}", "checkpoint": name}

    size, _ = cache.get_or_build(
        path,
        _recipe(source, layers),
        not_before=0,
        build=build,
        load=lambda ready, _: sum(map(single_precision_bytes, weight_files(where, ready))),
    )
    fingerprint = cache.fingerprint(_recipe(source, layers))
    return replace(source, path=path.resolve(), fingerprint=fingerprint, bytes=size, layers=layers)


def _recipe(source: Checkpoint, layers: Sequence[int]) -> dict[str, Any]:
    return {
        "checkpoint": source.fingerprint,
        "layers": list(layers),
        "training_format": TRAINING_FORMAT,
        "versions": library_versions(),
    }


def _write_network(where: str, source: Path, layers: Sequence[int], folder: Path) -> None:
    """Configuration and weights of the network in ``source`` with these ``layers`` only, into ``folder``.

    :raises UserError: when they do not make a network that transformers builds from that configuration.
    """
    import torch
    import transformers
    from torch import nn

    network, _ = load_network(source)
    try:
        list_name, modules = find_layers(network)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    network.set_submodule(list_name, nn.ModuleList(modules[layer] for layer in layers))
    network.config = _shortened(network.config, len(modules), layers)
    network.save_pretrained(folder)
    with refusing(where, "transformers cannot build a network of these layers"), torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        expected = transformers.AutoModel.from_config(config, trust_remote_code=False)
    ours, theirs = _shapes(network), _shapes(expected)
    unlike = [weight for weight in sorted({*ours, *theirs}) if ours.get(weight) != theirs.get(weight)]
    if unlike:
        raise UserError(
            f"{where}: in a {network.config.model_type} network some layers differ from others ({unlike[0]}), and "
            f"cannot take their places; try first:{len(layers)}"
        )


def _shortened(config: Any, total: int, layers: Sequence[int]) -> Any:
    """``config`` of a network with ``total`` layers, for these ``layers``; so are its lists with one element for each.

    Such are ModernBERT's ``layer_types`` and Longformer's ``attention_window``.
    """
    short = deepcopy(config)
    for name, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == total and name not in _NOT_BY_LAYER:
            setattr(short, name, [value[layer] for layer in layers])
    short.num_hidden_layers = len(layers)
    return short


def _shapes(network: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
