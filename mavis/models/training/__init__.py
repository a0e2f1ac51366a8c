"""Training: the loop behind ``mavis train`` and the models that are shipped.

`loop` trains and keeps the best epoch, `augmentation` changes the images, `accuracy` measures per group,
`image_cache` keeps decoded images, `shipped_models` makes the models in ``models/weights``. Open `loop` first.
"""
