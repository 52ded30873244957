"""Checkpoints and rows from a hub: a small one on loopback, in good and in bad health."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import huggingface_hub
import pytest
import safetensors.torch
import torch
from huggingface_hub import constants

from automm_distill.errors import UserError
from automm_distill.inputs import hub
from automm_distill.inputs.checkpoints.finding import Checkpoint, find_checkpoint
from automm_distill.inputs.rows.raw_rows import read_splits
from automm_distill.inputs.rows.splits import load_splits
from automm_distill.tasks import GLUE_TASKS

from .conftest import SENTENCES, make_settings
from .hub_server import HubServer, serving

ROOT = Path(__file__).parent.parent
MNLIM, MNLIMM, RTE = (GLUE_TASKS[name] for name in ("mnlim", "mnlimm", "rte"))
BERT = "google/bert"
SPLITS = {
    "rte": ("train", "validation", "test"),
    "mnli": ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched"),
}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory, checkpoints) -> Path:
    """google/bert with what the hub keeps beside a checkpoint, and nyu-mll/glue with rte and mnli."""
    root = tmp_path_factory.mktemp("hub")
    bert = root / "models" / BERT
    shutil.copytree(checkpoints / "teacher", bert)
    for name in (
        *("README.md", ".gitattributes", "tf_model.h5", "flax_model.msgpack", "pytorch_model.bin"),
        *(
            "pytorch_model.generator.bin",
            "onnx/model.onnx",
            "checkpoint-500/model.safetensors",
            "1_Pooling/config.json",
        ),
    ):
        (bert / name).parent.mkdir(exist_ok=True)
        (bert / name).write_bytes(b"not used")
    glue = root / "datasets" / "nyu-mll" / "glue"
    for config, splits in SPLITS.items():
        columns = {"sentence1": "premise", "sentence2": "hypothesis"} if config == "mnli" else {}
        for start, split in enumerate(splits):
            rows = SENTENCES[start : start + 60].rename(columns=columns)
            rows = rows.assign(label=-1) if split.startswith("test") else rows
            (glue / config).mkdir(parents=True, exist_ok=True)
            rows.to_parquet(glue / config / f"{split}-00000-of-00001.parquet", index=False)
    write_card(glue, SPLITS)
    return root


def write_card(repository: Path, configs: dict[str, tuple[str, ...]]) -> None:
    card = {
        "configs": [
            {"config_name": config, "data_files": [{"split": name, "path": f"{config}/{name}-*"} for name in splits]}
            for config, splits in configs.items()
        ]
    }
    (repository / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")


@pytest.fixture
def server(repositories, tmp_path, monkeypatch):
    """The hub with these repositories, which the libraries of this process ask; their caches are empty."""
    with serving(repositories) as running:
        point_to(running.endpoint, tmp_path / "hf", monkeypatch)
        yield running
    huggingface_hub.close_session()


def point_to(endpoint: str, home: Path, monkeypatch) -> None:
    """What HF_ENDPOINT and HF_HOME do in a new process."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", endpoint)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    start_anew()


def misbehave(server: HubServer, pattern: str, fault: str, monkeypatch) -> None:
    """Let the hub do so from now on, in a new process that waits for no longer than a second."""
    server.faults = [(pattern, fault)]
    if fault.startswith(("hang", "slow")):
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    start_anew()


def start_anew() -> None:
    """Forget the hub, as a new process does."""
    hub._open_line.cache_clear()
    huggingface_hub.close_session()


def find(name: str = BERT) -> Checkpoint:
    return find_checkpoint("--teacher_model", name)


def refusal(name: str = BERT) -> str:
    with pytest.raises(UserError) as refused:
        find(name)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# ------------------------------------------------------------------------------------------------------ checkpoints


def test_only_what_is_used_is_fetched_and_known_by(server, checkpoints):
    used = {path.name for path in (checkpoints / "teacher").iterdir()}
    assert find().fingerprint == find(str(checkpoints / "teacher")).fingerprint
    assert server.fetched() == used


