"""Catalogue of the metrics of Quantus 0.6, without importing it: direction, range, and known faults.

Directions are those of Quantus except for two. RegionPerturbation returns the fall of the probability, so higher is
better; Consistency is the share of images that agree, so higher is better.
"""

from dataclasses import dataclass

from mavis.core.traits import Category, MetricTraits
from mavis.core.types import Capability


@dataclass(frozen=True)
class QuantusEntry:
    """Declaration of one Quantus metric.

    Attributes:
        name: name of the class.
        category: MAVIS's name of Quantus's category.
        higher_is_better: direction of the value returned here.
        range: lowest and highest value; None where unbounded.
        source: the paper that Quantus names.
        summary: description in one line.
        faulty: the known fault and the metric to use instead; empty without a known fault.
        needs: the capability that it requires of the model beyond the explainer's.
        truth: true if it reads the region.
        chance: expected value of a map without information, where known.
        excluded_parameters: its own parameters that cannot be set, since it ignores them or is wrong with them.
    """

    name: str
    category: Category
    higher_is_better: bool
    range: tuple[float | None, float | None]
    source: str
    summary: str
    faulty: str = ""
    needs: Capability | None = "forward"
    truth: bool = False
    chance: float | None = None
    excluded_parameters: frozenset[str] = frozenset()

    @property
    def re_explains(self) -> bool:
        """True if it explains changed images or changed models."""
        return self.category in ("robustness", "randomisation") or self.name == "InputInvariance"

    @property
    def label(self) -> str:
        """The name in the registry."""
        return f"quantus:{self.name}"

    @property
    def traits(self) -> MetricTraits:
        """Traits for the registry."""
        undefined = ["a map is constant, not finite or below zero everywhere", "Quantus raised an error"]
        undefined += ["the region is empty or covers the whole image"] if self.truth else []
        undefined += ["the explainer cannot explain changed images"] if self.re_explains else []
        return MetricTraits(
            source=f"Quantus 0.6; {self.source}",
            category=self.category,
            higher_is_better=self.higher_is_better,
            range=self.range,
            chance=self.chance,
            needs=frozenset({self.needs} if self.needs else ()),
            truth=self.truth,
            undefined=", or ".join(undefined),
            faulty=self.faulty,
        )


_CHANNELS = "it removes the channels of a pixel one by one, so exact attributions of a linear model"
_TIES = "regions of equal value are removed in array order, and 'black' is the darkest value of the image itself"
_BATCH = "it compares the images of a batch with each other, so the score depends on the batch and is 0 for one image"
_WEIGHTS = "layers of equal shape are given equal weights and BatchNorm is set to one instead of drawn"

