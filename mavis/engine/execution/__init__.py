"""Execution: blocks to scores.

- `scheduler`: which blocks are left, and who runs them; another executor takes its place here.
- `block`: the loops over batches, explainers and metrics, one function per kind of metric.
- `explain`: passes and maps of a batch; `re_explain`: maps under variants; `map_agreement`: methods compared.
- `isolation`: the executor where plug-ins are foreign; `plugin_process`, `plugin_check`: their process, and what they
  are asked first.
- `records`: rows and failures; the only place where an exception becomes a record.

Open `block` first.
"""