def test_second_run_asks_the_hub_once(server):
    first = find()
    server.requests.clear()
    start_anew()
    assert find() == first
    (request,) = server.requests
    assert request == f"GET /api/models/{BERT}/revision/main"


@pytest.mark.parametrize("fault", ["429", "429:300", "500", "503", "401", "gated", "hang", "reset", "page"])
def test_cached_checkpoint_is_found_whatever_the_hub_does(server, monkeypatch, fault):
    first = find()
    misbehave(server, "", fault, monkeypatch)
    assert find() == first


def test_cached_checkpoint_is_found_without_network(server, monkeypatch, caplog):
    first = find()
    server.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    start_anew()
    assert find() == first
    assert not server.requests
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    server.shutdown()
    server.server_close()
    caplog.set_level("INFO", logger="automm_distill")
    start_anew()
    assert find() == first
    assert f"{BERT}: 127.0.0.1:{server.server_port} cannot be reached: " in caplog.text
    assert "using the copy in the hub's cache" in caplog.text


def test_half_a_download_is_not_taken_for_a_checkpoint(server, monkeypatch):
    misbehave(server, "GET /storage", "404", monkeypatch)
    refusal()
    misbehave(server, "", "429:300", monkeypatch)
    assert "only a part of it is in the hub's cache" in refusal()
    server.faults = []
    start_anew()
    assert find().bytes > 0


@pytest.mark.parametrize(
    ("pattern", "fault", "says"),
    [
        ("", "429", "too many requests from here .*: wait some minutes, or hf auth login"),
        ("", "429:300", "too many requests from here .*, and the hub asks to wait 300 s"),
        ("", "502", "the hub has trouble of its own .status 502.: try again later"),
        ("", "gated", "gated: ask for access .* hf auth login"),
        ("resolve", "gated", "gated: ask for access .* hf auth login"),
        ("", "407", "the proxy wants a name and a password"),
        ("", "page", "what answers is not the hub"),
        ("HEAD", "page", "what answers is not the hub"),
        ("", "reset", r"the connection to 127\.0\.0\.1:\d+ broke off"),
        ("", "hang", r"127\.0\.0\.1:\d+ has not answered for 1 s .HF_HUB_ETAG_TIMEOUT sets"),
        ("HEAD", "hang", r"127\.0\.0\.1:\d+ has not answered for 1 s"),
        pytest.param("GET /storage", "hang", r"localhost:\d+ has not answered for 1 s", marks=pytest.mark.slow),
        ("", "slow:1.5", "has not answered for 1 s"),
    ],
)
def test_what_is_wrong_is_said_in_time(server, monkeypatch, pattern, fault, says):
    misbehave(server, pattern, fault, monkeypatch)
    start = time.monotonic()
    assert re.search(says, refusal())
    assert time.monotonic() - start < 20


def test_patience_can_be_set(server, monkeypatch):
    misbehave(server, f"{BERT}/revision", "slow:1.5", monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 5)
    assert find().bytes > 0


def test_hub_that_is_silent_is_asked_no_more(server, monkeypatch):
    misbehave(server, "", "hang", monkeypatch)
    refusal()
    start = time.monotonic()
    assert "has not answered" in refusal("another/model")
    assert time.monotonic() - start < 0.5


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("HF_ENDPOINT", "hf-mirror.example", "HF_ENDPOINT=hf-mirror.example is no address: .* https://"),
        ("HF_ENDPOINT", "http://127.0.0.1:1x", "HF_ENDPOINT=http://127.0.0.1:1x is no address"),
        ("HF_ENDPOINT", "https://hub.invalid", "hub.invalid cannot be reached: no address is known"),
        ("HF_ENDPOINT", "https://127.0.0.1:{port}", "127.0.0.1:.* cannot be reached: no secure connection"),
        ("http_proxy", "127.0.0.1:9999x", "one of http_proxy=127.0.0.1:9999x, is no address: Invalid port"),
        ("http_proxy", "http://me:secret@127.0.0.1:9", "by way of http_proxy=http://127.0.0.1:9: .*refused"),
        ("https_proxy", "foo://127.0.0.1:9", "https_proxy=foo://127.0.0.1:9 is no address of a proxy"),
    ],
)
def test_setting_that_leads_nowhere_is_named(server, tmp_path, monkeypatch, setting, value, says):
    value = value.format(port=server.server_port)
    if setting == "HF_ENDPOINT":
        point_to(value, tmp_path / "hf", monkeypatch)
    else:
        monkeypatch.setenv(setting, value)
    assert re.search(says, refusal())


