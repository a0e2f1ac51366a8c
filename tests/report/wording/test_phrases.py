"""Names joined, counted and spelt out."""

from mavis.report.wording import phrases


def test_some_names_and_how_many_more():
    """A long list shows its first names and counts the rest."""
    assert phrases.abbreviate(["a", "b"], 2) == "a, b"
    assert phrases.abbreviate(["a", "b", "c", "d"], 2) == "a, b and 2 more"


def test_names_or_their_number():
    """A short list is named, a long one counted."""
    assert phrases.names_or_count(["a", "b"], "explainers", 3) == "a, b"
    assert phrases.names_or_count(["a", "b", "c", "d"], "explainers", 3) == "4 explainers"


def test_names_are_joined_with_and():
    """None, one, two and three."""
    assert [phrases.join_and("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_nouns_have_a_plural():
    """Only one has none."""
    assert [phrases.count_noun(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_the_primary_metric_is_spelt_out():
    """Other metrics keep their name."""
    assert phrases.metric_title("nsrg") == "nsrg (normalised symmetric relevance gain)"
    assert phrases.metric_title("gini") == "gini"
