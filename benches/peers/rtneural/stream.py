"""Times RTNeural and this library in turn, one sample through a recurrent layer and a dense one, and prints a table.

    RTNEURAL=FOLDER python benches/peers/rtneural/stream.py [--rounds 3] [--steps 200000] [--cell lstm]

FOLDER is a checkout of https://github.com/jatinchowdhury18/RTNeural, which brings Eigen. Nothing of it is part of this
project. It is compiled with g++ (or $CXX) for this machine, with sizes known at compile time. Values are microseconds, the
least of all rounds; a value of a round is the least mean of 1000 calls in a row.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from peers import INSTALLED, our_bench, run  # noqa: E402

UNITS = (8, 16, 20, 32, 40, 64)


def rtneural():
    """Builds the program of stream.cpp and returns its path."""
    folder = os.environ.get("RTNEURAL")
    if not folder or not (Path(folder) / "RTNeural" / "RTNeural.h").exists():
        raise SystemExit("set RTNEURAL to a checkout of RTNeural")
    program = INSTALLED / "rtneural"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    run([os.environ.get("CXX", "g++"), "-std=c++17", "-O3", "-march=native", "-DNDEBUG", "-DRTNEURAL_USE_EIGEN=1",
         "-DRTNEURAL_DEFAULT_ALIGNMENT=32", f"-I{folder}", f"-I{folder}/modules/Eigen", f"-I{folder}/modules/json",
         Path(__file__).with_name("stream.cpp"), "-o", program], stderr=subprocess.DEVNULL)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--cell", choices=["lstm", "gru"])
    options = parser.parse_args()
    theirs, ours = rtneural(), our_bench("stream")
    best = {}
    for _ in range(options.rounds):
        arguments = [ours, "--steps", options.steps, "--units", ",".join(map(str, UNITS)), "--only-pipeline"]
        lines = run(arguments, env={**os.environ, "RNN_THREADS": "1"}).splitlines()
        for side, lines in (("ours", lines), ("theirs", run([theirs, options.steps]).splitlines())):
            for fields in (line.split() for line in lines):
                if len(fields) > 3 and fields[0] in ("lstm", "gru") and options.cell in (None, fields[0]):
                    key = (fields[0], int(fields[1]), side)
                    best[key] = min(best.get(key, float("inf")), float(fields[2]))
    print("| cell | H | this library | RTNeural | ratio |\n|---|---|---|---|---|")
    for cell, units in sorted({key[:2] for key in best}, key=lambda key: (key[0] != "lstm", key[1])):
        a, b = best[cell, units, "ours"], best[cell, units, "theirs"]
        print(f"| {cell.upper()} | {units} | {a:.3f} | {b:.3f} | {a / b:.2f} |")


main()
