import itertools
import math
import random
import statistics

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.statistics.order_statistics import Pool, best_weights, expected_best


def by_enumeration(rewards, values, n):
    """The mean over all subsets; where several samples of a subset are best, the mean of their values."""
    chosen = []
    for subset in itertools.combinations(range(len(rewards)), n):
        best = max(rewards[i] for i in subset)
        chosen.append(statistics.fmean(values[i] for i in subset if rewards[i] == best))
    return statistics.fmean(chosen)


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("levels", [1, 2, 3, 1000])
def test_weights_are_those_of_all_subsets(n, levels):
    rng = random.Random(levels)
    rewards = [rng.randrange(levels) / 3 for _ in range(7)]
    values = [rng.random() for _ in rewards]
    assert expected_best(rewards, values, n) == pytest.approx(by_enumeration(rewards, values, n))
    assert expected_best(rewards, rewards, n) == pytest.approx(by_enumeration(rewards, rewards, n))
    assert math.fsum(best_weights(rewards, n)) == pytest.approx(1)


def test_one_sample_is_the_mean_and_all_are_the_best():
    assert best_weights([3.0, 1.0, 2.0, 2.0], 1).tolist() == [0.25] * 4
    assert best_weights([3.0, 1.0, 2.0, 2.0], 4).tolist() == [1.0, 0.0, 0.0, 0.0]


def test_equal_rewards_share():
    assert best_weights([1.0, 1.0, 0.0], 3).tolist() == [0.5, 0.5, 0.0]


def test_between_whole_numbers_it_is_linear_and_outside_it_is_the_nearest():
    rewards = [1.0, 2.0, 4.0]
    at = [expected_best(rewards, rewards, n) for n in (1, 2, 3)]
    assert expected_best(rewards, rewards, 1.25) == pytest.approx(0.75 * at[0] + 0.25 * at[1])
    assert expected_best(rewards, rewards, 0.1) == at[0]
    assert expected_best(rewards, rewards, 9) == at[2]


@pytest.mark.parametrize("n", [0, 4])
def test_a_subset_fits_in_the_pool(n):
    with pytest.raises(ConfigurationError, match=f"n={n} must be between 1 and the size of the pool, 3"):
        best_weights([1.0, 2.0, 3.0], n)


def test_a_pool_of_two_turns_is_the_mean_of_its_turns():
    pool = Pool(((0.0, 1.0), (2.0, 4.0)), ((5.0, 3.0), (0.0, 1.0)), ((10, 20), (30, 50)))
    assert (pool.size, pool.tokens_a_sample, pool.samples_for(110)) == (2, 55, 2)
    assert (pool.reward(1), pool.reward(2)) == (1.75, 2.5)
    assert (pool.gold(1), pool.gold(2)) == (2.25, 2.0)
