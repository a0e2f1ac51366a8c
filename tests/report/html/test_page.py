"""The page."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from mavis.analysis.findings import Estimate
from mavis.report import numbers
from mavis.report.html.page import render_page

DECIDING = {"nsrg", "single_deletion", "avg_sensitivity_normalised", "gini"}
VOID = {"meta", "br", "img", "link", "input", "wbr", "path", "use", "rect", "circle"}
BLANK = Estimate(mean=None, low=None, high=None, n=0)


class Page(HTMLParser):
    """Reads a page and remembers tags, attributes and text; fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += f" {data} "


@pytest.fixture(scope="module")
def markup(findings, curves, tiles):
    """The page of the findings with everything in it."""
    return render_page(findings, curves, tiles)


@pytest.fixture(scope="module")
def page(markup):
    """The same, read."""
    return Page(markup)


def _no_rows(curves: pd.DataFrame) -> pd.DataFrame:
    return curves.iloc[:0]


def test_every_number_is_on_the_page(findings, page):
    """Every mean, interval, gap, gate, accuracy, skill and cross-check can be read."""
    words = set(re.findall(r"[^\s,;()\[\]]+", page.text))
    values = []
    for model in findings.models:
        validity = model.validity
        estimates = [validity.accuracy, validity.balanced_accuracy, *(one.estimate for one in validity.groups)]
        values += [validity.chance, *validity.cue.values(), *model.recommendation.prob_best.values()]
        values += [validity.calibration_error, *validity.group_calibration.values(), validity.leak.rate]
        values += [*validity.leak.groups.values(), *model.recommendation.weights.values()]
        estimates += [one.estimate for one in validity.recall] + [one.change for one in validity.reliance]
        checks = model.recommendation.cross_checks
        values += [*checks.borda.values(), *checks.mean_rank.values(), *checks.smaa.values(), checks.concordance]
        values += [checks.concordance_within, checks.concordance_upper]
        for entry in model.explainers:
            values += [number for gate in entry.gates for number in (gate.value, gate.threshold)]
            estimates += [*entry.categories.values(), *(skill.skill for skill in entry.skills)]
            estimates += [entry.overall] if entry.overall else []
            values += [mean for skill in entry.skills for mean in skill.groups.values()]
            for one in entry.metrics:
                estimates += [one.estimate, *(value.estimate for value in one.groups)]
                estimates += [gap.range for gap in one.gaps] + [gap.worst_group_mean for gap in one.gaps]
                values += [number for gap in one.gaps for number in (gap.null_mean, gap.p)]
                values += [value.partial_pooled_mean for value in one.groups]
                values += [one.weighted_mean] if one.metric == "nsrg" else []
                for gap in one.gaps if one.metric in DECIDING else ():
                    values += [gap.excess, gap.ratio]
                    estimates += [gap.shortfall, gap.mean_pairwise, gap.corrected_sd]
                    for pair in gap.pairs if gap.attribute != "race*gender" else ():
                        values += [pair.matched_share, pair.p]
                        estimates += [pair.raw, pair.matched, pair.adjusted]
        values += [number for one in estimates for number in (one.mean, one.low, one.high)]
    across = findings.across_models
    values += [*across.mean_ranks.values(), across.friedman_p, across.critical_difference]
    values += across.leader_vs_next.values()
    wanted = {numbers.format_number(value) for value in values if value is not None}
    assert len(wanted) > 1000
    assert wanted - words == set()


def test_answer_has_its_evidence_and_limits(page):
    """Above the tables stand headline, numbered evidence, groups, what was not assessed, weights and codes."""
    words = " ".join(page.text.split())
    top = words[words.index("Answer", words.index("Caveats")) : words.index("Model validity")]
    for part in (
        "★ Recommended set, no single best, provisionally", "a gate of a recommended method could not be assessed",
        "By group On images labelled birch, grad_cam is better", "Not assessed gate G3 for integrated_gradients",
        "faithfulness .588, robustness .235, complexity .118, worst group .059",
        "What each code means, and what to do: docs/decision.md", "✗ No recommendation",
    ):  # fmt: skip
        assert part in top, part
    assert [tag for tag, _ in page.tags].count("ol") == 2


def test_skills_have_ranks_with_intervals(page):
    """The skill table has overall, categories with weights, rank intervals, and who is dominated."""
    words = " ".join(page.text.split())
    table = words[words.index("Overall score on faces-balanced") :]
    assert "faithfulness weight .588" in table
    assert "worst group weight .059" in table
    assert "★ grad_cam ? G3 2 [1, 3] .830 [.790, .860] .800" in table
    assert "input_x_gradient ✗ G3 ? G4 3 [1, 4]" in table
    assert ".517 integrated_gradients input_x_gradient" in table


