"""Times other frameworks and this library in turn, case by case, and prints the ratios as a Markdown table.

    python benches/peers/compare.py [--peers torch,burn,candle] [--threads N] [--grid FILE.json] [NAME ...]
    python benches/peers/compare.py --device gpu --peers burn-wgpu [NAME ...]
    python benches/peers/compare.py --join OURS.jsonl THEIRS.jsonl [NAME ...]

With --join nothing is built or timed: the files hold lines of `cargo bench --bench grid -- --json` or of the report of
tools/gpu-report, and of torch_cuda.py, from one machine.

All sides do the same work in f32: forward is inference; train is forward and backward to input and weights.
Medians over two seconds or more. A ratio above 1 means that this library is faster. Missing frameworks are installed
into target/peers.
"""

import argparse
import json
import math
import os
import statistics
import sys
from pathlib import Path

from peers import ROOT, Peers, is_stack


def show(value, digits=4):
    return "" if value is None else f"{value:.{digits}g}"


def sizes_of(case):
    """T, B, I, H; then L and D of a stack or of two directions."""
    letters = "TBIHLD" if is_stack(case) else "TBIH"
    return ", ".join(str(case.get(letter, 1)) for letter in letters)


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
        cells = [case["name"], case["cell"], sizes_of(case)]
        for a, b in pairs:
            cells += [show(a), show(b), f"{a / b:.2f}"]
        peak = [show(ours.get(key), 2) for key in ("fwd_of_peak", "train_of_peak")]
        cells += [" / ".join(peak), show(theirs.get("train_mb"), 3), show(ours.get("train_mb"), 3)]
        print("| " + " | ".join(cells) + " |", flush=True)
    forward, train = (math.exp(statistics.mean(column)) for column in zip(*logs))
    print(f"| geometric mean | | | | | {forward:.2f} | | | {train:.2f} | | | |")


def measured(path):
    """The rows of a file that have both times, by case, sizes and storage. The last of several counts."""
    rows = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SystemExit(f"{path}, line {number}: {error}") from error
        if not isinstance(row, dict):
            raise SystemExit(f"{path}, line {number}: expected an object, got {line[:40]}")
        if all(isinstance(row.get(key), (int, float)) and row[key] > 0 for key in ("fwd_ms", "train_ms")):
            try:
                key = (row["name"], row["cell"], *(row[letter] for letter in "TBIH"), row.get("L", 1), row.get("D", 1))
            except KeyError as error:
                raise SystemExit(f"{path}, line {number}: times without {error}") from error
            rows[(key, row.get("storage", "f32"))] = row
    if not rows:
        raise SystemExit(f"{path}: no line has a case with fwd_ms and train_ms")
    return rows


def join(ours, theirs, names):
    """The table of two files. TF32 of the other side is compared with our f32, as it is what PyTorch takes by default."""
    ours, theirs = measured(ours), measured(theirs)
    print("| case | cell | T, B, I, H | ours | theirs | their fwd ms | ours | ratio | their train ms | ours | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    logs = {}
    for (key, storage), their in theirs.items():
        our_storage = "f32" if storage == "tf32" else storage
        our = ours.get((key, our_storage))
        name, cell, *sizes = key
        if our is None or (names and name not in names):
            continue
        pairs = [(their[pass_], our[pass_]) for pass_ in ("fwd_ms", "train_ms")]
        logs.setdefault((our_storage, storage), []).append([math.log(a / b) for a, b in pairs])
        cells = [name, cell, sizes_of(dict(zip("TBIHLD", sizes))), our_storage, storage]
        for a, b in pairs:
            cells += [show(a), show(b), f"{a / b:.2f}"]
        print("| " + " | ".join(cells) + " |")
    if not logs:
        raise SystemExit("the files have no case in common")
    for (our_storage, storage), rows in logs.items():
        forward, train = (math.exp(statistics.mean(column)) for column in zip(*rows))
        print(f"| geometric mean of {len(rows)} | | | {our_storage} | {storage} | | | {forward:.2f} | | | {train:.2f} |")
    missing = sorted({key[0] for key, _ in theirs} - {key[0] for key, _ in ours})
    if missing:
        print(f"only in theirs: {', '.join(missing)}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default="torch", help="torch, burn, candle, burn-wgpu; separated by commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", help="our device")
    parser.add_argument("--grid", type=Path, default=ROOT / "benches" / "grid.json")
    parser.add_argument("--join", nargs=2, type=Path, metavar=("OURS", "THEIRS"), help="compare two files of lines")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if args.join:
        for path in args.join:
            if not path.is_file():
                parser.error(f"no file {path}")
        join(*args.join, args.names)
        return
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
