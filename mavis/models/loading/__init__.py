"""Loading of models: from a name or an object of the user to a prepared model.

- `open`: a name, a folder, a spec such as ``timm:resnet18`` or an object to a prepared model.
- `specs`: the syntax of specs; `options`: what may stand behind a name, such as ``?output=probabilities``.
- `wrappers`: any callable or network as a model; `weights`: loading of weights.
- `checkpoint`: a model folder on disk (safetensors and a JSON card); `architectures`: the shipped architecture.

Open `open` first.
"""
