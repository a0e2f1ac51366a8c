"""Preparation: a copy of a model on which every explainer can run, with the same outputs.

- `prepare`: evaluation mode, no gradients of weights, the steps below in their order; lists its changes.
- `isolation`: a stranger's network or function works on copies; `answers`: the call of it, and what it must return.
- `promises`: the same answer in any batch, asked on `probe_images`.
- `logits`: logits in place of what `outputs` recognises: probabilities, percentages, sigmoids.
- `graph_rewriting`: activations become modules of their own (torch.fx), a final softmax is removed.
- `cam_layer`: the layer that CAM methods read.

Open `prepare` first.
"""
