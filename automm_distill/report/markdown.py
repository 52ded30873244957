"""The report on disk: report.md with its tables and plots, and the numbers as CSV."""

import logging
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from automm_distill.evaluation.bootstrap import LEVEL
from automm_distill.report import plots, tables
from automm_distill.report.runs import LoadedRuns, TaskRuns, describe, format_value
from automm_distill.report.summary import Decision, Evidence, Summary, best_run, choose, decide, direction, summarize
from automm_distill.text_table import as_markdown

REPORT, NUMBERS = "report.md", "settings.csv"

# What the evidence for a gain means, as the end of a sentence.
MEANINGS: Mapping[Evidence, str] = {
    "clear": "the difference is clear over both test rows and seeds",
    "these seeds only": "the difference is clear over the test rows, but not over seeds",
    "this seed only": "the difference is clear over the test rows; one seed cannot show how much the seed matters",
    "these test rows only": "the difference is clear over the seeds, but not over test rows",
    "none": "the difference is not clear",
    "unknown": "without predictions or several seeds, chance cannot be ruled out",
}

EXPLANATION = """\
Scores are means over the seeds, ± their standard deviation. *Gain* is student - baseline with the same seed, in points
(hundredths). Of an error (rmse), where less is better, it is baseline - student in the labels' unit.

*Over test rows*: a 95 % bootstrap interval, which says how much the mean gain of these models would move on other test
rows. *Over seeds*: a 95 % t-interval, paired by seed, which says how much it would move with other seeds on these test
rows. Each covers one source of variation only.

The student is *better* or *worse* than the baseline if the gain is clear over both, after correction for the number of
configurations. It is so for *these seeds only* if the gain is clear over test rows and not over seeds, and for *these
test rows only* the other way round. Verdicts, the choice and the plots use the first metric of the first test set; the
correction is made within one task.

The distillation ratio is (student - baseline) / (teacher - baseline): 0 is no gain, 1 the teacher's score. It is
undefined where the teacher's lead over the baseline is not clearly above 0; its interval leaves out the resamples in
which the teacher has no lead, at most 2.5 % of them. *Speed-up* is that of the forward pass, n/a where it was not
measured. *Size* is the student's share of the teacher's weights."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyResult:
    """The runs of one task with everything that was computed from them."""

    task_runs: TaskRuns
    summaries: Sequence[Summary]
    decisions: Sequence[Decision]
    chosen: Decision | None


def evaluate(loaded: LoadedRuns) -> list[StudyResult]:
    """All numbers of the report, by task."""
    results = []
    for task_runs in loaded.tasks:
        log.info("evaluating %s: %s", task_runs.name, _size(task_runs))
        by_group = [summarize(group, task_runs) for group in task_runs.groups]
        summaries = [summary for of_metric in zip(*by_group, strict=True) for summary in of_metric]
        decisions = decide(task_runs, summaries)
        results.append(StudyResult(task_runs, summaries, decisions, choose(decisions)))
    return results


def write(results: Sequence[StudyResult], left_out: Sequence[str], folder: Path) -> None:
    """Write the report, its plots and its numbers to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# Distillation report"]
    if left_out:
        parts.append(f"Left out: {'; '.join(left_out)}.")
    parts.append(EXPLANATION)
    lines = []
    for result in results:
        parts += _section(
            result, plots.draw(result.task_runs, result.summaries, result.decisions, result.chosen, folder)
        )
        lines += tables.csv_lines(result.task_runs, result.summaries, result.decisions)
    (folder / REPORT).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    pd.DataFrame(lines).to_csv(folder / NUMBERS, index=False)


def sentences(result: StudyResult) -> list[str]:
    """The conclusions for one task: its caveats, and last the answer."""
    task_runs, decisions, chosen = result.task_runs, result.decisions, result.chosen
    compared = sum(decision.p_rows is not None or decision.p_seeds is not None for decision in decisions)
    tested = compared + len(task_runs.stopped) if compared else 0
    lines = [*_caveats(task_runs, decisions), *_stopped(task_runs)]
    if tested > 1:
        chance = 1 - LEVEL**tested
        lines.append(
            f"{_count(compared, 'configuration')} {'was' if compared == 1 else 'were'} compared on the same test rows"
            f"{f', of {tested} that were tried' if tested > compared else ''}. If none of them had any effect, "
            f"{tested} independent tests would still find a difference in one or more of them {chance:.0%} of the time "
            "(tests that share their rows may do so more or less often). The p-values are corrected for that (Holm)."
        )
    if chosen is None:
        return [*lines, *(_answer(decision, tested) for decision in decisions if len(decisions) == 1)]
    fewer = sum(decision.validation.n < chosen.validation.n for decision in decisions)
    if fewer:
        lines.append(f"{_count(fewer, 'configuration')} with fewer seeds took no part in the choice.")
    metric = chosen.summary.metric
    ties = sum(decision.validation == chosen.validation for decision in decisions)
    among = " among those that were not stopped" if task_runs.stopped else ""
    lines.append(
        f"Chosen by the validation score{among}: {describe(chosen.summary.group.config, task_runs.columns)} "
        f"(validation {metric.name} {metric.score_text(chosen.validation.mean)}, {_count(chosen.validation.n, 'seed')}"
        f"{f', the first of {ties} that tie' if ties > 1 else ''}); its test score is reported and never used for "
        f"selection. {_answer(chosen, tested)}"
    )
    return lines


