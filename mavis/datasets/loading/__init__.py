"""Loading of data: from the name that a user writes to images.

- `open`: ``NAME`` or ``NAME:PATH`` to a data set, its options checked, its optional members filled in.
- `image_files`: image files to tensors, and `LabelledImages`, a data set of files and labels.
- `sampling`: the images that a run uses, stratified by group.
- `image_statistics`: brightness, contrast and sharpness, the covariates of gaps between groups.

Open `image_files` first.
"""
