"""Public names that were renamed still resolve, and say so."""

import pytest

import mavis
from mavis.core import metric_types


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("Answers", "ProbeOutputs"),
        ("Explained", "Explanation"),
        ("FreeMetric", "CustomMetric"),
        ("Probe", "MaskProbe"),
    ],
)
def test_a_former_name_is_the_class_of_today(former: str, name: str) -> None:
    """It resolves, with a warning that shows the line of the caller, and is not listed."""
    with pytest.warns(DeprecationWarning, match=rf"mavis\.{former} is now mavis\.{name}\.") as caught:
        assert getattr(mavis, former) is getattr(metric_types, name)
    assert caught[0].filename == __file__
    assert former not in dir(mavis)
    assert name in mavis.__all__
