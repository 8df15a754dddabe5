"""What processes of one run agree on, without starting any."""

import signal

import numpy as np
import pytest

from snnrun.cli import _dispatch
from snnrun.distributed import World, join
from snnrun.errors import Interrupted, UserError
from snnrun.provenance import available_cores
from snnrun.stop import Stop


class OneOf(World):
    """A process among others, all of which answer as it would itself; ``heard`` is a signal that another one heard."""

    def __init__(self, rank: int, size: int, heard: int = 0) -> None:
        self.rank, self.size, self.heard = rank, size, heard

    def most(self, value: int) -> int:
        return max(value, self.heard)


@pytest.mark.parametrize(("samples", "size"), [(16, 2), (7, 3), (2, 3), (1, 8), (33, 8)])
def test_every_sample_is_somebodys(samples: int, size: int) -> None:
    batch = np.random.default_rng(0).permutation(samples)
    worlds = [OneOf(rank, size) for rank in range(size)]
    shares = [world.share(samples) for world in worlds]
    own = [world.part(batch)[: world.share(samples)] for world in worlds]
    assert sum(shares) == samples
    assert max(shares) - min(shares) <= 1
    np.testing.assert_array_equal(np.concatenate(own), batch)
    assert all(len(world.part(batch)) for world in worlds)


def test_a_process_alone_takes_everything() -> None:
    world = World()
    assert world.part(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert (world.share(5), world.totals({"loss": 2.5}), world.gather("x")) == (5, {"loss": 2.5}, ["x"])


def test_one_process_of_torchrun_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert type(join()) is World


def test_one_that_hears_a_signal_stops_all() -> None:
    stop = Stop(OneOf(1, 2, heard=signal.SIGTERM))
    assert not stop.requested
    assert stop.agree()
    with pytest.raises(Interrupted, match="signal 15"):
        stop.obey()
    assert not Stop(OneOf(1, 2)).agree()


def test_torchrun_and_slurm_may_both_pass_on_a_signal() -> None:
    stop = Stop(OneOf(0, 2))
    with stop.listening(), stop.deferred():
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert stop.requested


def test_of_several_processes_sigusr2_is_for_us() -> None:
    stop = Stop(OneOf(0, 2))
    with stop.listening(), stop.deferred():
        signal.raise_signal(signal.SIGUSR2)
        with pytest.raises(Interrupted, match=f"signal {int(signal.SIGUSR2)}"):
            stop.obey()


@pytest.mark.parametrize(("omp", "cores"), [(None, 3), ("1", 3), ("2", 2), ("8", 8)])
def test_processes_share_the_cores_of_their_machine(
    omp: str | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    assert available_cores(2) == cores
    assert available_cores(1) == (6 if omp is None else int(omp))


def test_a_sweep_is_not_for_torchrun() -> None:
    with pytest.raises(UserError, match="own torchrun"):
        _dispatch(["-m", "seed=0,1"], OneOf(0, 2))
