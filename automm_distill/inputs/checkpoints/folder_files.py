"""What lies in a checkpoint's folder: the weights that transformers will read, all of them there and no stand-ins."""

from pathlib import Path

from automm_distill.errors import UserError
from automm_distill.inputs.checkpoints.weight_files import weight_files

_OTHER_PROGRAMS = {
    "*.gguf": "llama.cpp (GGUF)",
    "tf_model.h5": "TensorFlow",
    "*.ckpt.index": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "*.onnx": "ONNX",
}
_SMALL_FILES = (".json", ".txt", ".model", ".codes")
_POINTER = b"version https://git-lfs"


def require_network(where: str, folder: Path) -> None:
    """Refuse the folder of something else than a network's PyTorch weights, whose place it often takes.

    :param where: flag and value, for messages.
    :raises UserError: when it is an adapter, or has weights for other programs only.
    """
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{where}: {folder} is an adapter (LoRA or the like), not a whole network; merge it into its base model "
            "first (peft: merge_and_unload, then save_pretrained)"
        )
    if [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]:
        return
    for pattern, program in _OTHER_PROGRAMS.items():
        if any(folder.glob(pattern)):
            raise UserError(
                f"{where}: {folder} has weights for {program} only; needs PyTorch's, in model.safetensors or "
                "pytorch_model.bin"
            )


def require_whole_files(where: str, folder: Path) -> None:
    """Refuse weights of which a file is missing, and files that git left out.

    :raises UserError: that names the file.
    """
    weights = weight_files(where, folder)
    if not weights:
        raise UserError(f"{where}: no model.safetensors or pytorch_model.bin in {folder}")
    small = sorted(file for file in folder.iterdir() if file.suffix in _SMALL_FILES and file.is_file())
    for file in [*weights, *small]:
        with file.open("rb") as stream:
            if stream.read(len(_POINTER)) == _POINTER:
                raise UserError(
                    f"{where}: {file} is a git-lfs pointer, not the file itself; run  git lfs pull  in that folder"
                )
