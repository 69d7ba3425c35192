"""The floor: forward and backward of the bare backbone over each token once, one row a prompt under a tree mask.

No head, loss or optimizer: what any exact training on these rankings has to compute at least, as one would write it.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoModel

from benchmarks.peers.measuring import Meter
from benchmarks.peers.rankings import Ranking


class Row(NamedTuple):
    """A prompt and its completions y1 … yK: ids and positions (1, N) and an additive mask (1, 1, N, N)."""

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor


def row_of(ranking: Ranking, dtype: torch.dtype) -> Row:
    """Positions start again after the prompt; a completion sees the prompt and itself."""
    prompt, completions = ranking["prompt"], ranking["completions"]
    parts = [prompt, *completions]
    start = len(prompt)
    positions = torch.cat([torch.arange(start), *(start + torch.arange(len(part)) for part in completions)])
    owner = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(part) for part in parts]))
    order = torch.arange(len(owner))
    sees = ((owner == 0) | (owner == owner[:, None])) & (order <= order[:, None])
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, float("-inf"))
    return Row(torch.tensor([[token for part in parts for token in part]]), positions[None], mask[None, None])


def measure(given: dict[str, Any]) -> dict[str, float]:
    """One pass over the rankings of a folder."""
    dtype = getattr(torch, given["dtype"])
    model = AutoModel.from_pretrained(given["model"], dtype=torch.float32, attn_implementation="sdpa")
    rankings = json.loads((Path(given["folder"]) / "rankings.json").read_text())
    rows = [row_of(ranking, dtype) for ranking in rankings]
    gradients = [torch.randn(1, row.input_ids.shape[1], model.config.hidden_size) for row in rows]

    def there_and_back(row: Row, gradient: Tensor) -> None:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            hidden = model(**row._asdict(), use_cache=False).last_hidden_state
        hidden.backward(gradient.to(hidden.dtype))

    there_and_back(rows[0], gradients[0])  # what is only done once is not the floor's
    model.zero_grad(set_to_none=True)
    meter = Meter()
    meter.begin()
    for number, (row, gradient) in enumerate(zip(rows, gradients, strict=True)):
        if number % given["prompts_per_step"] == 0:
            model.zero_grad(set_to_none=True)
        there_and_back(row, gradient)
        meter.mark()
    return meter.figures()


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(measure(json.loads(sys.argv[1]))))
