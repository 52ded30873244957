"""The shortest way to fine-tune or distil a student: a PyTorch loop over a Hugging Face model, without validation.

What every feature of a library has to be measured against. Rows, their order, batches, arithmetic, optimizer, schedule,
clipping and epochs are those of our fits; the weights of the last step are saved.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer, get_cosine_schedule_with_warmup

from automm_distill.automm import FitOptions, LengthGroupedSampler
from automm_distill.losses import HARD_LABEL, SOFT_LABEL
from automm_distill.tasks import Task

WARM_UP = 0.1
CLIP = 1.0
BATCH = 128  # rows that are predicted at once


def train(
    folder: Path, train_rows: pd.DataFrame, task: Task, options: FitOptions, teacher: torch.Tensor | None = None
) -> dict[str, int]:
    """Fine-tune on ``train_rows`` and save a state dictionary in ``folder``. Labels of a regression are standardised.

    :param teacher: logits (rows, 1) of a regression, to learn from by ``options.losses``.
    :return: ``useful`` tokens that were read, and ``padded`` ones with the padding.
    """
    settings = options.hyperparameters
    torch.manual_seed(options.seed)
    model, tokenizer = _network(options, task)
    model.train()
    rows, lengths = _tokenized(tokenizer, train_rows, task)
    targets = train_rows["label"].to_numpy()
    labels = torch.tensor((targets - targets.mean()) / targets.std() if task.is_regression else targets)

    size = settings["env.per_gpu_batch_size"]
    passes_per_step = max(1, settings["env.batch_size"] // size)
    sampler = LengthGroupedSampler(lengths, size, options.seed, grouped=options.length_grouping)
    passes = math.ceil(len(lengths) / size)
    steps = math.ceil(passes / passes_per_step) * options.epochs
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings["optim.lr"], weight_decay=settings["optim.weight_decay"], fused=True
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, int(WARM_UP * steps), steps)
    bf16 = settings["env.precision"] == "bf16-mixed"
    tokens = {"useful": 0, "padded": 0}
    for epoch in range(options.epochs):
        sampler.set_epoch(epoch)
        order = sampler.order()
        for number in range(passes):
            chosen = order[number * size : (number + 1) * size]
            batch = tokenizer.pad({key: [rows[key][row] for row in chosen] for key in rows}, return_tensors="pt")
            tokens["useful"] += int(lengths[chosen].sum())
            tokens["padded"] += batch["input_ids"].numel()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model["head"](model["encoder"](**batch).last_hidden_state[:, 0])
            loss = _loss(logits.float(), labels[chosen])
            if teacher is not None and options.losses is not None:
                weights = options.losses.weights
                loss = weights[HARD_LABEL] * loss
                loss = loss + weights[SOFT_LABEL] * functional.mse_loss(logits.float(), teacher[chosen])
            (loss / passes_per_step).backward()
            if (number + 1) % passes_per_step == 0 or number + 1 == passes:
                nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / "model.pt")
    return tokens


def predict(folder: Path, rows: pd.DataFrame, task: Task, options: FitOptions) -> np.ndarray:
    """Logits of a trained regression, (rows,)."""
    model, tokenizer = _network(options, task)
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    model.eval()
    tokens, lengths = _tokenized(tokenizer, rows, task)
    predicted = np.empty(len(rows))
    order = np.argsort(-lengths)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        batch = tokenizer.pad({key: [tokens[key][row] for row in chosen] for key in tokens}, return_tensors="pt")
        with torch.inference_mode():
            predicted[chosen] = model["head"](model["encoder"](**batch).last_hidden_state[:, 0])[:, 0].numpy()
    return predicted


def _network(options: FitOptions, task: Task) -> tuple[nn.ModuleDict, Any]:
    checkpoint = options.hyperparameters["model.hf_text.checkpoint_name"]
    encoder = AutoModel.from_pretrained(checkpoint)
    head = nn.Linear(encoder.config.hidden_size, max(1, len(task.classes)))
    return nn.ModuleDict({"encoder": encoder, "head": head}), AutoTokenizer.from_pretrained(checkpoint)


def _tokenized(tokenizer: Any, frame: pd.DataFrame, task: Task) -> tuple[Any, np.ndarray]:
    texts = [frame[column].tolist() for column in task.model_columns]
    rows = tokenizer(*texts, truncation="longest_first", max_length=512)
    return rows, pd.Series(rows["input_ids"]).str.len().to_numpy()


def _loss(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    if logits.shape[1] == 1:
        return functional.mse_loss(logits[:, 0], labels.float())
    return functional.cross_entropy(logits, labels)
