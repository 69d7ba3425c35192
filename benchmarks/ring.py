"""The demo's ring, turned by a simulated panel: does the policy get better, as those who label see it?

    python benchmarks/ring.py --rounds 3 --seeds 3

Each seed is a project of its own, with its own prompts; a turn is `manage.py ring`: the policy writes, five simulated
annotators label, the labels are frozen, a reward model and the next policy are trained. After each round the policy
answers prompts that nobody has labelled, and gold (what the panel sees through its noise) judges the answers: its
parts, how well they read, and how far the policy has gone from the first one (`kl`, nats per sequence). Round 0 is the
starting policy. `±` is a 95 % interval over prompts. Prints one JSON line.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.rig.database import fresh_database
from labelapp.demo.gold import gold_parts
from labelapp.demo.language import Instruction, fluency, instructions, reads_well

HELD_OUT_SEED = 7_000_000
ANSWERS = 2
"""Answers to each held-out prompt."""


def project_make(seed: int, prompts: int) -> tuple[str, str]:
    """A project of the demo with its panel and model; returns its short name and the folder of the model."""
    from labelapp.demo.notes import BASE, notes_fill
    from labelapp.generation.model_versions import model_localise
    from labelapp.models import ModelVersion, User
    from labelapp.projects.services import project_create

    admin, _ = User.objects.get_or_create(email="admin@example.com", defaults={"name": "Admin"})
    project = project_create(name=f"Ring {seed}", created_by=admin)
    notes_fill(project=project, admin=admin, seed=1000 * seed + 20_000, prompts=prompts)
    return project.slug, model_localise(ModelVersion.objects.get(project=project, name=BASE))


def ring_turn(slug: str, seed: int, rounds: int, prompts: int, figures: Path) -> list[dict[str, Any]]:
    """Turn the ring; returns what it says of every round."""
    from django.core.management import call_command

    from labelapp.demo.notes import BASE, notes_options

    options = notes_options(seed=seed)
    call_command(
        "ring",
        project=slug,
        base=BASE,
        labels="panel",
        rounds=rounds,
        prompts=prompts,
        seed=seed,
        sample=pairs(options.sampling),
        reward=pairs(options.reward),
        preference=pairs(options.preference),
        json=figures,
        stdout=sys.stderr,
    )
    said: dict[str, Any] = json.loads(figures.read_text())
    return list(said["rounds"])


def pairs(options: Mapping[str, Any]) -> list[str]:
    """Options as the command line takes them; the command itself sets the seed."""
    return [f"{name}={value}" for name, value in options.items() if name != "seed"]


def policy_folder(slug: str, name: str) -> str:
    """Where the weights of a policy are."""
    from labelapp.generation.model_versions import model_localise
    from labelapp.models import ModelVersion

    return model_localise(ModelVersion.objects.get(project__slug=slug, name=name))


def judge(policy: str, first: str, held_out: list[Instruction], seed: int) -> dict[str, Any]:
    """What gold says of a policy's answers to held-out prompts."""
    with tempfile.TemporaryDirectory() as scratch:
        samples = sample(policy, held_out, seed, Path(scratch))
        kl = distance(policy, first, held_out, samples, Path(scratch))
    parts = [
        gold_parts(held_out[line["prompt"]].text, line["text"], finished=line["finish_reason"] == "stop")
        for line in samples
    ]
    by_prompt: dict[int, list[float]] = {}
    for line, part in zip(samples, parts, strict=True):
        by_prompt.setdefault(line["prompt"], []).append(sum(part.values()))
    means = [statistics.fmean(values) for values in by_prompt.values()]
    return {
        "gold_reward": round(statistics.fmean(means), 3),
        "gold_reward_ci": round(1.96 * statistics.stdev(means) / len(means) ** 0.5, 3),
        "parts": {name: round(statistics.fmean(part[name] for part in parts), 3) for name in parts[0]},
        "fluency": round(statistics.fmean(fluency(line["text"]) for line in samples), 3),
        "reads_well": round(statistics.fmean(reads_well(line["text"]) for line in samples), 3),
        "kl": round(kl, 2),
        "example": samples[0]["text"],
    }


def sample(policy: str, held_out: list[Instruction], seed: int, scratch: Path) -> list[dict[str, Any]]:
    """Answers of a policy to every held-out prompt."""
    prompts = scratch / "prompts.jsonl"
    write_lines(prompts, ({"prompt": number, "messages": asked.messages} for number, asked in enumerate(held_out)))
    output = scratch / "sample"
    options = ["--n", str(ANSWERS), "--max-tokens", "80", "--seed", str(seed), "--batch-size", "64"]
    trainer("sample", "--model", policy, "--prompts", str(prompts), "--output", str(output), *options)
    lines = [json.loads(line) for line in (output / "outputs.jsonl").read_text().splitlines()]
    return sorted(lines, key=lambda line: (line["prompt"], line["index"]))


def distance(
    policy: str, first: str, held_out: list[Instruction], samples: list[dict[str, Any]], scratch: Path
) -> float:
    """Nats per sequence from the first policy, over what this one wrote."""
    completions = scratch / "completions.jsonl"
    write_lines(
        completions,
        (
            {
                "completion": number,
                "messages": held_out[line["prompt"]].messages,
                "text": line["text"],
                "finish_reason": line["finish_reason"],
            }
            for number, line in enumerate(samples)
        ),
    )
    output = scratch / "kl"
    options = ["--measure", "kl", "--model", policy, "--reference", first, "--batch-size", "64"]
    trainer("evaluate", "--completions", str(completions), "--output", str(output), *options)
    lines = [json.loads(line)["values"] for line in (output / "outputs.jsonl").read_text().splitlines()]
    return statistics.fmean(values["logp"] - values["reference_logp"] for values in lines)


def write_lines(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def trainer(*arguments: str) -> None:
    """Run the trainer; its own words are shown where it fails."""
    done = subprocess.run([sys.executable, "-m", "trainer", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"trainer {arguments[0]} failed:\n{done.stderr[-2000:]}")


def seed_run(seed: int, rounds: int, prompts: int, held_out: list[Instruction]) -> list[dict[str, Any]]:
    """All rounds of one seed, round 0 first."""
    slug, first = project_make(seed, 4 * prompts * rounds)
    with tempfile.TemporaryDirectory() as scratch:
        told = ring_turn(slug, seed, rounds, prompts, Path(scratch) / "figures.json")
    rows = [{"seed": seed, "round": 0, **judge(first, first, held_out, seed)}]
    for number, turn in enumerate(told, start=1):
        judged = judge(policy_folder(slug, turn["new_policy"]), first, held_out, seed)
        rows.append({"seed": seed, "round": number, **judged, "reward_accuracy": turn["reward_accuracy"]})
    for row in rows:
        print(json.dumps({**row, "example": None}), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=256, help="prompts of a round")
    parser.add_argument("--held-out", type=int, default=256, help="prompts that gold is measured on")
    parser.add_argument("--quick", action="store_true", help="one seed, one small round")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seeds, options.prompts, options.held_out = 1, 1, 32, 32
    held_out = instructions(HELD_OUT_SEED, options.held_out)
    start = time.monotonic()
    with fresh_database("ring"):
        rows = [
            row for seed in range(options.seeds) for row in seed_run(seed, options.rounds, options.prompts, held_out)
        ]
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"rounds": rows, "ring_s": round(time.monotonic() - start, 1), "peak_rss_mb": peak // 1024}))


if __name__ == "__main__":
    main()
