"""Times PyTorch and this library in turn, case by case, and prints the ratios as a Markdown table.

    pip install torch
    python benches/peers/compare.py [--threads N] [--grid FILE.json] [NAME ...]

Both sides do the same work on the CPU in f32: forward is inference; train is forward and backward to
input and weights. Medians of two seconds each. Ratios above 1 mean that this library is faster.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def median_ms(work, seconds=2.0, least=5, most=200):
    for _ in range(3):
        work()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < end and len(times) < most):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def torch_row(case, threads):
    """In a process of its own, so that PyTorch's threads are gone when it is our turn."""
    command = [sys.executable, __file__, "--threads", str(threads), "--torch-case", json.dumps(case)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def time_torch(case, threads):
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    steps, batch, inputs, hidden = (case[letter] for letter in "TBIH")
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[case["cell"]]
    layer = module(inputs, hidden)
    x = torch.randn(steps, batch, inputs)

    def forward():
        with torch.inference_mode():
            layer(x)

    tracked = x.clone().requires_grad_(True)
    ones = torch.ones(steps, batch, hidden)

    def train():
        layer.zero_grad(set_to_none=True)
        tracked.grad = None
        y, _ = layer(tracked)
        y.backward(ones)

    return [median_ms(forward), median_ms(train)]


def bench_binary():
    """Builds the grid bench and returns its executable."""
    command = ["cargo", "bench", "--bench", "grid", "--no-run", "--message-format=json"]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in reversed(out.splitlines()):
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "grid":
            return message["executable"]
    raise SystemExit("cargo did not say where the grid bench is")


def our_row(binary, grid, case, threads):
    command = [binary, "--grid", str(grid), "--device", "cpu", case["name"]]
    environment = {**os.environ, "RNN_THREADS": str(threads)}
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    row = json.loads(out)
    return row["fwd_ms"], row["train_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--grid", type=Path, default=ROOT / "benches" / "grid.json")
    parser.add_argument("--torch-case", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if args.torch_case:
        print(json.dumps(time_torch(args.torch_case, args.threads)))
        return

    binary = bench_binary()
    print(f"PyTorch {version('torch')}, {args.threads} threads, milliseconds")
    print("| case | cell | T, B, I, H | PyTorch fwd | ours | ratio | PyTorch train | ours | ratio | ours GFLOP/s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    logs = []
    for case in json.loads(args.grid.read_text()):
        if args.names and case["name"] not in args.names:
            continue
        peer, ours = torch_row(case, args.threads), our_row(binary, args.grid, case, args.threads)
        ratios = [p / o for p, o in zip(peer, ours)]
        logs.append([math.log(r) for r in ratios])
        steps, batch, inputs, hidden = (case[letter] for letter in "TBIH")
        flops = 2 * GATES[case["cell"]] * hidden * (inputs + hidden) * steps * batch
        rates = f"{flops / ours[0] / 1e6:.0f} / {3 * flops / ours[1] / 1e6:.0f}"
        cells = [case["name"], case["cell"], f"{steps}, {batch}, {inputs}, {hidden}"]
        for p, o, r in zip(peer, ours, ratios):
            cells += [f"{p:.4g}", f"{o:.4g}", f"{r:.2f}"]
        print("| " + " | ".join(cells + [rates]) + " |", flush=True)
    forward, train = (math.exp(statistics.mean(column)) for column in zip(*logs))
    print(f"| geometric mean | | | | | {forward:.2f} | | | {train:.2f} | |")


if __name__ == "__main__":
    main()
