"""A request is plain values: it pickles, and leaves to the protocol what it does not name."""

import pickle

from mavis.engine.planning.request import Request


def test_it_pickles() -> None:
    """A worker gets it as it is."""
    request = Request(("race_resnet", "./folder"), explainers=("saliency",), limit=7, shard=(1, 2))
    assert pickle.loads(pickle.dumps(request)) == request


def test_what_is_not_named_is_left_open() -> None:
    """All methods, the protocol's metrics, groups and seed, one shard."""
    request = Request(("race_resnet",))
    assert request.explainers == ("all",)
    assert (request.metrics, request.groups, request.seed, request.limit, request.batch_size) == (None,) * 5
    assert request.shard == (1, 1)
