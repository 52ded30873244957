"""Dropout masks, attention with dropout, and random numbers that follow from seed, epoch and pass."""

import json
import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import transformers
from scipy import stats
from scipy.special import softmax
from torch import nn
from torch.nn import functional

from automm_distill import automm
from automm_distill.automm.lightning_modules import FineTuneModule
from automm_distill.automm.random_numbers import CpuDropout, pass_seed, seed_torch, seeded_python
from automm_distill.inputs.rows.splits import TrainValidation

from .fits import FRAME, RTE, make_options

SOURCE = pass_seed(1, 2, 3)


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_elements_are_dropped_with_the_probability_and_the_others_scaled(probability, dtype):
    ones = torch.ones(400_000, dtype=dtype)
    with CpuDropout(SOURCE):
        result = functional.dropout(ones, probability)
    assert result.dtype == dtype
    kept = int((result != 0).sum())
    # Half a step of 1 / 65,536 is what the probability is rounded by at most; it is far below the test's resolution.
    assert stats.binomtest(kept, len(ones), 1 - probability).pvalue > 1e-3
    assert float(result.max()) == pytest.approx(1 / (1 - probability), rel=4e-3 if dtype == torch.bfloat16 else 1e-4)
    assert result.float().unique().numel() == 2


def test_masks_have_no_pattern():
    """Neither between neighbours, of which four come from one random word, nor between two calls."""
    with CpuDropout(SOURCE):
        first, second = ((functional.dropout(torch.ones(200_000), 0.3) == 0).double() for _ in range(2))
    for lag in (1, 2, 3, 4, 8, 64):
        assert abs(np.corrcoef(first[lag:], first[:-lag])[0, 1]) < 4 / np.sqrt(200_000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(200_000)


def test_gradient_passes_where_the_element_was_kept():
    values = torch.randn(7, 11, requires_grad=True)
    with CpuDropout(SOURCE):
        dropped = functional.dropout(values, 0.25)
    dropped.sum().backward()
    assert torch.equal(values.grad, torch.where(dropped != 0, 1 / 0.75, 0.0))


def test_modules_that_do_not_drop_are_left_alone():
    values = torch.randn(5, 5)
    with CpuDropout(SOURCE):
        assert nn.Dropout(0.5).eval()(values) is values
        assert functional.dropout(values, 0.0) is values
        assert not functional.dropout(values, 1.0).any()
        written = values.clone()
        assert nn.Dropout(0.5, inplace=True)(written) is written
        assert (written == 0).any()


def attention(query, key, value, mask=None):
    """softmax(q k' / sqrt(d)) v (Vaswani et al. 2017, eq. 1) in float64; ``mask`` is True where a key is seen."""
    scores = query @ key.swapaxes(-2, -1) / np.sqrt(query.shape[-1])
    return softmax(scores if mask is None else np.where(mask, scores, -np.inf), axis=-1) @ value


@pytest.fixture
def heads():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, 3, 6, 4)) for _ in range(3)]


MASK = np.array([True, True, True, True, False, False])[None, None, None, :].repeat(2, 0)


@pytest.mark.parametrize("kind", ["none", "boolean", "additive"])
def test_attention_in_half_precision_is_the_formula(heads, kind):
    tensors = [torch.from_numpy(head).bfloat16() for head in heads]
    masks = {
        "none": None,
        "boolean": torch.from_numpy(MASK),
        "additive": torch.from_numpy(np.where(MASK, 0.0, -1e9)).bfloat16(),
    }
    with CpuDropout(SOURCE):
        result = functional.scaled_dot_product_attention(*tensors, attn_mask=masks[kind])
    expected = attention(*(tensor.double().numpy() for tensor in tensors), mask=None if kind == "none" else MASK)
    assert result.dtype == torch.bfloat16
    assert result.double().numpy() == pytest.approx(expected, abs=0.02)


def test_attention_takes_the_scale_that_it_is_given(heads):
    """ALBERT and others give their own; without one it is 1 / sqrt(d), here 1 / 2."""
    tensors = [torch.from_numpy(head).bfloat16() for head in heads]
    with CpuDropout(SOURCE):
        default, given, other = (
            functional.scaled_dot_product_attention(*tensors, scale=scale) for scale in (None, 0.5, 0.0)
        )
    assert torch.equal(default, given)
    assert other.double().numpy() == pytest.approx(
        tensors[2].double().mean(dim=-2, keepdim=True).expand(other.shape).numpy(), abs=0.02
    ), "all keys count alike"


