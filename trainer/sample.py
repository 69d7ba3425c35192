"""`python -m trainer sample`: draw n completions for each prompt of a file.

Lines of outputs.jsonl come in the order in which completions end. A run that is started again draws those that have no
line yet; since a draw depends on seed, prompt and number alone, they are what they would have been.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from trainer.config import Options, SampleOptions
from trainer.data.conversations import ConversationError, end_id, prompt_fit, prompt_ids, tokenizer_load
from trainer.data.inputs import file_digest, prompts_read, unchanged_check
from trainer.loop.optimization import device_resolve, dtype_resolve
from trainer.models.networks import policy_load
from trainer.records import EventLine, PromptLine, Request, SampleLine
from trainer.runs import CommandError, InputError, RunFolder, say
from trainer.sampling.engine import Sampled, SampleRequest
from trainer.sampling.transformers_engine import TransformersEngine, stop_ids_of

# Seconds after which finished completions are written, however few.
WRITE_EVERY = 2.0


def run(request: Request, options: Options, folder: RunFolder) -> dict[str, Any]:
    """Write a SampleLine for each completion to `folder.outputs`; returns the report."""
    if not isinstance(options, SampleOptions):
        raise TypeError(f"sample needs SampleOptions, not {type(options).__name__}.")
    # 1. What to draw
    path = Path(request["prompts"])
    prompts = prompts_read(path)
    digest = file_digest(path)
    unchanged_check(folder, digest, path)
    # 2. What to draw it from
    device = device_resolve()
    dtype = dtype_resolve(options.dtype, device)
    tokenizer = tokenizer_load(request["model"])
    model = policy_load(request["model"], dtype, device)
    stop_ids = stop_ids_of(model, tokenizer) | {token for token in [end_id(tokenizer)] if token is not None}
    engine = TransformersEngine(model, tokenizer, options, stop_ids)
    resolved: dict[str, Any] = {
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type,
        "torch": torch.__version__,
    }
    resolved |= {"context": engine.context, "stop_tokens": sorted(stop_ids), "input_sha256": digest}
    folder.config_write(request, options, resolved=resolved)
    # 3. Which of it is not there yet
    plan = plan_make(prompts, tokenizer, n=options.n, context=engine.context)
    written = {(line["prompt"], line["index"]) for line in folder.outputs.lines()}
    missing = [asked for asked in plan.requests if (asked.prompt, asked.index) not in written]
    say(f"{len(plan.requests)} completions for {len(prompts)} prompts; {len(written)} are there already.")
    # 4. Draw
    writer = _Writer(folder, options, done=len(written), total=len(plan.requests))
    engine.sample(missing, writer.take, lambda: _stop_wanted(folder))
    writer.write()
    folder.stop_check()
    return _report(folder, plan, len(prompts))


@dataclass
class Plan:
    """All completions to draw, and which prompts were cut or left out because they are too long."""

    requests: list[SampleRequest] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    excluded: list[int] = field(default_factory=list)


def plan_make(prompts: list[PromptLine], tokenizer: PreTrainedTokenizerBase, *, n: int, context: int | None) -> Plan:
    """One request for each completion, prompt by prompt.

    A prompt that leaves no token of the context for its completion loses whole turns from the left; one that is too
    long even then is left out. Both are said on stderr.
    """
    plan = Plan()
    for line in prompts:
        try:
            ids = _prompt_fitted(line, tokenizer, context, plan)
        except ConversationError as error:
            raise InputError(f"Prompt {line['prompt']}: {error}") from error
        if ids is not None:
            plan.requests += [SampleRequest(line["prompt"], index, tuple(ids)) for index in range(line.get("n", n))]
    return plan


def _prompt_fitted(
    line: PromptLine, tokenizer: PreTrainedTokenizerBase, context: int | None, plan: Plan
) -> list[int] | None:
    ids = prompt_ids(tokenizer, line["messages"])
    if context is None or len(ids) < context:
        return ids
    shorter = prompt_fit(tokenizer, line["messages"], context - 1)
    (plan.excluded if shorter is None else plan.cut).append(line["prompt"])
    what = "cannot be cut to fit and is left out" if shorter is None else "loses whole turns from the left"
    say(f"Prompt {line['prompt']} has {len(ids)} tokens, of {context} that the model holds: it {what}.")
    return shorter


class _Writer:
    """Writes completions to the run folder, several at once, and then how far the run is."""

    def __init__(self, folder: RunFolder, options: SampleOptions, *, done: int, total: int) -> None:
        self.folder, self.options, self.done, self.total = folder, options, done, total
        self._waiting: list[Sampled] = []
        self._last = time.monotonic()

    def take(self, sampled: Sampled) -> None:
        """Keep a completion to be written soon."""
        self._waiting.append(sampled)
        if len(self._waiting) >= self.options.batch_size or time.monotonic() - self._last > WRITE_EVERY:
            self.write()

    def write(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        for line in self._lines():
            self.folder.outputs.append(line)
        self.folder.outputs.sync()
        self.done += len(self._waiting)
        tokens = sum(len(sampled.ids) for sampled in self._waiting)
        progress = EventLine(kind="progress", step=self.done, total=self.total, values={"tokens": float(tokens)})
        self.folder.events.append(progress)
        self._waiting.clear()
        self._last = time.monotonic()

    def _lines(self) -> Iterator[SampleLine]:
        for sampled in self._waiting:
            yield SampleLine(
                prompt=sampled.request.prompt,
                index=sampled.request.index,
                text=sampled.text,
                finish_reason=sampled.finish_reason,
                tokens=len(sampled.ids),
                seed=self.options.seed,
            )


def _report(folder: RunFolder, plan: Plan, prompts: int) -> dict[str, Any]:
    completions = finished = tokens = 0
    for line in folder.outputs.lines():
        completions += 1
        finished += line["finish_reason"] == "stop"
        tokens += line["tokens"]
    counts = {"prompts": prompts, "completions": completions, "finished": finished, "tokens": tokens}
    counts |= {"prompts_cut": len(plan.cut), "prompts_excluded": len(plan.excluded)}
    shares = {"finished_share": finished / completions, "mean_tokens": tokens / completions} if completions else {}
    return {"counts": counts, "metrics": shares, "excluded": plan.excluded}


def _stop_wanted(folder: RunFolder) -> bool:
    try:
        folder.stop_check()
    except CommandError:
        return True
    return False
