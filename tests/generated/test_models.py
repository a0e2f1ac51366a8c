"""Hostile networks: prepared, they answer as their well-behaved twin does, or they are refused in a line."""

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mavis.core import devices
from mavis.core.compute import BatchPadding, Meter
from mavis.core.errors import MavisError
from mavis.core.process_state import standard_settings
from mavis.core.types import Model
from mavis.models.loading.wrappers import DeferredModel, as_model
from mavis.models.preparation.prepare import prepare_model

from .hidden_values import PLACES, Keeper
from .hostile_networks import ACTIVATIONS, CHANGING, ENDS, HABITS, REFUSED, Core, Ending

SIZE = 24
IMAGES = torch.rand((5, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(7))
ONE_OUTPUT = {"one_logit", "one_probability"}


@dataclass
class Case:
    """A hostile network and its twin.

    Attributes:
        core: the well-behaved network, which the hostile one does not share.
        build: makes the hostile network.
        end: name of what it returns.
        changing: its habit among `CHANGING`, if any.
    """

    core: Core
    build: Callable[[], nn.Module]
    end: str
    changing: str = ""


@st.composite
def cases(draw: st.DrawFn, changing: bool = False) -> Case:
    """A core, up to three habits around it in any order, and an end."""
    end = draw(st.sampled_from(sorted(ENDS)))
    n_classes = 2 if end in ONE_OUTPUT else draw(st.integers(2, 4))
    activation = ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
    core = Core(draw(st.integers(0, 50)), n_classes, activation(), draw(st.booleans()))
    habits = draw(st.lists(st.sampled_from(HABITS), max_size=3, unique=True))
    changed = draw(st.sampled_from(CHANGING)) if changing else None
    position, has_gradients = draw(st.integers(0, 2)), draw(st.booleans())
    if changed is not None:
        habits = [*habits[:1], changed]
    end_position = min(position, len(habits)) if not changing else 0

    def build() -> nn.Module:
        net: nn.Module = copy.deepcopy(core)
        if has_gradients:
            net(IMAGES).sum().backward()
        for habit in habits[:end_position]:
            net = habit(net)
        net = Ending(net, ENDS[end][0])
        for habit in habits[end_position:]:
            net = habit(net)
        return net

    build.__name__ = f"{end} at {end_position} of {[habit.__name__ for habit in habits]}"
    return Case(core, build, end, changed.__name__ if changed else "")


def prepared(net: nn.Module, n_classes: int) -> Model:
    """The model as a run would use it."""
    deferred = as_model(net, "net", SIZE)
    assert isinstance(deferred, DeferredModel)
    model, _ = prepare_model(deferred.build(tuple("abcd"[:n_classes])), torch.device("cpu"))
    return model


def probabilities(case: Case, logits: Tensor) -> Tensor:
    return logits.detach().as_subclass(Tensor).double().softmax(1)


def assert_one_line(error: MavisError) -> None:
    text = str(error)
    assert text.strip(), "an empty message"
    assert len(text.splitlines()) == 1, text


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A stranger's warnings are the stranger's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def assert_same_or_refused(case: Case) -> bool:
    """In one batch and alone; the object that was handed over stays as it was. True where it was answered."""
    net = case.build()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    with torch.no_grad():
        expected = case.core.eval()(IMAGES).double()
    expected = expected.softmax(1)
    is_answered = False
    try:
        with standard_settings():
            model = prepared(net, expected.shape[1])
            ask = BatchPadding(model.net, Meter(), devices.batch_multiple())  # as the engine does
            images = IMAGES.clone()
            together = ask(images)
            alone = torch.cat([ask(IMAGES[row, None].clone()) for row in range(len(IMAGES))])
            assert images.equal(IMAGES)
    except MavisError as error:
        assert_one_line(error)
    else:
        is_answered = True
        for answers in (together, alone):
            departure = (probabilities(case, answers) - expected).abs().max()
            assert departure <= ENDS[case.end][1], (float(departure), case.build.__name__)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert [module.training for module in net.modules()] == modes
    assert all(tensor.equal(before[name]) for name, tensor in net.state_dict().items())
    return is_answered


def assert_refused(case: Case) -> None:
    """In a line."""
    net = case.build()
    try:
        with standard_settings():
            model = prepared(net, case.core.head.out_features)
    except MavisError as error:
        assert_one_line(error)
    else:
        pytest.fail(f"{case.build.__name__} was accepted: {model.card}")


def single(habit: Callable[[nn.Module], nn.Module]) -> Case:
    """A habit alone around a core."""
    core = Core(0, 3, nn.ReLU(), has_norm=True)
    return Case(core, lambda: habit(copy.deepcopy(core)), "logits")


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.__name__)
def test_each_habit_changes_no_answer(habit: Callable[[nn.Module], nn.Module]) -> None:
    """Alone, in every run of the suite; those of `REFUSED` are refused."""
    assert assert_same_or_refused(single(habit)) == (habit not in REFUSED)


@pytest.mark.parametrize("habit", CHANGING, ids=lambda habit: habit.__name__)
def test_each_dependence_is_refused(habit: Callable[[nn.Module], nn.Module]) -> None:
    """Alone, in every run of the suite."""
    assert_refused(single(habit))


@given(case=cases())
def test_habits_change_no_answer_or_are_refused(case: Case) -> None:
    """Up to three at once, around any end."""
    assert_same_or_refused(case)


@given(case=cases(changing=True))
def test_an_answer_that_depends_on_more_than_the_image_is_refused(case: Case) -> None:
    """Also behind another habit."""
    assert_refused(case)


def kept(place: str, value: float) -> tuple[object, Callable[[object], object]]:
    """The second and third argument of `Keeper`."""
    keep, read = PLACES[place]
    return keep(value), read


def keeper(core: Core, places: list[str], value: float) -> nn.Module:
    """The core with a number kept in each of the places."""
    net: nn.Module = copy.deepcopy(core)
    for place in places:
        net = Keeper(net, *kept(place, value))
    return net


@given(
    places=st.lists(st.sampled_from(sorted(PLACES)), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 20),
    value=st.floats(0.5, 2, width=16),
)
def test_a_number_anywhere_belongs_to_the_identity_and_the_answers(places: list[str], seed: int, value: float) -> None:
    """The same network has the same revision; with another number in the last place it has another."""
    core = Core(seed, 3, nn.ReLU(), has_norm=False)
    try:
        with standard_settings():
            first, again = (prepared(keeper(core, places, value), 3) for _ in range(2))
            other = prepared(Keeper(keeper(core, places[:-1], value), *kept(places[-1], value + 0.125)), 3)
            answers = first.net(IMAGES.clone())
    except MavisError as error:
        assert_one_line(error)
        return
    assert first.revision == again.revision
    assert first.revision != other.revision
    with torch.no_grad():
        expected = keeper(core, places, value)(IMAGES)
    torch.testing.assert_close(answers, expected, rtol=1e-4, atol=1e-4)
