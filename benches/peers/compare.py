"""Times other frameworks and this library in turn, case by case, and prints the ratios as a Markdown table.

    python benches/peers/compare.py [--peers torch,burn,candle] [--threads N] [--grid FILE.json] [NAME ...]
    python benches/peers/compare.py --device gpu --peers burn-wgpu [NAME ...]

All sides do the same work in f32: forward is inference; train is forward and backward to input and weights.
Medians over two seconds or more. A ratio above 1 means that this library is faster. Missing frameworks are installed
into target/peers.
"""

import argparse
import json
import math
import os
import statistics
from pathlib import Path

from peers import ROOT, Peers


def show(value, digits=4):
    return "" if value is None else f"{value:.{digits}g}"


def table(peer, cases, sides):
    """The table of one framework against this library."""
    print(f"\n| case | cell | T, B, I, H | {peer} fwd ms | ours | ratio | {peer} train ms | ours | ratio "
          f"| ours, of peak fwd / train | {peer} train MB | ours |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    logs = []
    for case in cases:
        theirs, ours = sides.row(peer, case), sides.row("ours", case)
        if theirs is None:
            continue
        pairs = [(theirs[key], ours[key]) for key in ("fwd_ms", "train_ms")]
        logs.append([math.log(a / b) for a, b in pairs])
        cells = [case["name"], case["cell"], ", ".join(str(case[letter]) for letter in "TBIH")]
        for a, b in pairs:
            cells += [show(a), show(b), f"{a / b:.2f}"]
        peak = [show(ours.get(key), 2) for key in ("fwd_of_peak", "train_of_peak")]
        cells += [" / ".join(peak), show(theirs.get("train_mb"), 3), show(ours.get("train_mb"), 3)]
        print("| " + " | ".join(cells) + " |", flush=True)
    forward, train = (math.exp(statistics.mean(column)) for column in zip(*logs))
    print(f"| geometric mean | | | | | {forward:.2f} | | | {train:.2f} | | | |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default="torch", help="torch, burn, candle, burn-wgpu; separated by commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", help="our device")
    parser.add_argument("--grid", type=Path, default=ROOT / "benches" / "grid.json")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    cases = json.loads(args.grid.read_text())
    unknown = set(args.names) - {case["name"] for case in cases}
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))} in {args.grid}")
    cases = [case for case in cases if not args.names or case["name"] in args.names]
    sides = Peers(args.threads, args.device)
    print(f"{args.threads} threads, f32")
    for peer in args.peers.split(","):
        table(peer, cases, sides)


if __name__ == "__main__":
    main()