def test_gaps_have_statements_verdicts_and_pairs(page):
    """Beside every deciding gap stand what may be said, each measure, and every two groups."""
    words = " ".join(page.text.split())
    assert (
        "found: integrated_gradients by race: nsrg, as a normalised score, is lower for images labelled birch" in words
    )
    assert "no material gap nsrg has no material gap: every two groups are shown to lie within 0.05" in words
    assert "no claim too few images for a claim: " in words
    for metric in DECIDING:
        assert f"Every measure of the gaps of {metric}" in words
    assert "Every measure of the gaps of srg" not in words
    assert re.search(r"alder − birch \.\d{3} \[", words)
    assert re.search(r"alder − cedar \S+ \[\S+ \S+ – \S+ \[\S+ \S+ 0 – no", words)


def test_model_has_leak_parts_and_calibration(page):
    """The model's section says whether it was trained on these images, which parts it uses, and what follows."""
    words = " ".join(page.text.split())
    for part in (
        "whether evaluated images were trained on is not known",
        "✗ 12 evaluated images are training images, 3 near duplicates (share .021), above the protocol's limit",
        "the parts that the model relies on are known, so localisation decides",
        "the parts that the model relies on are not known, so localisation does not decide",
        "mouth <b> 1.253 [1.128, 1.378] 717 yes", "brows .211 [.190, .232] 717 no", "calibration error",
        "recall per class", "share trained on",
    ):  # fmt: skip
        assert part in words, part


def test_few_methods_are_shown_whole(page):
    """With few methods every metric is shown for intersections too."""
    words = " ".join(page.text.split())
    assert words.count("srg ↑ by race × gender") == 4
    assert "leaderboard.csv only" not in words


def test_cross_checks_and_models_as_blocks(page):
    """Other ways to sum up have a table; imputers their leaders; models as blocks their test."""
    words = " ".join(page.text.split())
    assert "integrated_gradients .633 .917 1.250 .721" in words
    assert "nsrg@blur grad_cam, integrated_gradients" in words
    assert "nsrg – " in words
    assert "Mean ranks over 6 models" in words
    assert "Friedman p .012; mean ranks closer than 1.354 do not differ significantly (Nemenyi)" in words
    assert "above .812" in words


def test_what_was_not_computed_leaves_no_empty_table(findings, curves):
    """Without skills, cross-checks and further checks of the model, the page has none of their tables."""
    model = findings.models[0]
    entries = tuple(
        entry.model_copy(update={"skills": (), "categories": {}, "overall": None, "dominated_by": None})
        for entry in model.explainers
    )
    groups = tuple(row.model_copy(update={"calibration_error": None}) for row in model.validity.groups)
    empty = {"calibration_error": None, "groups": groups, "recall": (), "leak": None, "reliance": ()}
    bare = model.model_copy(
        update={
            "explainers": entries,
            "validity": model.validity.model_copy(update={**empty, "truth_verified": None}),
            "recommendation": model.recommendation.model_copy(
                update={"cross_checks": None, "weights": {}, "leader_categories": {}}
            ),
        }
    )
    words = Page(
        render_page(findings.model_copy(update={"models": (bare,), "across_models": None}), _no_rows(curves), [])
    )
    for part in (
        "Overall score on",
        "Cross-checks",
        "recall per class, with",
        "trained on",
        "change of the logit",
        "Friedman",
    ):
        assert part not in words.text
    assert "rank by nsrg" in words.text


def test_nothing_comes_from_elsewhere(markup, page):
    """No tag and no style points outside the page."""
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:image/png;base64,")), (tag, target)
        assert tag not in {"script", "iframe", "link", "object", "embed"}
        assert not any(name.startswith("on") for name in attributes)
    assert all(url.startswith(("#", '"data:', "'data:")) for url in re.findall(r"url\(([^)]*)", markup))
    assert "@import" not in markup
    assert "http:" not in markup
    assert "https:" not in markup


def test_links_arrive_and_ids_are_unique(page):
    """Every link inside the page has its target, and no identifier occurs twice among the sections."""
    ids = [attributes["id"] for tag, attributes in page.tags if "id" in attributes and tag in {"section", "h2"}]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert links <= {f"#{name}" for name in ids}


def test_pictures_and_tables_can_be_read_aloud(page):
    """Pictures have a text, plots a description, header cells a scope, data tables a caption or headers."""
    for tag, attributes in page.tags:
        assert tag != "img" or "alt" in attributes
        assert tag != "svg" or attributes.get("aria-label")
        assert tag != "th" or attributes.get("scope") in {"row", "col"}
    assert page.tags[0] == ("html", {"lang": "en"})


def test_names_are_text(hostile, curves):
    """Names made of markup open no tag, in tables or in plots."""
    markup = render_page(hostile, _no_rows(curves), [])
    page = Page(markup)
    assert "<script" not in markup
    assert "onerror" not in str([attributes.keys() for _, attributes in page.tags])
    assert not any(tag == "img" for tag, _ in page.tags)
    assert "<script>alert(1)</script>" in page.text
    assert "${\\rm x}$ `q` [u](v)" in page.text


