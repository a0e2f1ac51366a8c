"""A data set: a folder of images beside a table."""

from pathlib import Path

import pandas as pd

from mavis import DataError, LabelledImages, dataset


@dataset(
    "pictures",
    about="image files named by labels.csv, one column per annotation",
    options=("root", "target", "size"),
)
def pictures(root: str, target: str = "shade", size: int = 64) -> LabelledImages:
    """A folder with ``labels.csv``: a column ``file``, every other column an annotation."""
    path = Path(root) / "labels.csv"
    if not path.is_file():
        raise DataError(f"There is no {path}.")
    table = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("file").rename_axis("id")
    if target not in table.columns:
        raise DataError(f"{path} has no column '{target}'; it has {', '.join(table.columns)}.")
    return LabelledImages(
        name=f"pictures:{root}",
        target=target,
        attributes={column: tuple(sorted(table[column].unique())) for column in table.columns},
        provenance="Annotations of labels.csv; who made them is not known.",
        root=Path(root),
        groups=table,
        size=size,
    )
