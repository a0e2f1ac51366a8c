"""Loading of data: from the name that a user writes to images.

- `open`: ``NAME`` or ``NAME:PATH`` to a data set, its options checked.
- `checked_data`: the door that every data set passes: completed, and each member checked when it is asked for, by
  `table_checks` and `batch_checks`.
- `image_files`: image files to tensors, and `LabelledImages`, a data set of such files.
- `image_folder`: the files that a table names, under any spelling.
- `image_inspection`: the first look at a run's images, broken and equal ones.
- `sampling`: the images that a run uses, stratified by group.
- `image_statistics`: brightness, contrast and sharpness, the covariates of gaps between groups.

Open `image_files` first.
"""
