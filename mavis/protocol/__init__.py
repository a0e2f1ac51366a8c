"""Protocol: the rules of a run, that is, images, explainers, metrics, gates and weights of the decision.

- `schema`: the `Protocol` and its sections, every key with its type, range, default and meaning.
- `loading`: YAML files to `Protocol`; a file may extend another, options of the command line override values.
- `checks`: names and parameters of gates and the decision, checked before a run.
- `demotions`: metrics that failed the meta-evaluation and take no part in decisions.

Open `schema` first; ``protocols/README.md`` explains every key.
"""
