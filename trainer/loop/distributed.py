"""Several processes that train one model: how they find each other, agree, add up and divide.

They are started by `torchrun` or `accelerate launch`, one for each GPU (or several on CPUs), and each holds the whole
model, or a part of it (see `sharding`). The first one leads: it alone writes. All of them pass the same calls of
`exchange` in the same order; one that fails puts its failure in place of its next value, so that all others end at the
same point, and none waits for ever.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor

from trainer.data.batches import unique_tokens
from trainer.data.groups import Group
from trainer.runs import CommandError, InputError

PATIENCE = timedelta(hours=6)
"""How long a process waits for the others. A process that ends is noticed at once, whatever this is."""
LAST_WORDS = 60.0
BUCKET = 2**24
"""Numbers of gradients that are added up at once: 64 MB."""

_GONE = "Another process of this training ended; what it said is in its own output."
_failed = "failed"
_groups: list[Any] = []


class PeerError(CommandError):
    """Another process of this training ended, for a reason that it gave, with its exit code."""

    def __init__(self, message: str, exit_code: int = CommandError.exit_code) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _groups else 1


def rank() -> int:
    """The number of this process among them; 0 leads."""
    return distributed.get_rank() if _groups else 0


@contextmanager
def joined() -> Iterator[None]:
    """Train together with the other processes that were started, and end together, well or not.

    Raises InputError without accelerate, and PeerError where another process ends.
    """
    try:
        from accelerate import PartialState  # type: ignore[import-untyped]
    except ImportError as error:
        raise InputError("Several processes need accelerate, which cannot be imported here: make install") from error
    PartialState(cpu=not torch.cuda.is_available())
    # Words go between CPUs, so that nothing waits for a GPU.
    _groups.append(distributed.new_group(backend="gloo", timeout=PATIENCE))
    try:
        yield
        exchange(None)
    except PeerError:
        raise
    except BaseException as error:
        # In a thread, because others may wait for this process elsewhere; then its end is what they notice.
        alone = threading.Event()
        telling = threading.Thread(target=_tell, args=(error, alone), daemon=True)
        telling.start()
        telling.join(LAST_WORDS)
        if alone.is_set() and isinstance(error, RuntimeError):
            # How the end of another is noticed has no type of its own; this may as well be what went wrong here.
            raise PeerError(f"{_GONE} Here: {_words(error)}") from error
        raise
    else:
        distributed.destroy_process_group()
    finally:
        _groups.clear()


def exchange(value: Any) -> list[Any]:
    """What every process gives here, in their order; JSON values. Raises PeerError where one failed instead."""
    if not _groups:
        return [value]
    try:
        told = _gather({"value": value})
    except RuntimeError as error:
        raise PeerError(_GONE) from error
    for number, one in enumerate(told):
        if _failed in one:
            message, code = one[_failed]
            raise PeerError(f"Process {number} of {len(told)} ended: {message}", code)
    return [one["value"] for one in told]


def summed(value: float) -> float:
    """The sum over all processes."""
    return float(sum(exchange(value)))


def division(groups: Sequence[Group], ways: int) -> list[list[Group]]:
    """Groups in so many parts with about equally many tokens: the longest first, always to the emptiest part."""
    if ways == 1:
        return [list(groups)]
    parts: list[list[Group]] = [[] for _ in range(ways)]
    loads = [0] * ways
    for group in sorted(groups, key=lambda group: (-unique_tokens(group), group.prompt, group.ids)):
        least = loads.index(min(loads))
        parts[least].append(group)
        loads[least] += unique_tokens(group)
    return parts


def own(groups: Sequence[Group]) -> list[Group]:
    """The part of the groups that this process computes."""
    return division(groups, count())[rank()]


def gathered(values: Sequence[tuple[Group, Any]], groups: Sequence[Group]) -> list[tuple[Group, Any]]:
    """JSON values of all groups, in their order, from those that each process has of its `own`.

    Raises ValueError when a group has none, or several.
    """
    place = {id(group): number for number, group in enumerate(groups)}
    pairs = [pair for part in exchange([[place[id(group)], value] for group, value in values]) for pair in part]
    if sorted(number for number, _ in pairs) != list(range(len(groups))):
        raise ValueError(f"{len(pairs)} values were gathered for {len(groups)} groups.")
    return [(groups[number], value) for number, value in sorted(pairs, key=lambda pair: int(pair[0]))]


def gradients_sum(model: nn.Module) -> None:
    """Give every process the sum of all processes' gradients, added up in float32; those of parameters that are
    sharded are added up on the way back already.
    """
    if count() == 1:
        return
    learning = [parameter for parameter in _replicas(model) if parameter.requires_grad]
    have = [any(flags) for flags in zip(*exchange([one.grad is not None for one in learning]), strict=True)]
    used = [parameter for parameter, has in zip(learning, have, strict=True) if has]
    for bucket in list(_buckets(used)):
        joint = torch.cat([_gradient(parameter).flatten().float() for parameter in bucket])
        # Whoever could not make room for this has said so before anybody waits for its gradients.
        exchange(None)
        distributed.all_reduce(joint)
        for parameter, part in zip(bucket, joint.split([one.numel() for one in bucket]), strict=True):  # type: ignore[no-untyped-call]
            parameter.grad = part.view_as(parameter).to(parameter.dtype).clone()


def replicas_check(model: nn.Module) -> None:
    """Raise CommandError when the processes do not hold the same weights, to the bit."""
    sums = exchange(sum(_bits(parameter) for parameter in _replicas(model)))
    if len(set(sums)) > 1:
        raise CommandError(
            "The processes hold different weights. Start them with the same model, and on machines of the same kind."
        )


def _replicas(model: nn.Module) -> list[Tensor]:
    """The parameters that every process holds whole."""
    return [parameter for parameter in model.parameters() if not isinstance(parameter, DTensor)]


def _bits(tensor: Tensor) -> int:
    """A sum of a tensor's bits."""
    flat = tensor.detach().contiguous().view(-1)
    return int(flat.view({4: torch.int32, 2: torch.int16, 8: torch.int64}[flat.element_size()]).sum(dtype=torch.int64))


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _buckets(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for parameter in parameters:
        if bucket and sum(one.numel() for one in bucket) + parameter.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _tell(error: BaseException, alone: threading.Event) -> None:
    """Give the others a failure in place of a value; or set `alone` where they are gone."""
    code = getattr(error, "exit_code", CommandError.exit_code)
    try:
        _gather({_failed: [_words(error), code]})
    except RuntimeError:
        alone.set()


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, CommandError) else f"{type(error).__name__}: {error}"


def _gather(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of all processes, as JSON and not pickled."""
    content = torch.tensor(list(json.dumps(message).encode()), dtype=torch.uint8)
    lengths = [torch.zeros(1, dtype=torch.long) for _ in range(count())]
    distributed.all_gather(lengths, torch.tensor([len(content)]), group=_groups[0])
    longest = int(max(lengths))
    parts = [torch.zeros(longest, dtype=torch.uint8) for _ in lengths]
    distributed.all_gather(parts, nn.functional.pad(content, (0, longest - len(content))), group=_groups[0])
    return [json.loads(bytes(part[: int(length)].tolist())) for part, length in zip(parts, lengths, strict=True)]
