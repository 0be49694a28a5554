"""The step sizes of the preset `small` are those that its search chose.

Without this file the preset and the committed results of its search could drift apart.
"""

import pytest
from project import ROOT

from efsgd.figures.cifar.presets import (
    METHODS,
    PRESETS,
    SMALL_BATCH,
    SMALL_EPOCHS,
    SMALL_STEP_SIZES,
    SMALL_TRAIN,
)
from efsgd.results import load, spec_of

RESULTS = [load(path) for path in sorted((ROOT / "results" / "cifar").glob("training-*.npz"))]
SEARCH = [result for result in RESULTS if result.spec["validation"]]


@pytest.mark.parametrize("name", METHODS)
def test_the_step_size_is_the_one_with_the_best_validation_accuracy(name):
    method = spec_of(METHODS[name])
    tried = [result for result in SEARCH if result.spec["method"] == method]
    assert len({result.spec["lr"] for result in tried}) == 9
    finals = {r.spec["lr"]: r["test_accuracy"][-1] for r in tried if r["test_accuracy"][-1] >= 0}
    best = max(finals.values())
    assert min(lr for lr, accuracy in finals.items() if accuracy == best) == pytest.approx(
        SMALL_STEP_SIZES[name], rel=1e-12
    )


def test_the_search_was_on_the_preset():
    for result in SEARCH:
        assert result.spec["batch"] == SMALL_BATCH
        assert result.spec["train_size"] == SMALL_TRAIN
        assert result.spec["epochs"] == SMALL_EPOCHS // 2
        assert result.spec["model"] == PRESETS["small"].pairs[0][0]
