"""EFSGD in torch's wrappers for several processes: what works, to the bit, and what is refused.

Without this file a wrapper that hands a part of each parameter to the optimiser could train
something else than the method, and a saved state could lose draws. Each test runs on two processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from optimisers import normals, same, states
from torch import Tensor, nn
from two_processes import two_processes

from efsgd.deep import EFSGD

if not torch.distributed.is_available():
    pytest.skip("this torch has no distributed", allow_module_level=True)

OPTIONS: dict[str, Any] = {"compressor": "randk:2", "momentum": 0.9, "dampening": 0.1, "seed": 3}


@pytest.fixture(scope="module")
def on_both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[Any]]]:
    with two_processes(tmp_path_factory.mktemp("two")) as call:
        yield call


def network() -> nn.Module:
    """The same one everywhere."""
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    xs = list(net.parameters())
    for x, value in zip(xs, normals([tuple(x.shape) for x in xs]), strict=True):
        x.data.copy_(value)
    return net


def data_parallel(net: nn.Module, **options: Any) -> nn.Module:
    return nn.parallel.DistributedDataParallel(net, **options)


def batch(t: int) -> Tensor:
    """Eight rows, of which each process takes four."""
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(t))


def mine(t: int) -> Tensor:
    rank = torch.distributed.get_rank()
    return batch(t)[4 * rank : 4 * rank + 4]


def train(net: nn.Module, optimizer: Any, steps: range, rows: Callable[[int], Tensor]) -> None:
    for t in steps:
        optimizer.zero_grad()
        net(rows(t)).square().mean().backward()
        optimizer.step()


def weights(net: nn.Module) -> list[Tensor]:
    return [x.detach().clone() for x in net.parameters()]


def skip_a_step(net: nn.Module, optimizer: Any) -> None:
    for x in net.parameters():
        x.grad = torch.full_like(x, torch.nan)
    optimizer.step()


# -- DistributedDataParallel -----------------------------------------------------------------------


def with_ddp(views: bool) -> Any:
    net = data_parallel(network(), gradient_as_bucket_view=views)
    optimizer = EFSGD(net.parameters(), 0.1, **OPTIONS)
    train(net, optimizer, range(4), mine)
    return weights(net), states(optimizer)


def test_data_parallel_is_one_process_with_the_whole_batch(on_both: Any) -> None:
    net = network()
    optimizer = EFSGD(net.parameters(), 0.1, **OPTIONS)
    train(net, optimizer, range(4), batch)
    for views in (False, True):
        first, second = on_both(with_ddp, views)
        assert same(first, second)  # replicas never drift
        # float32: the mean of two means of four rows is that of eight up to rounding
        torch.testing.assert_close(first, (weights(net), states(optimizer)), rtol=1e-5, atol=1e-6)


# -- get_ and set_optimizer_state_dict -------------------------------------------------------------


def through_checkpoint(options: dict[str, Any], path: str) -> Any:
    """Weights after five steps: without a break, and with a checkpoint after three."""
    from torch.distributed import checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    options_of_state = StateDictOptions(**options)
    net = data_parallel(network())
    optimizer = EFSGD(net.parameters(), 0.1, **OPTIONS)
    train(net, optimizer, range(3), mine)
    skip_a_step(net, optimizer)
    saved = get_optimizer_state_dict(net, optimizer, options=options_of_state)
    dcp.save({"optimizer": saved}, checkpoint_id=path)
    again = data_parallel(network())
    again.load_state_dict(net.state_dict())
    train(net, optimizer, range(3, 5), mine)
    other = EFSGD(again.parameters(), 0.5)  # all else comes from the checkpoint
    other.param_groups[0].update(compressor="randk:2", momentum=0.9, dampening=0.1)
    found = {"optimizer": get_optimizer_state_dict(again, other, options=options_of_state)}
    dcp.load(found, checkpoint_id=path)
    set_optimizer_state_dict(again, other, found["optimizer"], options=options_of_state)
    skipped, seed = int(other.skipped), other.seed
    train(again, other, range(3, 5), mine)
    return weights(net), weights(again), states(optimizer), states(other), skipped, seed


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"full_state_dict": True},
        {"full_state_dict": True, "broadcast_from_rank0": True},
        {"flatten_optimizer_state_dict": True},
        {"cpu_offload": True},
    ],
    ids=str,
)
def test_a_checkpoint_of_torch_keeps_draws_and_counts(
    on_both: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    for x, y, before, after, skipped, seed in on_both(
        through_checkpoint, options, str(tmp_path / "checkpoint")
    ):
        assert same(x, y)
        assert same(before, after)
        assert (skipped, seed) == (1, 3)


# -- ZeroRedundancyOptimizer -----------------------------------------------------------------------


def zero(net: nn.Module, *, views: bool, **options: Any) -> Any:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    options = OPTIONS | options
    return ZeroRedundancyOptimizer(
        net.parameters(), EFSGD, parameters_as_bucket_view=views, lr=0.1, **options
    )


def with_zero(views: bool) -> Any:
    """Four steps of a compressor without draws, sharded and not."""
    nets = [data_parallel(network()) for _ in range(2)]
    train(nets[0], zero(nets[0], views=views, compressor="topk:2"), range(4), mine)
    options = OPTIONS | {"compressor": "topk:2"}
    train(nets[1], EFSGD(nets[1].parameters(), 0.1, **options), range(4), mine)
    return [weights(net) for net in nets]


def zero_saved_and_loaded() -> Any:
    """Weights after five steps: without a break, and saved after three."""
    net, again = (data_parallel(network()) for _ in range(2))
    optimizer, other = zero(net, views=False), zero(again, views=False, seed=9)
    train(net, optimizer, range(3), mine)
    skip_a_step(net, optimizer)
    optimizer.consolidate_state_dict(to=0)
    saved = [optimizer.state_dict() if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(saved, src=0)
    train(again, other, range(7, 8), mine)  # all of this is forgotten
    again.load_state_dict(net.state_dict())
    other.load_state_dict(saved[0])
    counts = [(int(zero.optim.skipped), zero.optim.seed) for zero in (optimizer, other)]
    for pair in ((net, optimizer), (again, other)):
        train(*pair, range(3, 5), mine)
    return weights(net), weights(again), counts


@pytest.mark.slow
def test_zero_steps_as_one_optimiser_does_and_continues_to_the_bit(on_both: Any) -> None:
    for views in (False, True):  # of one flat tensor, which holds every parameter whole
        for sharded, whole in on_both(with_zero, views):
            assert same(sharded, whole)
    for before, after, counts in on_both(zero_saved_and_loaded):
        assert same(before, after)
        assert counts == [(1, 3)] * 2


# -- what cuts parameters into shards --------------------------------------------------------------


def refusals() -> list[str]:
    """What EFSGD says to the parameters of these wrappers, before it has changed anything."""
    from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy, fully_shard

    said = []

    def say(optimizer: Callable[[], Any]) -> None:
        try:
            optimizer()
        except TypeError as error:
            said.append(str(error))
        else:
            said.append("accepted")

    cpu = torch.device("cpu")
    for strategy in (ShardingStrategy.FULL_SHARD, ShardingStrategy.NO_SHARD):
        for views in (False, True):
            net = FullyShardedDataParallel(
                network(), sharding_strategy=strategy, use_orig_params=views, device_id=cpu
            )
            say(lambda net=net: EFSGD(net.parameters(), 0.1))
    plain = network()
    early = EFSGD(plain.parameters(), 0.1)  # its parameters become views later
    net = FullyShardedDataParallel(plain, use_orig_params=True, device_id=cpu)
    net(mine(0)).square().mean().backward()
    say(early.step)
    assert not any(states(early))
    net = network()
    fully_shard(net, mesh=torch.distributed.init_device_mesh("cpu", (2,)))
    say(lambda: EFSGD(net.parameters(), 0.1))
    return said


@pytest.mark.slow
def test_shards_are_refused(on_both: Any) -> None:
    flat, sharded = "FullyShardedDataParallel", "DTensor"
    for said in on_both(refusals):
        for words, kind in zip(said, [flat] * 5 + [sharded], strict=True):
            assert f"is sharded ({kind}), and C needs it whole: use DDP or Zero" in words