def test_says_what_it_is(page):
    """A preview and a changed protocol say so at the top; groups are labels; refusals have their codes."""
    words = " ".join(page.text.split())
    top = words[: words.index("Model validity")]
    for part in (
        "preview",
        "custom protocol",
        "59 of 60 blocks",
        "No recommendation",
        "R1",
        "R11",
        "Share of bootstrap",
    ):
        assert part in top
    for part in ("labelled cedar", "n<30", "not assessed", "✗ not passed", "Why nothing is recommended"):
        assert part in words
    for caveat in ("The scores describe explanations of this model", "Nothing here is for decisions about a person."):
        assert caveat in words
    assert not re.search(r"\b(fair|unbiased|solved|nan|None|Undefined)\b", words)


def test_gates_have_numbers_and_reasons(page):
    """A gate's row reads: outcome, value, threshold, and the sentence; a dash where it could not be assessed."""
    words = " ".join(page.text.split())
    assert (
        "✗ not passed .710 .500 similarity to the maps of randomised weights is 0.71 (upper end 0.73); at most 0.50"
        in words
    )
    assert "could not be assessed – .500 not assessed: there are no values of 'mprt'" in words


def test_dashes_say_why(page):
    """A missing value is a dash with its reason, not a zero."""
    reasons = {
        attributes.get("title") for tag, attributes in page.tags if tag == "td" and attributes.get("class") == "none"
    }
    assert "failed on every image: ContractError" in reasons
    assert "needs 'forward' by batches of 1, which the model lacks" in reasons
    assert "not shown: 21 images with a value, at least 30 are needed" in reasons


def test_gallery_has_a_map_per_explainer_and_group(tiles, page):
    """Every tile has its picture, told in words, with the numbers of its scale."""
    told = [attributes["alt"] for tag, attributes in page.tags if attributes.get("class") == "map"]
    assert len(told) == len(tiles)
    assert any(
        re.search(r"grad_cam for image cedar-001, labelled cedar, values from \S+ to \.2", text) for text in told
    )


def test_stays_small(large_findings, curves, tiles):
    """Sixty-two explainers, seven groups and their intersections stay under 8 MB with curves and maps."""
    mine = [tile for tile in tiles if tile.explainer == "integrated_gradients" and tile.model == "faces-balanced"]
    names = [entry.explainer for entry in large_findings.models[0].explainers]
    copies = [type(tile)(**{**vars(tile), "explainer": name, "model": "one"}) for tile in mine for name in names]
    rows = curves[(curves["explainer"] == "integrated_gradients") & (curves["model"] == "faces-balanced")]
    every = pd.concat([rows.assign(explainer=name, model="one") for name in names])
    markup = render_page(large_findings, every, copies)
    assert 1e6 < len(markup.encode()) < 8e6
    assert markup.count("srg ↑ by race × gender") == 1
    assert "nsrg ↑ by race × gender" in markup
    assert "intersections of these metrics are in leaderboard.csv only" in markup


def test_empty_findings_make_a_page(findings, curves):
    """Without models, tiles and curves there is a page that says so."""
    page = Page(
        render_page(
            findings.model_copy(update={"models": (), "failures": (), "skipped": (), "caveats": ()}),
            _no_rows(curves),
            [],
        )
    )
    assert "No model was evaluated" in page.text
    assert "Nothing failed." in page.text


def test_models_without_maps_curves_or_groups(findings, curves):
    """A model whose explainers have nothing, and data without groups, make a page with sentences instead of figures."""
    idle = findings.models[0].model_copy(update={"explainers": ()})
    data = findings.data.model_copy(update={"groups": {}})
    page = Page(render_page(findings.model_copy(update={"models": (idle,), "data": data}), _no_rows(curves), []))
    for part in ("No explainer was run.", "name no groups", "No curves were recorded", "it shows no maps"):
        assert part in page.text


def test_all_null(findings, curves, tiles):
    """Where every value is missing, every cell is a dash and nothing is drawn as zero."""
    models = []
    for model in findings.models:
        entries = tuple(
            entry.model_copy(
                update={
                    "metrics": tuple(
                        one.model_copy(
                            update={"estimate": BLANK, "groups": (), "gaps": (), "rank": None, "chance": None}
                        )
                        for one in entry.metrics
                    ),
                    "rank": None,
                }
            )
            for entry in model.explainers
        )
        nothing = model.validity.model_copy(update={"accuracy": BLANK, "balanced_accuracy": BLANK, "groups": ()})
        models.append(model.model_copy(update={"explainers": entries, "validity": nothing}))
    nulls = curves.assign(mean=float("nan"))
    page = Page(render_page(findings.model_copy(update={"models": tuple(models)}), nulls, tiles[:1]))
    assert not any(tag == "svg" for tag, _ in page.tags)
    assert "–" in page.text
