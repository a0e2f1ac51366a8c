"""Fixtures of the meta-evaluation's tests: one quick run for all of them, and a bench without tables."""

from dataclasses import replace

import pytest

from mavis.workflows import meta_evaluation
from mavis.workflows.meta_evaluation import fixtures

from .helpers import PROTOCOL


@pytest.fixture(scope="session")
def quick_result() -> meta_evaluation.MetaEvaluation:
    """The quick meta-evaluation with few simulations, which test_decision_rule.py and test_gaps.py make in number; only
    test_meta_evaluation.py uses it, so one worker runs it once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meta_evaluation, "QUICK", replace(fixtures.QUICK, simulations=8))
        return meta_evaluation.meta_evaluate(PROTOCOL, quick=True)


@pytest.fixture
def bench() -> fixtures.Bench:
    """A bench whose tables a test puts in by hand: ``bench.__dict__["faces"] = ...``."""
    return fixtures.Bench(PROTOCOL, fixtures.QUICK)
