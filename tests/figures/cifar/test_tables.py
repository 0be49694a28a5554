"""The tables of the deep experiments: their numbers are derived here, their forms are read back.

Without this file a mean, a deviation or a difference to the paper could be wrong in every table,
and so could the paper's own numbers beside them.
"""

import csv
import io
import math
import re

import numpy as np
import pytest
from deep_histories import entries_of, study_of

from efsgd.figures.cifar import paper, tables

pytest.importorskip("torch", reason="the deep track needs torch")
FINALS = {0: 90.0, 1: 91.0, 2: 95.0}  # by seed: mean 92, deviations -2, -1, 3
MEAN, DEVIATION = 92.0, math.sqrt((4 + 1 + 9) / 2)
BESTS = {0: 96.0, 1: 93.0, 2: 99.0}  # all in the middle epoch: mean 96
BEST = 96.0


def sometimes(entry):
    """SGDm has all, scaled signSGD diverges once, EF-signSGD has one run, signSGDm none."""
    seed = entry.training.seed
    if entry.method == "sgdm":
        return {"accuracy": FINALS[seed], "best": BESTS[seed], "virtual": FINALS[seed] - 1}
    if entry.method == "signsgd":
        return {"accuracy": 80.0, "diverged": 3 if seed == 1 else None}
    return {"accuracy": 70.0} if entry.method == "ef-signsgd" and seed == 2 else None


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    entries = entries_of("paper", models=("vgg19",), batches=(8,), epochs=6)
    return study_of(entries, tmp_path_factory.mktemp("results"), sometimes)


def test_rows_hold_mean_deviation_and_the_selected_maximum(study):
    row = tables.rows(study)[0]
    assert row.cell.label == "SGDm"
    assert row.final == pytest.approx((MEAN, DEVIATION))
    assert row.virtual == pytest.approx((MEAN - 1, DEVIATION))
    assert row.best == pytest.approx(BEST)
    assert row.paper == paper.accuracy("vgg19", "cifar10", 8, "sgdm") == 93.09
    assert row.difference == pytest.approx(BEST - 93.09)


def test_the_best_is_that_of_the_mean_and_no_mean_of_bests(tmp_path):
    def peaks(entry):
        return {
            "accuracy": 50.0 + 10 * entry.training.seed,
            "best": 60.0 - 10 * entry.training.seed,
        }

    entries = entries_of(
        "paper", models=("vgg19",), batches=(8,), methods=("sgdm",), seeds=2, epochs=4
    )
    (row,) = tables.rows(study_of(entries, tmp_path, peaks))
    # the last epoch has 50 and 60, the middle one 60 and 50: each run's own best would give 60
    assert row.best == pytest.approx(55.0)


def test_every_cell_of_the_grid_has_a_row_also_an_empty_one(study):
    cells = [row.cell for row in tables.rows(study)]
    assert [(cell.label, len(cell.results), cell.diverged) for cell in cells] == [
        ("SGDm", 3, 0),
        ("scaled signSGD", 3, 1),
        ("signSGDm", 0, 0),
        ("EF-signSGD", 1, 0),
    ]
    empty, single = tables.rows(study)[2:]
    assert math.isnan(empty.final[0])
    assert empty.difference is None
    assert single.final[0] == pytest.approx(70.0)
    assert math.isnan(single.final[1])  # one run has no deviation


def test_markdown_is_a_table_that_says_what_is_missing(study):
    text = tables.markdown(study)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(tables.HEADS) + 1}
    assert lines[2] == (
        f"| 8 | SGDm | 3 | {MEAN:.2f} +- {DEVIATION:.2f} | {MEAN - 1:.2f} +- {DEVIATION:.2f} "
        f"| {BEST:.2f} | 93.09 | +{BEST - 93.09:.2f} |"
    )
    assert "| 1 of 3 diverged | 1 of 3 diverged |" in lines[3]
    assert lines[4].startswith("| 8 | signSGDm | 0 of 3 | - | - | - |")
    assert "selected on the test set, as the paper reports" in text
    assert "- batch 8, signSGDm: 0 of 3 runs" in text
    assert "- batch 8, EF-signSGD: 1 of 3 runs" in text
    assert "cifar10 (50000 training, 10000 test images)" in text


def test_markdown_says_of_every_pair_of_methods_whether_the_seeds_decide(tmp_path):
    level = {"sgdm": 90.0, "signsgd": 80.0, "signsgdm": 80.05}

    def by_method(entry):
        return {"accuracy": level[entry.method] + entry.training.seed}

    entries = entries_of("short", models=("vgg19",), methods=tuple(level))
    study = study_of(entries, tmp_path, by_method)
    below = tables.markdown(study).partition(tables.ORDERS)[2]
    # deviations 1, n = 3: the half width is t(.975, 4 degrees) * sqrt(2/3)
    half, test = 2.776445 * math.sqrt(2 / 3), "points (Welch 95 %, n = 3 and 3)"
    assert [line for line in below.splitlines() if line] == [
        f"- batch 128: SGDm above scaled signSGD by 10.00 +- {half:.2f} {test}",
        f"- batch 128: SGDm above signSGDm by 9.95 +- {half:.2f} {test}",
        f"- batch 128: scaled signSGD and signSGDm not decided: -0.05 +- {half:.2f} {test}",
        "- batch 8: SGDm and scaled signSGD not decided: 1 and 1 runs are too few",
        "- batch 8: SGDm and signSGDm not decided: 1 and 1 runs are too few",
        "- batch 8: scaled signSGD and signSGDm not decided: 1 and 1 runs are too few",
    ]
    assert half > 0.05  # so that one is open