FAMILIES = {
    "albert": {"embedding_size": 16},
    "bert": {},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": {"embedding_size": 16},
    "modernbert": {"local_attention": 4, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1},
    "mpnet": {},
    "roberta": {},
    "xlm-roberta": {},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_compute_the_same_with_our_attention(family):
    """In bf16, without dropout, for rows with padding: forwards and backwards."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.AutoConfig.for_model(family, vocab_size=50, **(sizes | special | FAMILIES[family]))
    for name, value in vars(config).items():
        if "dropout" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    torch.manual_seed(1)
    network = transformers.AutoModel.from_config(config).train()
    tokens = torch.randint(5, 50, (3, 12))
    mask = (torch.arange(12) < torch.tensor([[12], [7], [3]])).int()
    tokens[mask == 0] = 0
    results = []
    for context in (nullcontext(), CpuDropout(SOURCE)):
        network.zero_grad()
        with context, torch.autocast("cpu", torch.bfloat16):
            feature = network(input_ids=tokens, attention_mask=mask).last_hidden_state[:, 0].float()
        (feature * torch.linspace(-1, 1, 32)).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        results.append((feature.detach(), gradient))
    (feature, gradient), (our_feature, our_gradient) = results
    assert (our_feature - feature).abs().max() < 0.03 * feature.abs().max()
    assert torch.nn.functional.cosine_similarity(our_gradient, gradient, dim=0) > 0.999


def test_attention_with_dropout_averages_to_the_formula(heads):
    tensors = [torch.from_numpy(head) for head in heads]
    with CpuDropout(SOURCE):
        results = [
            functional.scaled_dot_product_attention(*tensors, attn_mask=torch.from_numpy(MASK), dropout_p=0.2)
            for _ in range(4000)
        ]
    assert torch.stack(results).mean(dim=0).numpy() == pytest.approx(attention(*heads, mask=MASK), abs=0.05)
    assert torch.stack(results).std(dim=0).min() > 0


@pytest.mark.parametrize("dropout_p", [0.0, 0.3])
def test_gradients_of_attention_are_those_of_the_formula(heads, dropout_p):
    tensors = [torch.from_numpy(head).requires_grad_() for head in heads]

    def attend(*inputs):
        with CpuDropout(SOURCE):  # the same mask each time
            return functional.scaled_dot_product_attention(*inputs, dropout_p=dropout_p)

    assert torch.autograd.gradcheck(attend, tensors)


def test_attention_that_torch_does_faster_is_torchs(heads):
    tensors = [torch.from_numpy(head).float() for head in heads]
    with CpuDropout(SOURCE):
        single = functional.scaled_dot_product_attention(*tensors)
        causal = functional.scaled_dot_product_attention(*(t.bfloat16() for t in tensors), is_causal=True)
    assert torch.equal(single, functional.scaled_dot_product_attention(*tensors))
    expected = functional.scaled_dot_product_attention(*(t.bfloat16() for t in tensors), is_causal=True)
    assert torch.equal(causal, expected)


def test_it_is_known_whether_anything_was_replaced(heads):
    tensors = [torch.from_numpy(head).float() for head in heads]
    with CpuDropout(SOURCE) as dropout:
        functional.scaled_dot_product_attention(*tensors)
        functional.dropout(tensors[0], 0.0)
        assert not dropout.replaced
        functional.dropout(tensors[0], 0.1)
        assert dropout.replaced
    with CpuDropout(SOURCE) as dropout:
        functional.scaled_dot_product_attention(*tensors, dropout_p=0.1)
        assert dropout.replaced


def draw(source):
    seed_torch(source)
    with CpuDropout(source):
        return torch.cat([torch.rand(8), functional.dropout(torch.ones(64), 0.5)]).tolist()


def test_numbers_follow_from_seed_epoch_pass_and_device_alone():
    assert draw(pass_seed(1, 2, 3, 4)) == draw(pass_seed(1, 2, 3, 4))
    others = [pass_seed(0, 2, 3, 4), pass_seed(1, 0, 3, 4), pass_seed(1, 2, 0, 4), pass_seed(1, 2, 3, 0)]
    drawn = [draw(source) for source in (pass_seed(1, 2, 3, 4), *others)]
    assert len(set(map(tuple, drawn))) == len(drawn)


def test_python_numbers_are_seeded_within_the_block_only():
    random.seed(5)
    expected = random.Random(5).random()
    drawn = []
    for _ in range(2):
        with seeded_python(1, 2):
            drawn.append((random.random(), np.random.random()))  # noqa: NPY002 - what nlpaug calls
    with seeded_python(1, 3):
        drawn.append((random.random(), np.random.random()))  # noqa: NPY002
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.random() == expected


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_a_fit_does_not_depend_on_what_others_draw_meanwhile(checkpoints, tmp_path, monkeypatch, precision):
    """With dropout: its weights are the same bit for bit, so that a fit could begin at any pass."""
    folder = tmp_path / "with-dropout"
    folder.mkdir()
    for file in (checkpoints / "teacher").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    (folder / "config.json").write_text(json.dumps(config))

    def fit(name, seed=1):
        changed = {"model.hf_text.checkpoint_name": str(folder), "env.precision": precision}
        options = make_options(checkpoints, "teacher", hyperparameters=changed, batch_size=16, seed=seed)
        automm.fit(tmp_path / name, TrainValidation(FRAME[:64], FRAME[64:96]), RTE, options)
        return torch.load(tmp_path / name / "model.ckpt", weights_only=True)["state_dict"]

    undisturbed, another_seed = fit("one"), fit("another", seed=2)
    training_step = FineTuneModule.training_step

    def disturbed(self, batch, batch_idx):
        torch.rand(5)
        np.random.random()  # noqa: NPY002
        random.random()
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(FineTuneModule, "training_step", disturbed)
    again = fit("two")
    assert all(torch.equal(weight, again[name]) for name, weight in undisturbed.items())
    assert not all(torch.equal(weight, another_seed[name]) for name, weight in undisturbed.items())
