"""Notes in words: what was not assessed, remarks on the model, and caveats."""

from collections.abc import Callable, Mapping, Sequence

from mavis.analysis.findings import Note
from mavis.report import layout
from mavis.report.wording.phrases import abbreviate

MAX_NAMES = 3
"""Names of classes in a remark; there may be thousands."""


def note_text(note: Note) -> str:
    """The note as a phrase or a sentence.

    Args:
        note: any but a gap's statement, which `gaps.gap_sentence` words.
    """
    return NOTE_WORDS[note.code](**note.values)


def _joined(template: str, name: str) -> Callable[..., str]:
    """A template of which one value is a list of names."""

    def text(**values: Sequence[str] | str) -> str:
        return template.format(**{**values, name: ", ".join(values[name])})

    return text


def _abbreviated(template: str, name: str) -> Callable[..., str]:
    """A template of which one value is a list of names that may be long: the first of them and a count."""

    def text(**values: Sequence[str]) -> str:
        return template.format(**{**values, name: abbreviate(values[name], MAX_NAMES)})

    return text


def _scale_without_images(metric: str, explainers: Sequence[str]) -> str:
    return f"{metric}: no image has {metric} of {' and '.join(explainers)}"


def _flat_scale(metric: str, floor: str, ceiling: str | None, span: float) -> str:
    top = ceiling or "a perfect map"
    return f"{metric}: {top} is not shown to be better than {floor} on {metric} (by {span:+.3f})"


def _missing_categories(categories: Sequence[str]) -> str:
    names = ", ".join(layout.category_label(name) for name in categories)
    return f"no score for {names}: the other categories share the weight"


NOTE_WORDS: Mapping[str, Callable[..., str]] = {
    "metric.not_run": "{metric}: it was not run".format,
    "metric.no_drop_augmentation": "{metric}: the model is not known to be trained on images with holes".format,
    "metric.parts_unknown": "{metric}: it is not known which parts the model relies on".format,
    "metric.demoted": "{metric} is left out of the decision: {reason}".format,
    "scale.no_image": _scale_without_images,
    "scale.flat": _flat_scale,
    "provisional.gate": _joined("gate {gate} for {explainers}", "explainers"),
    "provisional.training_images": "leak check (the training images are not known)".format,
    "left_out.categories": _missing_categories,
    "left_out.methods": _joined("{explainers}: {reason}", "explainers"),
    "left_out.methods_without_score": _joined(
        "{explainers}: no overall score, since a metric that decides has no value", "explainers"
    ),
    "left_out.imputers": _joined(
        "leader under {imputers}: with cells removed in this way the model changes too many predictions", "imputers"
    ),
    "left_out.protocol": _joined("{protocol} as published: this run is a custom protocol ({overrides})", "overrides"),
    "left_out.other_models": (
        "other models: the answer is conditional on this one ({n_models} of the {min_models} models needed)"
    ).format,
    "remark.one_class": "one class occurs in the sample: always answering it would be right".format,
    "remark.weak_model": "a weak model: it reaches {share:.0%} of the way from guessing to always right".format,
    "remark.never_predicted": _abbreviated("never predicted: {classes}", "classes"),
    "caveat.scope": "The scores describe explanations of this model on these images.".format,
    "caveat.fairness": (
        "They do not show that the model is fair, nor that highlighted regions cause the attribute."
    ).format,
    "caveat.labels": (
        "Group labels are annotations, not facts about the persons shown. Nothing here is for decisions about a person."
    ).format,
    "caveat.intervals": (
        "Intervals cover the choice of images, not the training of the model: another training run is another model."
    ).format,
    "caveat.demoted": _joined(
        "Left out of the decision because of the meta-evaluation: {metrics}; the answer gives the reasons.", "metrics"
    ),
}
"""Code -> the note's words, as a function of its values."""