def test_orders_say_what_keeps_them_open_and_one_method_has_none(study, tmp_path):
    text = tables.markdown(study)
    assert "- batch 8: SGDm and scaled signSGD not decided: a run diverged\n" in text
    assert "- batch 8: SGDm and signSGDm not decided: 3 and 0 runs are too few\n" in text
    alone = study_of(entries_of("smoke", methods=("sgdm",), epochs=2), tmp_path)
    assert tables.ORDERS not in tables.markdown(alone)


def test_numbers_are_those_of_all_epochs_where_few_are_evaluated(tmp_path):
    entries = entries_of("short", models=("vgg19",), batches=(128,))
    rare = entries_of("short", models=("vgg19",), batches=(128,), evaluate_every=7)
    full, with_gaps = (study_of(runs, tmp_path) for runs in (entries, rare))
    assert any(np.isnan(result["train_loss"]).any() for result in with_gaps.results.values())
    assert tables.comma_separated(full) == tables.comma_separated(with_gaps)


def test_latex_is_a_tabular_with_as_many_cells_in_every_line(study):
    text = tables.latex(study)
    body = [line for line in text.splitlines() if not line.startswith("%")]
    (columns,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert body[-1] == "\\end{tabular}"
    rows = [line for line in body if line.endswith("\\\\")]
    assert len(rows) == 1 + len(tables.rows(study))
    for line in rows:
        assert len(re.split(r"(?<!\\)&", line)) == len(columns) == len(tables.HEADS)
        assert not re.search(r"(?<!\\)[%#_]", line)
    assert "$\\pm$" in rows[1]
    assert "+-" not in "".join(rows)


def test_latex_escapes_what_it_must():
    assert tables.escaped("50% of a_b & c#1") == "50\\% of a\\_b \\& c\\#1"


def test_csv_reads_back_with_empty_fields_for_what_is_not_there(study):
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(study))))
    assert tuple(rows[0]) == tables.COLUMNS
    assert float(rows[0]["final_mean"]) == pytest.approx(MEAN)
    assert float(rows[0]["final_sd"]) == pytest.approx(DEVIATION)
    assert float(rows[0]["best_selected_on_test"]) == pytest.approx(BEST)
    assert float(rows[0]["difference"]) == pytest.approx(BEST - 93.09)
    assert (rows[1]["n"], rows[1]["diverged"], rows[1]["final_mean"]) == ("3", "1", "")
    assert (rows[2]["n"], rows[2]["wanted"], rows[2]["difference"]) == ("0", "3", "")
    assert (rows[3]["final_mean"], rows[3]["final_sd"]) == ("70", "")


def test_a_grid_that_the_paper_has_not_is_compared_with_nothing(tmp_path):
    entries = entries_of("smoke", epochs=2)
    study = study_of(entries, tmp_path)
    assert {row.paper for row in tables.rows(study)} == {None}
    assert "paper's" not in " ".join(line for line in tables.markdown(study).splitlines()[:8])


def test_mean_and_deviation_of_few_values():
    assert tables.mean_and_deviation(np.array([1.0, 3.0])) == pytest.approx((2.0, math.sqrt(2)))
    assert np.isnan(tables.mean_and_deviation(np.zeros(0))).all()
    assert tables.with_deviation(math.nan, math.nan) == "-"
    assert tables.with_deviation(1.0, math.nan) == "1.00"
    assert tables.with_deviation(1.0, 0.25) == "1.00 +- 0.25"


# -- the published numbers ------------------------------------------------------------------------


def test_the_papers_numbers_are_those_of_its_tables():
    # arXiv 1901.09847, section 6: SGDm, then the gaps to it in points
    assert paper.accuracy("vgg19", "cifar10", 128, "sgdm") == 93.38
    assert paper.gap("vgg19", "cifar10", 8, "signsgd") == -20.22
    assert paper.gap("resnet18", "cifar100", 8, "signsgd") == -36.35
    assert paper.accuracy("resnet18", "cifar100", 8, "ef-signsgd") == pytest.approx(74.91 - 0.64)
    assert paper.gap("vgg19", "cifar10", 8, "sgdm") == 0
    for unknown in [("vgg19", "cifar100", 8, "sgdm"), ("vgg19", "cifar10", 64, "sgdm")]:
        assert paper.accuracy(*unknown) is None
    assert paper.gap("vgg19", "cifar10", 8, "ef:topk:0.01") is None


def test_every_tuned_step_size_lies_on_the_papers_grid():
    grid = np.logspace(-5, 1, 9)
    for sizes in paper.STEP_SIZES.values():
        assert set(sizes) == set(paper.METHODS)
        for lr in sizes.values():
            assert np.isclose(lr, grid, rtol=1e-9).any()
