"""Protocol: the rules of a run.

- `schema`: every key as a checked value; `loading`: YAML to `Protocol`, extended and overridden.
- `checks`: names and parameters that only gates and the decision will ask for.
- `demotions`: metrics that the meta-evaluation keeps from the decision.

Open `schema` first; ``protocols/README.md`` explains every key.
"""
