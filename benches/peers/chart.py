"""Draws the table "CPU against PyTorch" of docs/performance.md as bars: how many times as fast this library is.

    python benches/peers/chart.py [--out docs/figures/pytorch.svg]

It measures nothing. Run it after the table of compare.py has been copied into the document.
"""

import argparse
import math
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLOURS = {"training": "#2b4c7e", "inference": "#9db4d3"}
CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "Elman"}
TICKS = [1, 2, 5, 10, 20]
WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 760, 250, 60, 66, 34, 12


def table(text):
    """(case, cell, sizes, inference ratio, training ratio) of every row of the section's table."""
    section = text.split("\n## CPU against PyTorch\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    head = next(row for row in rows if row[0] == "case")
    forward, train = [n for n, name in enumerate(head) if name == "ratio"]
    cases = rows[rows.index(head) + 2:]
    end = next(n for n, row in enumerate(cases) if row[0] == "geometric mean")
    return [(*row[:3], float(row[forward]), float(row[train])) for row in cases[:end + 1]]


def draw(rows):
    """The figure as SVG; the axis is logarithmic and starts at PyTorch's speed."""
    across = WIDTH - LEFT - RIGHT
    top = max(TICKS[-1], *(ratio for row in rows for ratio in row[3:])) * 1.05
    bottom = min(1, *(ratio for row in rows for ratio in row[3:]))

    def x(ratio):
        return LEFT + across * math.log(ratio / bottom) / math.log(top / bottom)

    height = TOP + ROW * len(rows) + 34
    foot = height - 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
             'font-size="12" fill="#222">', f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
             '<text x="16" y="24" font-size="15" font-weight="bold">Times as fast as PyTorch on the same two CPU cores, '
             'f32</text>']
    for n, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<rect x="{LEFT + 100 * n}" y="38" width="14" height="{BAR}" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 20 + 100 * n}" y="48">{name}</text>')
    for tick in TICKS:
        colour = "#222" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 4}" y2="{foot}" stroke="{colour}"/>')
        label = "PyTorch" if tick == 1 else f"{tick} x"
        parts.append(f'<text x="{x(tick):.1f}" y="{foot + 18}" text-anchor="middle">{label}</text>')
    for n, (case, cell, sizes, forward, train) in enumerate(rows):
        y = TOP + ROW * n
        weight = "" if cell else ' font-weight="bold"'
        parts.append(f'<text x="{LEFT - 10}" y="{y + 11}" text-anchor="end"{weight}>{case}</text>')
        if cell:
            letters = ", ".join(f"{letter} {size}" for letter, size in zip("TBIH", sizes.split(", ")))
            parts.append(f'<text x="{LEFT - 10}" y="{y + 24}" text-anchor="end" font-size="10" fill="#666">'
                         f'{CELLS[cell]}, {letters}</text>')
        for at, ratio, colour in ((y, train, COLOURS["training"]), (y + BAR, forward, COLOURS["inference"])):
            left, right = sorted((x(1), x(ratio)))
            parts.append(f'<rect x="{left:.1f}" y="{at}" width="{right - left:.1f}" height="{BAR}" fill="{colour}"/>')
            parts.append(f'<text x="{right + 5:.1f}" y="{at + 10}" font-size="11">{ratio:.2f}</text>')
    return "\n".join(parts) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures" / "pytorch.svg")
    args = parser.parse_args()
    rows = table((ROOT / "docs" / "performance.md").read_text())
    args.out.write_text(draw(rows))


if __name__ == "__main__":
    main()
