"""What a pass over rankings costs: our trainers, a floor below which no exact training can be, and TRL.

    python benchmarks/training.py --method reward,dpo --k 2,4,9 --peer trl --dtype float32,bfloat16

A random Llama of 8 layers x 512 (8 heads, 4 for keys; vocabulary 8192) learns from random rankings: prompts of 64 to
256 tokens, K completions of 16 to 256 each, no ties. All read the same tokens, which is checked, with the same number
of prompts in a step of fused AdamW, in one thread of a process of their own; they take turns. CPU seconds are user and
system, of the training pass alone: without imports, tokenising and, for DPO, the reference's log-probabilities, which
both sides compute before (`reference_cpu_s`). Memory is the peak less what the process had before the pass.

The floor is forward and backward of the bare backbone over every token once, a row for each prompt under a mask. TRL
gets its own environment under `var/peers/`, made when `--peer trl` asks for it, and all pairs of each ranking, which is
the form that it takes; gradient checkpointing, which it has on by default, is off, because it costs time. Prints one
JSON line.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peers.environment import trl_make, versions
from benchmarks.peers.measuring import sequences_digest

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / "var" / "bench" / f"training-{os.getpid()}"
PROMPTS = {2: 8, 4: 4, 9: 2}
"""So many take TRL one to three minutes in float32."""
PEERS = ROOT / "benchmarks" / "peers"
LIMIT = 1800
"""Seconds after which a pass is given up."""
Figures = dict[str, Any]


def environment(scratch: Path) -> dict[str, str]:
    """One thread, no GPU, nothing from a hub, and no cache that another pass has left."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    quiet = {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    quiet |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore"}
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(scratch), "CUDA_VISIBLE_DEVICES": ""}
    return os.environ | threads | quiet | alone | {"TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT)}


def run_pass(python: Path | str, *words: str, spec: Figures, output: bool) -> Figures:
    """A pass in a process of its own. Raises SystemExit with what it said where it fails."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        scratch = Path(name)
        command = [str(python), *words, json.dumps(spec), *([str(scratch / "output")] if output else [])]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(scratch), capture_output=True, text=True, timeout=LIMIT
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Case:
    """One number of completions in one precision: what all passes over its rankings took."""

    def __init__(self, k: int, prompts: int, dtype: str, options: argparse.Namespace) -> None:
        self.k, self.dtype, self.options = k, dtype, options
        self.folder = SCRATCH / f"k{k}"
        self.rankings = rankings_of(self.folder, k, prompts)
        self.prompts = prompts
        self.passes: dict[str, list[Figures]] = {}

    def turn(self, peer: Path | None) -> None:
        """The floor, and each method: ours, then theirs."""
        self._take("floor", sys.executable, "-m", "benchmarks.peers.floor", output=False)
        for method in self.options.method:
            ours = ("-m", "benchmarks.peers.prefloop_side")
            self._take(method, sys.executable, *ours, output=True)
            if peer:
                self._take(f"peer {method}", peer, str(PEERS / "trl_side.py"), output=True)

    def row(self, method: str) -> Figures:
        """The medians of a method."""
        cpu_s, floor, theirs = (self._median(name, "cpu_s") for name in (method, "floor", f"peer {method}"))
        return {
            "method": method,
            "k": self.k,
            "dtype": self.dtype,
            "cpu_s": cpu_s,
            "floor_cpu_s": floor,
            "over_floor": ratio(cpu_s, floor),
            "peer_cpu_s": theirs,
            "speedup": ratio(theirs, cpu_s),
            "peak_mb": self._median(method, "peak_mb"),
            "peer_peak_mb": self._median(f"peer {method}", "peak_mb"),
            "wall_s": self._median(method, "wall_s"),
            "peer_wall_s": self._median(f"peer {method}", "wall_s"),
            "floor_peak_mb": self._median("floor", "peak_mb"),
            "reference_cpu_s": self._median(method, "reference_cpu_s"),
            "peer_reference_cpu_s": self._median(f"peer {method}", "reference_cpu_s"),
            "prompts": self.prompts,
            "unique_tokens": sum(len(r["prompt"]) + sum(map(len, r["completions"])) for r in self.rankings),
            "spread": self._spread(method),
            "peer_spread": self._spread(f"peer {method}"),
        }

    def _take(self, name: str, python: Path | str, *words: str, output: bool) -> None:
        spec = {
            "method": name.removeprefix("peer "),
            "model": str(SCRATCH / "model"),
            "folder": str(self.folder),
            "dtype": self.dtype,
            "prompts_per_step": min(self.options.prompts_per_step, self.prompts),
            "micro_tokens": self.options.micro_tokens,
            "batch_size": self.options.peer_batch,
        }
        figures = run_pass(python, *words, spec=spec, output=output)
        read = sequences_digest(r["prompt"] + completion for r in self.rankings for completion in r["completions"])
        if figures.get("digest", read) != read:
            raise SystemExit(f"{name} has read other tokens than the rankings have.")
        print(json.dumps({"k": self.k, "dtype": self.dtype, "pass": name} | figures), file=sys.stderr, flush=True)
        self.passes.setdefault(name, []).append(figures)

    def _median(self, name: str, figure: str) -> float | None:
        values = [figures[figure] for figures in self.passes.get(name, ())]
        return round(statistics.median(values), 2) if values else None

    def _spread(self, name: str) -> float | None:
        """How far the dearest pass is above the cheapest, as a share."""
        values = [figures["cpu_s"] for figures in self.passes.get(name, ())]
        return round(max(values) / min(values) - 1, 3) if values else None


def ratio(above: float | None, below: float | None) -> float | None:
    """above / below where both are known."""
    return round(above / below, 2) if above is not None and below else None


def rankings_of(folder: Path, k: int, prompts: int) -> list[Figures]:
    """The rankings of a folder, which are made where they are not there. Here, because it imports torch."""
    from benchmarks.peers.rankings import make, model_make

    if not (SCRATCH / "model").exists():
        model_make(SCRATCH / "model")
    if not folder.exists():
        make(folder, k, prompts)
    return list(json.loads((folder / "rankings.json").read_text()))


def measure(options: argparse.Namespace) -> Figures:
    """All rows."""
    begun, load = time.perf_counter(), os.getloadavg()
    peer = trl_make() if options.peer == "trl" else None
    rows = []
    for k, prompts in zip(options.k, options.prompts, strict=True):
        for dtype in options.dtype:
            case = Case(k, prompts, dtype, options)
            for _ in range(options.repeats):
                case.turn(peer)
            rows += [case.row(method) for method in options.method]
            for row in rows[-len(options.method) :]:
                print(json.dumps(row), file=sys.stderr, flush=True)
    return {
        "rows": rows,
        "repeats": options.repeats,
        "prompts_per_step": options.prompts_per_step,
        "micro_tokens": options.micro_tokens,
        "peer_batch": options.peer_batch if peer else None,
        "versions": versions(Path(sys.executable)),
        "peer_versions": versions(peer) if peer else None,
        "load": [round(load[0], 1), round(os.getloadavg()[0], 1)],
        "wall_s": round(time.perf_counter() - begun, 1),
    }


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""

    def names(text: str) -> list[str]:
        return text.split(",")

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", type=names, default="reward,dpo", help="reward, dpo")
    parser.add_argument("--k", type=numbers, default="2,4,9", help="completions of a ranking")
    parser.add_argument("--prompts", type=numbers, help="rankings, for each K; by default few where K is large")
    parser.add_argument("--dtype", type=names, default="float32", help="float32, bfloat16")
    parser.add_argument("--peer", choices=["none", "trl"], default="none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prompts-per-step", type=int, default=2, help="rankings of one optimizer step")
    parser.add_argument("--micro-tokens", type=int, default=512, help="our tokens in memory at once, or one ranking")
    parser.add_argument("--peer-batch", type=int, default=2, help="TRL's pairs in memory at once")
    parser.add_argument("--quick", action="store_true", help="two rankings of two, once, in float32")
    options = parser.parse_args(given)
    if options.quick:
        options.k, options.prompts, options.dtype, options.repeats = [2], [2], ["float32"], 1
    if options.prompts is None:
        options.prompts = [PROMPTS.get(k, 2) for k in options.k]
    if len(options.prompts) != len(options.k):
        parser.error("--prompts takes as many numbers as --k")
    return options


def main() -> None:
    """Measure in a fresh folder, print, and leave nothing but a peer's environment."""
    options = arguments()
    SCRATCH.mkdir(parents=True)
    try:
        print(json.dumps(measure(options)))
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)


if __name__ == "__main__":
    main()