@pytest.mark.skipif(importlib.util.find_spec("socksio") is not None, reason="socksio is installed")
def test_socks_proxy_without_its_package(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert "pip install socksio" in refusal()
    with pytest.raises(UserError, match="pip install socksio"):
        read_splits(tmp_path, RTE, RTE.splits)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_certificates_and_names_over_https(server, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", names, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    key.write_bytes(key.read_bytes() + certificate.read_bytes())
    server.use_tls(key)
    point_to(server.endpoint, tmp_path / "hf", monkeypatch)
    assert "its certificate is not trusted here (SSL_CERT_FILE" in refusal()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    start_anew()
    assert find().bytes > 0
    line = refusal("google/bret")
    assert line.endswith("the hub has no repository of that name, or it is a private one (then: hf auth login)")


@pytest.mark.slow
def test_storage_that_xet_cannot_reach(repositories, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "1")
    with serving(repositories, xet="http://127.0.0.1:9") as running:
        point_to(running.endpoint, tmp_path / "hf", monkeypatch)
        assert "try HF_HUB_DISABLE_XET=1" in refusal()
        with pytest.raises(UserError, match="try HF_HUB_DISABLE_XET=1"):
            read_splits(tmp_path, RTE, RTE.splits)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        assert find().bytes > 0


def test_revisions_and_what_is_no_name(server, tmp_path):
    assert find(f"{BERT}@main") == find()
    assert refusal(f"{BERT}@v9").endswith("the repository has no such revision")
    assert refusal("https://huggingface.co/google/bert").endswith(
        "needs a name on the hub (owner/name), not an address"
    )
    assert refusal("a/b/c").endswith("there is no such folder, and it is not a name on the hub either")
    (tmp_path / "model.safetensors").touch()
    assert refusal(str(tmp_path / "model.safetensors")).endswith("a file; needs the folder that it is in")


def test_predictor_is_no_checkpoint(tmp_path):
    """As the students of earlier runs are kept: the folder itself, and its hf_text, which has no weights."""
    (tmp_path / "hf_text").mkdir()
    for name in ("assets.json", "config.yaml", "model.ckpt", "hf_text/config.json"):
        (tmp_path / name).write_text("{}")
    for folder in (tmp_path, tmp_path / "hf_text"):
        assert f"MultiModalPredictor.load('{tmp_path}').dump_model() makes one of it" in refusal(str(folder))


# ---------------------------------------------------------------------------------------------------------- weights

TENSORS = {"a": torch.zeros(300, 100), "b": torch.zeros(500, 100)}
SINGLE_PRECISION_BYTES = 4 * 80_000


def write_checkpoint(folder: Path, layout: str, dtype: torch.dtype = torch.float32) -> None:
    """A configuration, a tokenizer of three unusual names, and ``TENSORS`` in the files of ``layout``."""
    folder.mkdir(parents=True)
    for name in ("config.json", "vocab.txt", "bpe.codes", "my.vocabulary"):
        (folder / name).write_text(f'{{"content": "{name}"}}')  # equal files would be fetched once
    tensors = {name: tensor.to(dtype) for name, tensor in TENSORS.items()}
    match layout:
        case "safetensors":
            safetensors.torch.save_file(tensors, folder / "model.safetensors")
        case "bin":
            torch.save(tensors, folder / "pytorch_model.bin")
        case "old bin":
            torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
        case "safetensors shards":
            shards = {name: f"model-0000{place}-of-00002.safetensors" for place, name in enumerate(tensors, 1)}
            for name, file in shards.items():
                safetensors.torch.save_file({name: tensors[name]}, folder / file)
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
        case "bin shards":
            shards = {name: f"pytorch_model-0000{place}-of-00002.bin" for place, name in enumerate(tensors, 1)}
            for name, file in shards.items():
                torch.save({name: tensors[name]}, folder / file)
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": shards}))


@pytest.mark.parametrize("layout", ["safetensors", "bin", "old bin", "safetensors shards", "bin shards"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_in_every_layout(tmp_path, monkeypatch, layout, dtype):
    """They count as large as they become in training, and everything beside them that may be a tokenizer's comes."""
    folder = tmp_path / "root" / "models" / "some" / "body"
    write_checkpoint(folder, layout, dtype)
    everything = {path.name for path in folder.iterdir()}
    (folder / "2_Dense").mkdir()
    safetensors.torch.save_file({"c": torch.zeros(5)}, folder / "2_Dense" / "model.safetensors")
    with serving(tmp_path / "root") as running:
        point_to(running.endpoint, tmp_path / "hf", monkeypatch)
        checkpoint = find("some/body")
        assert running.fetched() == everything
    assert checkpoint.bytes == pytest.approx(SINGLE_PRECISION_BYTES, rel=0.2)
    assert checkpoint.fingerprint == find(str(folder)).fingerprint


def test_safetensors_are_preferred_as_by_transformers(tmp_path):
    write_checkpoint(tmp_path / "both", "safetensors")
    fingerprint = find(str(tmp_path / "both")).fingerprint
    (tmp_path / "both" / "pytorch_model.bin").write_bytes(b"older weights")
    assert find(str(tmp_path / "both")).fingerprint == fingerprint


def test_missing_shard_is_named(tmp_path):
    write_checkpoint(tmp_path / "c", "safetensors shards")
    (tmp_path / "c" / "model-00002-of-00002.safetensors").unlink()
    line = refusal(str(tmp_path / "c"))
    assert "1 of the 2 files of its weights are not in" in line
    assert line.endswith("model-00002-of-00002.safetensors")
    (tmp_path / "c" / "model.safetensors.index.json").write_text("[]")
    assert refusal(str(tmp_path / "c")).endswith("is no index of weights; get it again")


def test_log_file_hears_how_much_has_come(server, monkeypatch, caplog):
    monkeypatch.setattr(hub, "SAID_EVERY_S", 0.3)
    caplog.set_level("INFO", logger="automm_distill")
    misbehave(server, "GET /storage/.*model.safetensors", "throttle:80000", monkeypatch)
    find()
    assert "waiting for the hub: 0.0 MB so far" in caplog.text
    caplog.clear()
    time.sleep(0.5)
    assert not caplog.text, "it has come"


@pytest.mark.parametrize("offline", [True, False])
def test_cache_that_another_tool_filled_in_part_is_said_to_be_one(server, monkeypatch, offline):
    """As ``AutoTokenizer.from_pretrained`` leaves it: no weights, and no list of what there would be."""
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        huggingface_hub.hf_hub_download(BERT, name)
    if offline:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        misbehave(server, "", "500", monkeypatch)
    line = refusal(BERT)
    assert f"only a part of it is in the hub's cache on this machine ({constants.HF_HUB_CACHE})" in line
    assert line.count("only a part") == 1
    assert ("HF_HUB_OFFLINE" in line) == offline


def test_refusal_to_wait_is_not_called_another_try(server, monkeypatch, caplog):
    caplog.set_level("INFO", logger="automm_distill")
    misbehave(server, "", "429:600", monkeypatch)
    assert "asks to wait 600 s" in refusal(BERT)
    assert "trying again" not in caplog.text


@pytest.mark.parametrize(
    "name", ["https://huggingface.co/a/b", "HTTPS://huggingface.co/a/b", "huggingface.co/a/b", "hf://a/b"]
)
def test_address_is_not_asked_for(server, name):
    assert refusal(name).endswith("needs a name on the hub (owner/name), not an address")
    assert not server.requests


def test_names_that_no_file_system_has_are_names_of_the_hub(server):
    assert find(f"{BERT}/").path.is_dir()
    for name in ("~nobody-of-that-name/x", "x" * 300):
        assert "it is not a name on the hub either" in refusal(name)


def test_folder_above_a_checkpoint_names_the_one_below(tmp_path, checkpoints):
    shutil.copytree(checkpoints / "teacher", tmp_path / "run" / "checkpoint-500")
    assert refusal(str(tmp_path / "run")).endswith(f"; is it {tmp_path / 'run' / 'checkpoint-500'}?")


# ------------------------------------------------------------------------------------------------------------- rows


def test_rows_are_kept_for_all_tasks_of_the_configuration(server, tmp_path):
    """mnlim, then mnlimm: splits of one configuration, which is fetched once, with the test rows for later."""
    first = read_splits(tmp_path / "glue", MNLIM, MNLIM.splits)
    assert first["train"]["premise"].tolist() == SENTENCES["sentence1"][:60].tolist()
    server.requests.clear()
    assert len(read_splits(tmp_path / "glue", MNLIMM, MNLIMM.splits)["validation_mismatched"]) == 60
    assert not server.requests
    assert sorted(path.stem for path in (tmp_path / "glue" / "mnli").iterdir()) == [
        *("test_matched", "test_mismatched", "train", "validation_matched", "validation_mismatched"),
    ]


def test_unlabelled_test_rows_are_fetched_with_the_others(server, tmp_path):
    """One of the 60 is neither a row of the hub's training split nor of its validation split."""
    rows = load_splits(make_settings(glue_task="rte", unlabelled_path=("test",)), tmp_path / "glue").unlabelled
    assert rows["sentence2"].tolist() == [SENTENCES["sentence2"][61]]


@pytest.mark.parametrize("fault", ["429:300", "hang", "page", "401", "offline"])
def test_rows_of_an_earlier_load_dataset_are_found(server, tmp_path, monkeypatch, fault):
    read_splits(tmp_path / "first", RTE, RTE.splits)
    misbehave(server, "", fault, monkeypatch)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", fault == "offline")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", fault == "offline")
    assert len(read_splits(tmp_path / "second", RTE, RTE.splits)["validation"]) == 60


def test_rows_of_a_downloaded_repository_are_found_offline(server, tmp_path, monkeypatch, caplog):
    huggingface_hub.snapshot_download("nyu-mll/glue", repo_type="dataset")  # as hf download does
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    caplog.set_level("INFO", logger="automm_distill")
    assert len(read_splits(tmp_path / "glue", RTE, RTE.splits)["train"]) == 60
    assert "nyu-mll/glue (rte): HF_HUB_OFFLINE forbids to ask the hub; using the copy in" in caplog.text


@pytest.mark.parametrize(
    ("pattern", "fault", "says"),
    [
        ("", "429:300", "too many requests .* asks to wait 300 s"),
        ("", "401", "no repository of that name"),
        ("", "gated", "gated: ask for access"),
        ("", "page", "what answers is not the hub"),
        ("", "hang", "has not answered for 1 s"),
        ("storage.*validation", "reset", "broke off"),
        ("api/.*/tree", "500", "trouble of its own"),
    ],
)
def test_rows_that_do_not_come_are_one_line_and_leave_nothing(server, tmp_path, monkeypatch, pattern, fault, says):
    misbehave(server, pattern, fault, monkeypatch)
    with pytest.raises(UserError) as refused:
        read_splits(tmp_path / "glue", RTE, RTE.splits)
    line = str(refused.value)
    assert re.search(rf"no rows for rte: .*{says}.*--dataset_path.*rte/train\.parquet, or try --demo", line), line
    assert not (tmp_path / "glue" / "rte").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("no configuration", "rte.* cannot be loaded: its configurations are mnli"),
        ("no folder", "rte.* cannot be loaded: "),
        ("no validation", "has no split 'validation' on the hub; it has test, train"),
    ],
)
def test_repository_that_has_changed_is_one_short_line(repositories, tmp_path, monkeypatch, change, says):
    shutil.copytree(repositories / "datasets", tmp_path / "root" / "datasets")
    glue = tmp_path / "root" / "datasets" / "nyu-mll" / "glue"
    match change:
        case "no configuration":
            write_card(glue, {"mnli": SPLITS["mnli"]})
        case "no folder":
            shutil.rmtree(glue / "rte")
        case "no validation":
            write_card(glue, {"rte": ("train", "test")})
    with serving(tmp_path / "root") as running:
        point_to(running.endpoint, tmp_path / "hf", monkeypatch)
        with pytest.raises(UserError, match=says) as refused:
            read_splits(tmp_path / "glue", RTE, RTE.splits)
    assert len(str(refused.value).replace(str(tmp_path), "")) < 400
    assert "\n" not in str(refused.value)


# -------------------------------------------------------------------------------------------------------- processes


def start(server: HubServer, folder: Path, *flags: str) -> subprocess.Popen[str]:
    """The GLUE script in ``folder``, with nothing but the hub to take its inputs from."""
    proxies = [name for name in os.environ if name.lower().endswith("_proxy")]
    kept = {name: value for name, value in os.environ.items() if name not in proxies}
    return subprocess.Popen(
        [sys.executable, ROOT / "automm_distillation_glue.py", "--glue_task", "rte", *flags],
        cwd=folder,
        env=kept | {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(folder / "hf")},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_first_interrupt_ends_a_download_and_quiet_is_quiet(server, tmp_path):
    """No progress bar of the rows, which have come, nor of the weights, which take too long."""
    server.faults = [("GET /storage/.*model.safetensors", "throttle:2000")]
    process = start(server, tmp_path, "--quiet", "--teacher_model", BERT, "--student_model", BERT)
    deadline = time.monotonic() + 60
    while not any("model.safetensors" in request for request in server.requests) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    _, errors = process.communicate()
    assert time.monotonic() - interrupted < 10, "the file would take half a minute"
    assert process.returncode == 130
    (line,) = errors.splitlines()
    assert "interrupted" in line
    assert (tmp_path / "data" / "glue" / "rte" / "train.parquet").is_file()


def test_hub_that_refuses_connections_is_one_line(server, tmp_path):
    server.shutdown()
    server.server_close()
    process = start(server, tmp_path)
    _, errors = process.communicate()
    assert process.returncode == 2
    (line,) = (line for line in errors.splitlines() if line.strip())
    assert all(hint in line for hint in ("--dataset_path", "data/glue/rte", str(tmp_path / "hf"), "--demo")), line


@pytest.mark.slow
def test_nothing_is_asked_after_preparation(server, tmp_path):
    """A whole run whose inputs are in the caches makes one request a checkpoint, and none without network."""
    read_splits(tmp_path / "data" / "glue", RTE, RTE.splits)
    find()
    server.requests.clear()
    short = ("--max_epochs", "1", "--teacher_max_epochs", "1", "--batch_size", "32", "--per_gpu_batch_size", "8")
    process = start(server, tmp_path, *short, "--teacher_model", BERT, "--student_model", BERT)
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    assert server.requests.count(f"GET /api/models/{BERT}/revision/main") == 2
    assert len([request for request in server.requests if "agent-harnesses" not in request]) == 2, server.requests