def shipping(result: StudyResult) -> tuple[str, str] | None:
    """How to export a student of the chosen setting: what there is to say, and the command.

    Where it is exported already, the folder of its forms takes the command's place. None without a choice, and where
    neither the student nor its forms are still there.
    """
    if result.chosen is None:
        return None
    run = best_run(result.chosen)
    which = f"its student with the best validation score (seed {run.seed})"
    forms = run.row.get("export", {}).get("forms", {})
    if forms and run.exports.is_dir():
        named = [form if found["recommended"] else f"{form} (not recommended)" for form, found in forms.items()]
        return f"The chosen setting: {which} is exported as {', '.join(named)}", str(run.exports)
    if run.student.is_dir():
        folder = shlex.quote(str(run.student.parent))
        return f"The chosen setting: to export {which}", f"python automm_distillation_export.py {folder}"
    return None


def _caveats(task_runs: TaskRuns, decisions: Sequence[Decision]) -> list[str]:
    lines = []
    if task_runs.demonstration:
        lines.append("These are generated sentences; the scores say nothing about real tasks.")
    if task_runs.varied_environment:
        fields = ", ".join(task_runs.varied_environment)
        lines.append(f"The runs also differ in {fields}; only runs that agree in all of that are averaged.")
    if len(task_runs.versions) > 1:
        versions = ", ".join(f"{version or 'unnumbered'} ({form or '-'})" for version, form in task_runs.versions)
        lines.append(f"The runs come from several versions of this package (and of its training format): {versions}.")
    incomplete = sum(decision.summary.rows is None for decision in decisions)
    if incomplete:
        lines.append(f"{_count(incomplete, 'configuration')} without all predictions: no intervals over test rows.")
    untimed = sum(tables.speed_up(decision.summary.group) is None for decision in decisions)
    if untimed:
        lines.append(
            f"{_count(untimed, 'configuration')} without a measured speed-up: not in the plot of the speed-up."
        )
    return lines


def _stopped(task_runs: TaskRuns) -> list[str]:
    """How many configurations a search stopped where."""
    if not task_runs.stopped:
        return []
    last = Counter(max(row["rung"] for row in each.rows) for each in task_runs.stopped)
    where = ", ".join(f"{count} at epoch {rung}" for rung, count in sorted(last.items()))
    return [
        f"A search stopped {_count(len(task_runs.stopped), 'more configuration')} early, by validation scores alone "
        f"({where}): no scores here, but counted in the correction."
    ]


def _answer(decision: Decision, tested: int) -> str:
    summary, metric, test_set = decision.summary, decision.summary.metric, decision.summary.test_set
    student = summary.scores["student"].mean
    if student is None:
        return f"The student's {metric.name} on {test_set} is undefined."
    reached = f"The student's {metric.name} on {test_set} is {metric.score_text(student)}"
    if summary.gain is None:
        return f"{reached}; no baseline was trained, so the gain from distillation is unknown."
    gain = summary.gain.mean
    if gain is None:
        return f"{reached}; the baseline's is undefined, so the gain from distillation is unknown."
    unit = "" if metric.lower_is_better else " points"
    compared = f"{metric.gain_text(abs(gain), 2).removeprefix('+')}{unit} {direction(gain)} than the baseline's"
    if direction(gain) == "equal":
        compared = "equal to the baseline's"
    if summary.not_judged:
        return f"{reached}, {compared}. {summary.not_judged.sentence}"
    corrected = f"after correction for {tested} configurations " if tested > 1 else ""
    return (
        f"{reached}, {compared} (95 % over test rows: "
        f"{tables.gain_interval(summary.rows.gain if summary.rows else None, metric)}; over seeds: "
        f"{tables.gain_interval(summary.gain, metric)}); {corrected}{MEANINGS[decision.evidence]}."
    )


def _section(result: StudyResult, plot_paths: Mapping[str, Path]) -> list[str]:
    task_runs = result.task_runs
    parts = [f"## {task_runs.name}", _common_settings(task_runs), *sentences(result)]
    shipped = shipping(result)
    if shipped:
        parts.append("{}: `{}`".format(*shipped))
    verdicts = tables.verdicts(task_runs, result.decisions, result.chosen)
    for table in (verdicts, *tables.scores(task_runs, result.summaries)):
        parts += [f"### {table.title}", as_markdown(table)]
    return [*parts, *(f"### {title}\n\n![{title}]({path.name})" for title, path in plot_paths.items())]


def _common_settings(task_runs: TaskRuns) -> str:
    """What all groups have in common, and how many runs there are."""
    common = {
        name: value
        for name, value in task_runs.groups[0].config.items()
        if all(group.config.get(name) == value for group in task_runs.groups) and value not in (None, ())
    }
    models = " -> ".join(format_value(common.get(f"{role}_model", "several")) for role in ("teacher", "student"))
    settings = " ".join(f"`{name} {format_value(value)}`" for name, value in common.items())
    details = f"<details><summary>Shared settings</summary>\n\n{settings}\n\n</details>"
    return f"{_size(task_runs)}; {models}.\n\n{details}"


def _size(task_runs: TaskRuns) -> str:
    return f"{_count(len(task_runs.groups), 'configuration')}, {_count(task_runs.run_count, 'run')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
