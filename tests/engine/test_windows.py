"""How much each step of a window counts where windows overlap."""

import math

import numpy as np
import pytest

from loxo.engine.windows import window_weight


@pytest.mark.parametrize("steps", [1, 2, 16, 31, 32, 256])
def test_the_weight_of_a_step_is_that_of_its_middle(steps):
    """Symmetric in time, so that a call at a window's start counts as much as one at its end; positive at both ends."""
    weight = np.array(window_weight(steps))
    assert weight.shape == (steps,) and (weight > 0).all()
    np.testing.assert_allclose(weight, weight[::-1], rtol=1e-9)
    assert weight[0] == pytest.approx(math.sin(math.pi / (2 * steps)) ** 2)


@pytest.mark.parametrize("steps", [2, 16, 32, 256])
def test_windows_that_overlap_by_half_add_up_to_the_same_everywhere(steps):
    weight = np.array(window_weight(steps))
    np.testing.assert_allclose(weight[: steps // 2] + weight[steps // 2 :], 1.0, rtol=1e-9)
