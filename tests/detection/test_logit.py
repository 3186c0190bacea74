"""Logit and its inverse."""

import math

import numpy as np
import pytest

from loxo.detection.logit import EPS, from_logit, logit


def test_numbers_and_arrays_have_the_same_logits():
    p = [0.001, 0.2, 0.5, 0.9]
    assert [logit(one) for one in p] == pytest.approx([math.log(one / (1 - one)) for one in p])
    np.testing.assert_allclose(logit(np.array(p)), [logit(one) for one in p])
    np.testing.assert_allclose(from_logit(logit(np.array(p))), p)
    assert from_logit(logit(0.2)) == pytest.approx(0.2)


def test_probabilities_near_0_and_1_are_clipped():
    assert logit(0.0) == logit(EPS / 2) == pytest.approx(-logit(1.0)) == pytest.approx(math.log(EPS / (1 - EPS)))
    np.testing.assert_allclose(logit(np.array([0.0, 1.0]), eps=1e-3), np.log([1e-3 / 0.999, 999]))
    assert logit(0.0, eps=1e-9) == pytest.approx(-20.72, abs=0.01)


def test_half_precision_is_computed_in_double():
    assert logit(np.array([0.5, 0.99], np.float16)).dtype == np.float64
