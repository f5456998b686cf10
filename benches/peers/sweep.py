"""Compares this library with PyTorch: a figure of the rates over the hidden size, and a table of the time per step over
the length of the sequence.

    python benches/peers/sweep.py figure [--out docs/figures/hidden_size.svg]
    python benches/peers/sweep.py growth
"""

import argparse
import math
import os
from pathlib import Path

from peers import ROOT, Peers, flops

SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048]
BATCHES = [1, 16, 64]
COLOURS = {1: "#b3541e", 16: "#3b7a57", 64: "#2b4c7e"}
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 420, 60, 40, 130, 50


def rates(sides):
    """GFLOP/s of inference by (side, batch), one number per size. A case has about 3 GFLOP and at most 1000 steps."""
    found = {}
    for batch in BATCHES:
        for hidden in SIZES:
            case = {"name": f"h{hidden}", "cell": "lstm", "T": 1, "B": batch, "I": hidden, "H": hidden}
            case["T"] = max(4, min(1000, round(3e9 / flops(case))))
            for side in ("torch", "ours"):
                row = sides.row(side, case)
                found.setdefault((side, batch), []).append(flops(case) / row["fwd_ms"] / 1e6)
                print(side, case, f"{found[side, batch][-1]:.1f} GFLOP/s", flush=True)
                if side == "ours":
                    # The machine is faster in some minutes than in others: the best rate of all counts.
                    peak = found[side, batch][-1] / row["fwd_of_peak"]
                    found["peak"] = max(peak, found.get("peak", 0))
    return found


def draw(found):
    """The figure as SVG: logarithmic axes, solid lines for this library, dashed ones for PyTorch."""
    top = 10 ** math.ceil(math.log10(found["peak"]))
    bottom = top / 1000
    across = (WIDTH - LEFT - RIGHT) / (len(SIZES) - 1)

    def y(rate):
        return TOP + (HEIGHT - TOP - BOTTOM) * (math.log(top / max(rate, bottom)) / math.log(top / bottom))

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
             'font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
             f'<text x="{LEFT}" y="20" font-size="14">LSTM inference, I = H, f32: GFLOP/s over the hidden size; '
             'solid: this library, dashed: PyTorch</text>']
    for n, size in enumerate(SIZES):
        x = LEFT + n * across
        parts.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size}</text>')
    for power in range(4):
        rate = bottom * 10**power
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(rate):.0f}" y2="{y(rate):.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(rate) + 4:.0f}" text-anchor="end">{rate:g}</text>')
    peak = y(found["peak"])
    parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{peak:.1f}" y2="{peak:.1f}" stroke="#999" '
                 'stroke-dasharray="1 3"/>')
    parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{peak - 4:.0f}" fill="#666">FMA peak {found["peak"]:.0f}</text>')
    for batch in BATCHES:
        for side, dash in (("torch", ' stroke-dasharray="6 4"'), ("ours", "")):
            points = " ".join(f"{LEFT + n * across:.0f},{y(rate):.1f}" for n, rate in enumerate(found[side, batch]))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[batch]}" stroke-width="2"{dash}/>')
        at = HEIGHT - BOTTOM - 60 + 18 * BATCHES.index(batch)
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{at}" fill="{COLOURS[batch]}">B = {batch}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">H</text></svg>')
    return "\n".join(parts) + "\n"


def growth(sides):
    print("| T | PyTorch us a step, fwd | train | ours, fwd | train |\n|---|---|---|---|---|")
    for steps in (100, 1000, 10_000):
        case = {"name": f"t{steps}", "cell": "lstm", "T": steps, "B": 16, "I": 64, "H": 128}
        rows = [sides.row(side, case) for side in ("torch", "ours")]
        cells = [f"{1e3 * row[key] / steps:.2f}" for row in rows for key in ("fwd_ms", "train_ms")]
        print(f"| {steps} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["figure", "growth"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures" / "hidden_size.svg")
    args = parser.parse_args()
    sides = Peers(args.threads)
    if args.what == "growth":
        growth(sides)
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(draw(rates(sides)))


if __name__ == "__main__":
    main()
