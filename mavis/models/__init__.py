"""Models: a file directly in this folder is a plug-in; the registry finds it.

A model (`mavis.core.types.Model`) is a network from images in [0,1] to logits, normalisation inside, with its classes,
its CAM layer, a content hash and its capabilities. `loading` opens one by name, path or object; `preparation`
copies it and makes it explainable; `training` trains one. Open `loading.open` first.
"""
