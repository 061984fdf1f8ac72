"""The survival function against SciPy's where it is there, and against tabled values always."""

from __future__ import annotations

from math import exp

import pytest

from abside.chi_square import fit, survival


@pytest.mark.parametrize(
    ("statistic", "df", "p"),
    # NIST/SEMATECH e-Handbook 1.3.6.7.4, upper critical values.
    [(3.841, 1, 0.05), (6.635, 1, 0.01), (5.991, 2, 0.05), (16.919, 9, 0.05), (30.144, 19, 0.05), (43.820, 19, 0.001)],
)
def test_the_tabled_values_come_out(statistic: float, df: int, p: float) -> None:
    assert survival(statistic, df) == pytest.approx(p, rel=2e-3)


@pytest.mark.parametrize("statistic", [0.0, 0.1, 1.9, 2.0, 3.0, 50.0, 1400.0])
def test_two_degrees_of_freedom_are_an_exponential(statistic: float) -> None:
    assert survival(statistic, 2) == pytest.approx(exp(-statistic / 2), rel=1e-12)


def test_it_is_scipys_to_eleven_digits() -> None:
    chdtrc = pytest.importorskip("scipy.special").chdtrc
    for df in (1, 2, 3, 4, 5, 7, 10, 19, 100, 1000):
        for step in range(200):
            statistic = 0.001 * 1.075**step
            assert survival(statistic, df) == pytest.approx(float(chdtrc(df, statistic)), rel=1e-11, abs=1e-290)


def test_far_out_it_is_nothing_and_at_nothing_it_is_one() -> None:
    assert survival(1e9, 3) == 0.0
    assert survival(0.0, 3) == 1.0


def test_counts_are_held_to_weights_of_any_scale() -> None:
    found = fit([80, 20], [5000, 5000])
    assert found is not None
    assert (found.statistic, found.df) == (36.0, 1)
    assert fit([80, 20, 0], [1, 1, 0]) == found  # a variant of weight 0 % can have nobody


@pytest.mark.parametrize(("counts", "weights"), [([0, 0], [1, 1]), ([5], [10_000]), ([5, 0], [10_000, 0])])
def test_where_there_is_nothing_to_compare_there_is_no_fit(counts: list[int], weights: list[int]) -> None:
    assert fit(counts, weights) is None
