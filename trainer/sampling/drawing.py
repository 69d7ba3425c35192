"""How a token is drawn from logits: by a uniform number that its row and its place alone decide."""

import hashlib

import torch
from torch import Tensor

from trainer.sampling.engine import SamplingError


def row_key(seed: int, prompt: int, index: int) -> bytes:
    """What decides every draw of completion number `index` of a prompt."""
    return hashlib.sha256(f"{seed} {prompt} {index}".encode()).digest()


def uniform(key: bytes, place: int) -> float:
    """The number in [0, 1), in steps of 2^-53, for the token at `place` (0 is the first) of a row."""
    digest = hashlib.sha256(key + place.to_bytes(8, "big")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53


def probabilities(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """Probabilities (N, V) in float64 from logits (N, V), at a temperature above 0.

    With top_p below 1, only the likeliest tokens keep theirs: as many as together reach top_p, the one that crosses it
    among them (Holtzman et al. 2020, nucleus sampling). Equally likely tokens are taken by their id.
    """
    rows = logits.double()
    rows = torch.softmax((rows - rows.amax(-1, keepdim=True)) / temperature, -1)
    if top_p < 1:
        ordered, tokens = rows.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        dropped = torch.zeros_like(rows, dtype=torch.bool).scatter(-1, tokens, before >= top_p)
        rows = rows.masked_fill(dropped, 0.0)
    return rows


def tokens_draw(logits: Tensor, uniforms: list[float], *, temperature: float, top_p: float) -> list[int]:
    """One token for each row of logits (N, V): the likeliest at temperature 0, else by inverse transform.

    The cumulated probabilities stand in the order of the vocabulary, not of the likelihood: two tokens about equally
    likely then cannot swap places because of a last bit of their logits, and change a draw far from both.
    Raises SamplingError where a row has no finite logit or one that is not a number.
    """
    if not logits.amax(-1).isfinite().all():
        raise SamplingError("The model's output is no number (NaN or infinite): its weights are damaged or overflow.")
    if temperature == 0:
        return [int(token) for token in logits.argmax(-1).tolist()]
    summed = probabilities(logits, temperature, top_p).cumsum(-1)
    total = summed[:, -1:]
    wanted = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)[:, None] * total
    wanted = torch.minimum(wanted, torch.nextafter(total, torch.zeros_like(total)))
    return [int(token) for token in torch.searchsorted(summed, wanted, right=True)[:, 0].tolist()]
