"""From what a user names to images.

- `open`: ``NAME`` or ``NAME:PATH`` to a data set, its options checked.
- `image_files`: image files to tensors, and `LabelledImages`, a data set of files and labels.
- `sampling`: which images a run uses, stratified by group.
- `image_statistics`: brightness, contrast and sharpness, which gaps between groups are adjusted for.

Open `image_files` first.
"""