QUANTUS_METRICS: tuple[QuantusEntry, ...] = (
    QuantusEntry(
        "FaithfulnessCorrelation",
        "faithfulness",
        higher_is_better=True,
        range=(-1, 1),
        source="Bhatt et al. 2020, arXiv 2005.00631",
        summary="Correlation of the summed values of random subsets with the fall of the output without them.",
        faulty=f"{_CHANNELS} score below 1; use 'faithfulness_correlation'",
    ),
    QuantusEntry(
        "FaithfulnessEstimate",
        "faithfulness",
        higher_is_better=True,
        range=(-1, 1),
        source="Alvarez-Melis & Jaakkola 2018, arXiv 1806.07538",
        summary="Correlation of each feature's value with the fall of the output without it.",
        faulty=f"{_CHANNELS} score below 1; use 'faithfulness_estimate'",
    ),
    QuantusEntry(
        "PixelFlipping",
        "faithfulness",
        higher_is_better=False,
        range=(0, 1),
        source="Bach et al. 2015",
        summary="Mean probability while pixels are removed, the highest first.",
        faulty="it removes the channels of a pixel one by one, in three times the steps; use 'pixel_flipping'",
    ),
    QuantusEntry(
        "RegionPerturbation",
        "faithfulness",
        higher_is_better=True,
        range=(-1, 1),
        source="Samek et al. 2017, arXiv 1509.06321",
        summary="Mean fall of the probability while square regions are removed, the highest first.",
        faulty=f"{_TIES}; use 'region_perturbation'",
        excluded_parameters=frozenset({"order"}),
    ),
    QuantusEntry(
        "Monotonicity",
        "faithfulness",
        higher_is_better=True,
        range=(0, 1),
        source="Arya et al. 2019, arXiv 1909.03012",
        summary="Indicator that the probability never falls while pixels are put back, the lowest first.",
        faulty="it puts back the baseline and never the image, so every map scores 1; use 'monotonicity_arya'",
    ),
    QuantusEntry(
        "MonotonicityCorrelation",
        "faithfulness",
        higher_is_better=True,
        range=(-1, 1),
        source="Nguyen & Martínez 2020, arXiv 2007.07584",
        summary="Rank correlation of each feature's value with the variance of the output when it is drawn anew.",
        faulty=f"{_CHANNELS} score below 1; use 'monotonicity_nguyen'",
    ),
    QuantusEntry(
        "Selectivity",
        "faithfulness",
        higher_is_better=False,
        range=(0, 1),
        source="Montavon et al. 2018",
        summary="Mean probability while square regions are removed, the highest first.",
        faulty=f"{_TIES}; use 'pixel_flipping'",
    ),
    QuantusEntry(
        "SensitivityN",
        "faithfulness",
        higher_is_better=True,
        range=(-1, 1),
        source="Ancona et al. 2018, arXiv 1711.06104",
        summary="Correlation of attributions with the fall of the output while features are removed.",
        faulty="it compares the fall without all features so far with the value of the last one, over a batch, so that "
        "one image raises; use 'sensitivity_n'",
    ),
    QuantusEntry(
        "IROF",
        "faithfulness",
        higher_is_better=True,
        range=(None, None),
        source="Rieger & Hansen 2020, arXiv 2003.08747",
        summary="Area over the curve of the probability while superpixels are removed, the highest first.",
        faulty="it raises for colour images with one map per image; use 'irof'",
    ),
    QuantusEntry(
        "ROAD",
        "faithfulness",
        higher_is_better=False,
        range=(0, 1),
        source="Rong et al. 2022, arXiv 2202.00449",
        summary="Share of images whose prediction stays while the highest pixels are imputed, mean over shares.",
        faulty="it raises for colour images with one map per image; use 'road_accuracy'",
    ),
    QuantusEntry(
        "Infidelity",
        "faithfulness",
        higher_is_better=False,
        range=(0, None),
        source="Yeh et al. 2019, arXiv 1901.09392",
        summary="Mean squared difference between the expected and the actual change under perturbations.",
        faulty="every perturbation adds to the last instead of starting from the image; use 'infidelity'",
    ),
    QuantusEntry(
        "Sufficiency",
        "faithfulness",
        higher_is_better=True,
        range=(0, 1),
        source="Dasgupta et al. 2022, arXiv 2202.00734",
        summary="Share of the images with similar maps that have the same prediction.",
        faulty=f"{_BATCH}; use 'consistency', of the same paper",
    ),
    QuantusEntry(
        "Continuity",
        "robustness",
        higher_is_better=False,
        range=(0, None),
        source="Montavon et al. 2018",
        summary="Largest change of the map while the image is shifted sideways, over the change of the image.",
        excluded_parameters=frozenset(
            {"perturb_func", "perturb_baseline", "perturb_func_kwargs", "return_nan_when_prediction_changes"}
        ),
    ),
    QuantusEntry(
        "LocalLipschitzEstimate",
        "robustness",
        higher_is_better=False,
        range=(0, None),
        source="Alvarez-Melis & Jaakkola 2018, arXiv 1806.08049",
        summary="Largest change of the map under Gaussian noise, over the change of the image.",
    ),
    QuantusEntry(
        "MaxSensitivity",
        "robustness",
        higher_is_better=False,
        range=(0, None),
        source="Yeh et al. 2019, arXiv 1901.09392",
        summary="Largest relative change of the map under uniform noise.",
    ),
    QuantusEntry(
        "AvgSensitivity",
        "robustness",
        higher_is_better=False,
        range=(0, None),
        source="Yeh et al. 2019, arXiv 1901.09392",
        summary="Mean relative change of the map under uniform noise.",
    ),
    QuantusEntry(
        "Consistency",
        "robustness",
        higher_is_better=True,
        range=(0, 1),
        source="Dasgupta et al. 2022, arXiv 2202.00734",
        summary="Share of the images with equal (discretised) maps that have the same prediction.",
        faulty=f"{_BATCH}; use 'consistency'",
    ),
    QuantusEntry(
        "RelativeInputStability",
        "robustness",
        higher_is_better=False,
        range=(0, None),
        source="Agarwal et al. 2022, arXiv 2203.06877",
        summary="Largest relative change of the map over that of the image; none where a draw changes the prediction.",
    ),
    QuantusEntry(
        "RelativeOutputStability",
        "robustness",
        higher_is_better=False,
        range=(0, None),
        source="Agarwal et al. 2022, arXiv 2203.06877",
        summary="Largest relative change of the map over that of the logits; none where a draw changes the prediction.",
    ),
    QuantusEntry(
        "RelativeRepresentationStability",
        "robustness",
        higher_is_better=False,
        range=(0, None),
        source="Agarwal et al. 2022, arXiv 2203.06877",
        summary="Largest relative change of the map over that of the layers; none where a draw changes the prediction.",
        needs="activations",
    ),
    QuantusEntry(
        "PointingGame",
        "localisation",
        higher_is_better=True,
        range=(0, 1),
        source="Zhang et al. 2018, arXiv 1608.00507",
        summary="Whether the map's maximum lies in the region.",
        faulty="one of several equal maxima in the region is a hit, and so is an empty region; use 'pointing_game'",
        needs=None,
        truth=True,
    ),
    QuantusEntry(
        "TopKIntersection",
        "localisation",
        higher_is_better=True,
        range=(0, None),
        source="Theiner et al. 2021, arXiv 2104.14995",
        summary="Share of the k highest pixels that lies in the region.",
        faulty="equal pixels count in array order; use 'top_k_intersection'",
        needs=None,
        truth=True,
    ),
    QuantusEntry(
        "RelevanceMassAccuracy",
        "localisation",
        higher_is_better=True,
        range=(None, None),
        source="Arras et al. 2022, arXiv 2003.07258",
        summary="Share of the map's sum that lies in the region.",
        faulty="it sums signed values, so maps with both signs leave [0,1]; use 'relevance_mass'",
        needs=None,
        truth=True,
    ),
    QuantusEntry(
        "RelevanceRankAccuracy",
        "localisation",
        higher_is_better=True,
        range=(0, 1),
        source="Arras et al. 2022, arXiv 2003.07258",
        summary="Share of the K highest pixels that lies in the region, K the region's size.",
        faulty="equal pixels count in array order; use 'relevance_rank'",
        needs=None,
        truth=True,
    ),
    QuantusEntry(
        "AttributionLocalisation",
        "localisation",
        higher_is_better=True,
        range=(0, 1),
        source="Kohlbrenner et al. 2020, arXiv 1910.09840",
        summary="Share of the map's absolute sum that lies in the region.",
        needs=None,
        truth=True,
        excluded_parameters=frozenset({"weighted", "max_size"}),
    ),
    QuantusEntry(
        "AUC",
        "localisation",
        higher_is_better=True,
        range=(0, 1),
        source="Fawcett 2006",
        summary="Area under the ROC curve of the map against the region.",
        needs=None,
        truth=True,
        chance=0.5,
    ),
    QuantusEntry(
        "Focus",
        "localisation",
        higher_is_better=True,
        range=(0, 1),
        source="Arias-Duart et al. 2022, arXiv 2109.15035",
        summary="Share of the positive sum that lies on the tiles of the target's class, in mosaics of four images.",
        faulty="it scores mosaics of four images, which a run does not have, and raises without; use 'relevance_mass'",
        needs=None,
    ),
    QuantusEntry(
        "Sparseness",
        "complexity",
        higher_is_better=True,
        range=(0, 1),
        source="Chalasani et al. 2020, arXiv 1810.06583",
        summary="Gini index of the absolute pixel values.",
        needs=None,
    ),
    QuantusEntry(
        "Complexity",
        "complexity",
        higher_is_better=False,
        range=(0, None),
        source="Bhatt et al. 2020, arXiv 2005.00631",
        summary="Entropy, in nats, of the absolute pixel values taken as shares.",
        needs=None,
    ),
    QuantusEntry(
        "EffectiveComplexity",
        "complexity",
        higher_is_better=False,
        range=(0, None),
        source="Nguyen & Martínez 2020, arXiv 2007.07584",
        summary="Number of pixels whose absolute value, as a part of the largest, is above eps.",
        needs=None,
    ),
    QuantusEntry(
        "MPRT",
        "randomisation",
        higher_is_better=False,
        range=(-1, 1),
        source="Adebayo et al. 2018, arXiv 1810.03292",
        summary="Rank correlation of the map with those of the model randomised layer by layer, mean over layers.",
        faulty=f"{_WEIGHTS}, and its average takes in the model as it was; use 'mprt_top_down'",
        needs="weights",
    ),
    QuantusEntry(
        "SmoothMPRT",
        "randomisation",
        higher_is_better=False,
        range=(-1, 1),
        source="Hedström et al. 2023, arXiv 2401.06465",
        summary="As MPRT, on means of maps over noisy images.",
        faulty="it never calls the explainer, but scores plain gradients instead; use 'smooth_mprt'",
        needs="weights",
    ),
    QuantusEntry(
        "EfficientMPRT",
        "randomisation",
        higher_is_better=True,
        range=(None, None),
        source="Hedström et al. 2023, arXiv 2401.06465",
        summary="Relative rise of the map's histogram entropy when the model is randomised.",
        faulty=f"{_WEIGHTS}; use 'efficient_mprt'",
        needs="weights",
    ),
    QuantusEntry(
        "RandomLogit",
        "randomisation",
        higher_is_better=False,
        range=(-1, 1),
        source="Sixt et al. 2020, arXiv 1912.09818",
        summary="Structural similarity of the map with that of another class.",
        faulty="it assumes 1000 classes, and flattens maps before it compares their structure; use 'random_logit'",
    ),
    QuantusEntry(
        "Completeness",
        "axioms",
        higher_is_better=True,
        range=(0, 1),
        source="Sundararajan et al. 2017, arXiv 1703.01365",
        summary="Indicator that the map adds up to the change of the output.",
        faulty="it divides the map by its maximum and asks for equality, so complete maps fail; use 'completeness'",
    ),
    QuantusEntry(
        "NonSensitivity",
        "axioms",
        higher_is_better=False,
        range=(0, None),
        source="Nguyen & Martínez 2020, arXiv 2007.07584",
        summary="Number of features to which the map gives relevance and the model does not react, or the reverse.",
        faulty=f"{_CHANNELS} score above 0; use 'non_sensitivity'",
    ),
    QuantusEntry(
        "InputInvariance",
        "axioms",
        higher_is_better=True,
        range=(0, 1),
        source="Kindermans et al. 2019, arXiv 1711.00867",
        summary="Indicator that the map stays when the image is shifted and the first layer reverses the shift.",
        faulty="the first layer takes the shift back only if it is a convolution with bias and without padding; use "
        "'input_invariance'",
        needs="weights",
    ),
)
