"""Work shared out between threads: in order, without graph, each thread on one core, and nothing else changed."""

from pathlib import Path
from threading import get_ident

import numba
import pytest
import torch

from musicai import threads
from musicai.threads import Workers, jit, share


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_each_thread_keeps_to_one_core_and_the_caller_keeps_its_own():
    def piece(_):
        torch.rand(64, 64) @ torch.rand(64, 64)
        return torch.get_num_threads()

    with Workers(torch.device("cpu")) as workers:
        assert set(workers.map(piece, range(12))) == {1}
        assert torch.get_num_threads() == 3
        assert set(workers.map(piece, range(12))) == {1}
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("pieces", [0, 1, 2, 50])
def test_results_come_in_order_and_without_a_graph(pieces):
    x = torch.ones(2, requires_grad=True)
    with Workers(torch.device("cpu")) as workers:
        found = list(workers.map(lambda i: (i * x)[0], iter(range(pieces))))
    assert [float(value) for value in found] == list(range(pieces))
    assert not any(value.requires_grad for value in found)


@pytest.mark.usefixtures("three_threads")
def test_few_pieces_are_held_at_a_time_and_an_error_reaches_the_caller():
    taken = []

    def pieces():
        for i in range(1000):
            taken.append(i)
            yield i

    with Workers(torch.device("cpu")) as workers:
        results = workers.map(lambda i: 1 / (i - 5), pieces())
        assert next(results) == -1 / 5
        assert len(taken) < 10
        with pytest.raises(ZeroDivisionError):
            list(results)


@pytest.mark.parametrize(("omp", "most"), [("2", 2), ("9", 3), ("", 3), ("4,2", 3), ("0", 1)])
def test_shared_work_comes_in_order_from_as_many_threads_as_are_allowed(monkeypatch, omp, most):
    monkeypatch.setenv("OMP_NUM_THREADS", omp)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 3)
    found = share(lambda i: (i, get_ident()), range(100))
    assert [i for i, _ in found] == list(range(100))
    assert len({thread for _, thread in found}) <= most
    assert share(len, []) == []
    with pytest.raises(ZeroDivisionError):
        share(lambda i: 1 / (i - 5), range(10))


def test_code_is_compiled_where_nothing_can_be_written(monkeypatch):
    """As in a read-only installation without a home folder: numba's own cache would be an error there."""
    monkeypatch.setattr("numba.config.CACHE_LOCATOR_CLASSES", "")
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(_third)
    assert jit(nogil=True)(_third)(3.0) == 1.0


def test_everything_that_is_kept_compiled_is_compiled_by_jit():
    """So that no function of the package fails there."""
    package = Path(threads.__file__).parent
    found = [path.name for path in package.rglob("*.py") if "cache=True" in path.read_text()]
    assert found == ["threads.py"]


def _third(x):
    return x / 3
