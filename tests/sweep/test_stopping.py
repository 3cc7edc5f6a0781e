"""Rules that end cycles early: on planted results, exactly the cycles that the rule names end, at equal round."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import a_round

from lt_ray.sweep.stopping import Asha, MaxDrop, first_reason

accuracies = st.integers(50, 100).map(lambda hundredths: hundredths / 100)


def asha(arrivals, objective="val_accuracy", last=9, **settings):
    """Cycles that end, of planted (cycle, round, accuracy), in the order of arrival."""
    rule = Asha(**settings).rule(objective, last)
    return [(cycle, round) for cycle, round, value in arrivals if rule(a_round(cycle, round, val=value))]


@pytest.mark.parametrize(
    ("reduction", "grace", "last", "rungs"),
    [(3, 1, 9, (1, 3)), (3, 1, 10, (1, 3, 9)), (2, 2, 20, (2, 4, 8, 16)), (4, 5, 5, ()), (2, 1, 1, ())],
)
def test_rungs_grow_by_the_reduction_and_leave_the_last_round_out(reduction, grace, last, rungs):
    """The first rung is `grace`, each next one `reduction` times as far, none at or beyond the last round."""
    assert Asha(reduction=reduction, grace=grace).rungs(last) == rungs


def test_asha_ends_exactly_those_outside_the_best_third_so_far():
    """Of five cycles arriving at round 1, by hand: ranks 1/1, 2/2, 1/3, 2/4 and 5/5 with 1, 1, 1, 2 and 2 going on."""
    arrivals = [(cycle, 0, 0.9) for cycle in "abcde"]
    arrivals += [("a", 1, 0.80), ("b", 1, 0.70), ("c", 1, 0.90), ("d", 1, 0.85), ("e", 1, 0.60)]
    assert asha(arrivals) == [("b", 1), ("e", 1)]


def test_asha_compares_at_equal_round_only():
    """Accuracies of rounds that are no rung decide nothing, however bad."""
    arrivals = [("a", 0, 0.9), ("b", 0, 0.9), ("a", 2, 0.9), ("b", 2, 0.1)]
    assert asha(arrivals) == []


@given(st.lists(accuracies, min_size=1, max_size=30), st.integers(2, 5))
def test_asha_is_the_rank_among_those_that_arrived(values, reduction):
    """For any arrivals: a cycle ends if and only if at least ⌈n/reduction⌉ of the n so far are better than it."""
    arrivals = [(f"c{i}", 0, 0.5) for i in range(len(values))] + [(f"c{i}", 1, v) for i, v in enumerate(values)]
    ended = {int(cycle[1:]) for cycle, _ in asha(arrivals, reduction=reduction)}
    for i, mine in enumerate(values):
        so_far = values[: i + 1]
        better = sorted(so_far, reverse=True).index(mine)
        assert (i in ended) == (better >= -(-len(so_far) // reduction))


def test_asha_for_winning_sparsity_compares_the_change_since_the_own_dense_round():
    """A cycle with the lower accuracy but the smaller loss goes on, and the other way round by accuracy alone."""
    arrivals = [("a", 0, 0.95), ("b", 0, 0.80), ("b", 1, 0.80), ("a", 1, 0.90)]
    assert asha(arrivals, objective="winning_sparsity") == [("a", 1)]
    assert asha(arrivals) == []


def test_asha_decides_a_repeated_round_once():
    """A round told twice (a trial whose worker was lost) neither counts twice nor is decided again."""
    arrivals = [("a", 0, 0.9), ("b", 0, 0.9), ("a", 1, 0.9), ("b", 1, 0.8), ("b", 1, 0.8)]
    assert asha(arrivals) == [("b", 1)]


def max_drop(values, **settings):
    """Rounds after which the rule would end a cycle with these accuracies."""
    rule = MaxDrop(**settings).rule()
    return [round for round, value in enumerate(values) if rule(a_round("a", round, val=value))]


def test_max_drop_ends_a_cycle_after_so_many_rounds_in_a_row():
    """Dense 0.90, bound 0.85: two rounds below it in a row end the cycle, one alone not, the bound is not below."""
    assert max_drop([0.90, 0.84, 0.86, 0.84, 0.83, 0.99], max_drop=0.05, rounds=2)[:1] == [4]
    assert max_drop([0.90, 0.85, 0.85, 0.85], max_drop=0.05, rounds=1) == []
    assert max_drop([0.90, 0.84], max_drop=0.05, rounds=1) == [1]


@given(st.lists(accuracies, min_size=1, max_size=15), st.integers(1, 4))
def test_max_drop_is_a_run_below_the_own_dense_accuracy(values, rounds):
    """For any curve: the rule holds at a round if and only if it and the `rounds − 1` before it lie below the bound."""
    below = [False, *(round(100 * (values[0] - value)) > 5 for value in values[1:])]
    expected = [i for i in range(len(values)) if i >= rounds and all(below[i - rounds + 1 : i + 1])]
    assert max_drop(values, max_drop=0.05, rounds=rounds) == expected


def test_each_cycle_has_its_own_dense_accuracy():
    """Cycles that are told of in turns do not disturb each other."""
    rule = MaxDrop(max_drop=0.05, rounds=1).rule()
    told = itertools.product((0, 1), (("a", 0.9, 0.86), ("b", 0.5, 0.4)))
    ended = [cycle for at, (cycle, *values) in told if rule(a_round(cycle, at, val=values[at]))]
    assert ended == ["b"]


def test_every_rule_is_told_of_every_round():
    """A rule that comes second learns the dense accuracy though the first one already ended the cycle."""
    rules = [MaxDrop(max_drop=0.01, rounds=1).rule(), MaxDrop(max_drop=0.5, rounds=1).rule()]
    curve = [0.9, 0.8, 0.3]
    reasons = [first_reason(rules, a_round("a", round, val=value)) for round, value in enumerate(curve)]
    assert reasons[0] is None
    assert reasons[1] is not None
    assert "more than 0.01" in reasons[1]
    assert first_reason(rules[1:], a_round("a", 3, val=0.3)) is not None
