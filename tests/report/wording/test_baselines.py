"""Sentences on baselines."""

from dataclasses import replace

from mavis.report.wording.baselines import nothing_compares_sentence, origin_remarks

from ...score_origins import ORIGIN


def test_remarks_name_what_differs_beside() -> None:
    """Rules of the decision, images, weights and version; nothing where nothing differs."""
    assert list(origin_remarks(ORIGIN, ORIGIN)) == []
    now = replace(
        ORIGIN, mavis="2.0", protocol_sha256="1" * 64, data={**ORIGIN.data, "revision": "e"}, models={"net": "x"}
    )
    protocol, images, weights, version = origin_remarks(ORIGIN, now)
    assert (protocol[:14], images[:12], weights[:18], version) == (
        "other protocol",
        "other images",
        "other weights: net",
        "other version: MAVIS 1.0 in the baseline, 2.0 here",
    )


def test_a_baseline_without_comparable_scores_says_why() -> None:
    """Its metrics are named, three at most; one without any scores says so."""
    assert nothing_compares_sentence({"valid", "forwards"}).startswith("Nothing to compare: forwards, valid only check")
    assert "a, b, c and 2 more only" in nothing_compares_sentence(list("edcba"))
    assert "there are no scores" in nothing_compares_sentence(())
