"""Preparation: a copy of a model on which every explainer can run, with the same outputs.

- `prepare`: evaluation mode, no gradients of weights, logits in place of probabilities; lists its changes.
- `graph_rewriting`: activations become modules of their own (torch.fx), a final softmax is removed.
- `cam_layer`: the layer that CAM methods read.

Open `prepare` first.
"""
