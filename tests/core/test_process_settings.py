"""The table of settings: each is read and written back, and MAVIS's own values are such values."""

import pytest
import torch

from mavis.core.process_settings import SETTINGS, STANDARD
from mavis.core.process_state import preserve_process


@pytest.mark.parametrize("name", SETTINGS)
def test_what_was_read_can_be_written(name: str) -> None:
    """And changes nothing."""
    before = SETTINGS[name].read()
    SETTINGS[name].write(before)
    assert str(SETTINGS[name].read()) == str(before)


@pytest.mark.parametrize("name", sorted(STANDARD.keys() & SETTINGS.keys()))
def test_mavis_s_own_value_is_read_as_it_was_written(name: str) -> None:
    """So that it is set only where the caller has another one."""
    with preserve_process():
        SETTINGS[name].write(STANDARD[name])
        assert SETTINGS[name].read() == STANDARD[name]


def test_the_stack_of_modes_and_hooks_keeps_its_order() -> None:
    """Read twice, the outermost comes first, and all of them stay."""
    hooks = torch.autograd.graph.saved_tensors_hooks
    with hooks(abs, abs), hooks(float, float), torch.device("cpu"):
        for name, length in {"hooks of saved tensors": 2, "function modes": 1}.items():
            values = SETTINGS[name].read()
            assert len(values) == length
            assert SETTINGS[name].read() == values
        assert SETTINGS["hooks of saved tensors"].read() == [(abs, abs), (float, float)]
