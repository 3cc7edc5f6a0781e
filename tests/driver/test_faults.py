"""Whose fault an error is, and what becomes of a round that the machines did not finish."""

import errno

import pytest
import torch

from lt_ray.driver.faults import PATIENCE, Faults, is_fault, one_line
from lt_ray.errors import DamagedError, DegenerateError, DivergedError


def cuda_is_full() -> RuntimeError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def a_tensor_too_large() -> RuntimeError:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, "no") for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM)),
        ConnectionResetError("by peer"), TimeoutError(), MemoryError(), cuda_is_full(), a_tensor_too_large(),
        RuntimeError("CUDA error: an illegal memory access was encountered"), DamagedError("cut short"),
    ],
    ids=lambda error: str(getattr(error, "errno", None) or type(error).__name__),
)  # fmt: skip
def test_what_machines_do_is_no_fault_of_the_cycle(error):
    """A full or lost disk, memory of host and GPU, a device's state, a damaged file: faults, also as a cause."""
    assert is_fault(error)
    wrapped = ValueError("could not be saved")
    wrapped.__cause__ = error
    assert is_fault(wrapped)


def test_an_error_may_be_its_own_cause():
    """`raise error from error` makes a circle of causes, which is looked at once."""
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert not is_fault(one)
    one.__cause__ = one
    assert not is_fault(one)


@pytest.mark.parametrize(
    "kind",
    [IndexError, KeyError, TypeError, AttributeError, AssertionError, ValueError, RuntimeError, ZeroDivisionError,
     NotImplementedError, StopIteration, DivergedError, DegenerateError],
)  # fmt: skip
def test_any_other_error_is_the_cycles(kind):
    """Whatever else a cycle raises would come again, so it is its own."""
    assert not is_fault(kind("0"))


def test_a_round_that_falls_while_others_are_finished_is_left():
    """Pauses double; the sixth fall of one round leaves it where other rounds were finished since its first."""
    faults = Faults()
    seen = [faults.fell("poison")]
    faults.finished("another")
    seen += [faults.fell("poison") for _ in range(PATIENCE - 1)]
    assert [verdict for verdict, _, _ in seen] == ["again"] * (PATIENCE - 1) + ["left"]
    assert [pause for _, _, pause in seen][:4] == [0.5, 1, 2, 4]
    assert [falls for _, falls, _ in seen] == list(range(1, PATIENCE + 1))


def test_faults_without_a_finished_round_stop_the_sweep():
    """Where nothing was finished since a round's first fall, its sixth stops the sweep; other rounds' falls do not."""
    faults = Faults()
    for _ in range(PATIENCE - 1):
        assert {faults.fell("a")[0], faults.fell("b")[0]} == {"again"}
    assert faults.fell("a")[0] == "stop"


def test_a_finished_round_has_no_falls_left():
    """Falls are counted per round: a finished one begins anew, however often its cycle lost a worker before."""
    faults = Faults()
    for key in ("r0", "r1", "r2"):
        for _ in range(PATIENCE - 1):
            assert faults.fell(key)[0] == "again"
        faults.finished(key)
    assert faults.fell("r2")[1] == 1


def test_an_error_is_told_in_one_line():
    """Kind and message, line breaks and length taken out."""
    assert one_line(KeyError("a")) == "KeyError: 'a'"
    assert one_line(AssertionError()) == "AssertionError"
    told = one_line(ValueError("x\n" * 1000))
    assert "\n" not in told
    assert len(told) == 300
