"""The origin of a made-up run's scores."""

from mavis.analysis.score_origin import ScoreOrigin

ORIGIN = ScoreOrigin(
    mavis="1.0",
    protocol="quick",
    protocol_sha256="0" * 64,
    rules={"seed": 0, "grid": 16, "target": {"policy": "predicted"}},
    metrics={"nsrg": {"points": 11, "imputers": ["mean"]}, "gini": {}},
    explainers={"rise": {"masks": 32}, "saliency": {}},
    data={"name": "fairface:/a:val", "target": "gender", "revision": "d" * 32},
    models={"net": "w" * 32},
)
