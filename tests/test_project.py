"""The project's files: what is imported is declared, commands exist, warnings of ours are errors, clean is harmless."""

import ast
import graphlib
import importlib
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS = sorted(ROOT.glob("automm_distillation_*.py"))


def imported_modules() -> Iterator[str]:
    """Full names of all modules that the package and the scripts import."""
    for path in [*SCRIPTS, *(ROOT / "automm_distill").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required_distributions() -> set[str]:
    """What has to be installed for these imports; of AutoGluon's namespace, its multimodal part."""
    of_module = packages_distributions()
    tops = {name.partition(".")[0] for name in imported_modules()}
    foreign = tops - sys.stdlib_module_names - {"automm_distill", "autogluon"} - {path.stem for path in SCRIPTS}
    return {normalized(of_module[top][0]) for top in foreign} | {"autogluon-multimodal"}


def test_every_import_is_declared_and_pinned():
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    declared = {normalized(re.split(r"[<>=!~ ]", line)[0]) for line in lines}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normalized(line.partition("==")[0]) for line in lines if "==" in line}
    required = required_distributions()
    assert {"httpx", "ray", "torch"} <= required
    assert not required - declared
    assert not declared - pinned


@pytest.mark.parametrize("target", PROJECT["scripts"].values(), ids=PROJECT["scripts"])
def test_commands_exist_and_answer(target, capsys, monkeypatch):
    module, _, function = target.partition(":")
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    with pytest.raises(SystemExit) as end:
        getattr(importlib.import_module(module), function)()
    assert not end.value.code
    assert "usage: " in capsys.readouterr().out


def test_ci_tests_every_python_that_may_install_it():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    tested = re.search(r"python: \[(.*)\]", workflow)
    classified = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert tested is not None
    assert re.findall(r"3\.\d+", tested[1]) == classified
    assert PROJECT["requires-python"] == f">={classified[0]},<3.{int(classified[-1].partition('.')[2]) + 1}"


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning, UserWarning])
def test_warnings_of_our_own_fail_a_test_and_others_do_not(category):
    with pytest.raises(category, match="old"):
        warnings.warn_explicit("old", category, "losses.py", 1, module="automm_distill.losses")
    warnings.warn_explicit("old", category, "trainer.py", 1, module="lightning.pytorch.trainer")


def test_clean_keeps_models_and_results():
    commands = subprocess.check_output(["make", "-n", "clean"], cwd=ROOT, text=True)
    assert ".venv" in commands
    removed = set(re.findall(r"[\w.*-]+", commands))
    assert not removed & {"cache", "results", "data", "report"}


def test_no_import_runs_in_a_circle_between_files_or_folders() -> None:
    """Of the package's files, and of its folders as one piece each; lazy and type-only imports count as well."""
    package = ROOT / "automm_distill"
    files = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in package.rglob("*.py")}
    modules = {name.removesuffix(".__init__") for name in files.values()}
    by_file: dict[str, set[str]] = {}
    by_folder: dict[str, set[str]] = {}
    for path, name in files.items():
        name = name.removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("automm_distill"):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    target = full if full in modules else node.module
                    if target not in (name, "automm_distill"):
                        by_file.setdefault(name, set()).add(target)
                    source_room, target_room = (part.split(".")[1] for part in (f"{name}.", f"{target}."))
                    if target_room and source_room and source_room != target_room:
                        by_folder.setdefault(source_room, set()).add(target_room)
    for graph in (by_file, by_folder):
        graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
