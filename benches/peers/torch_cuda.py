"""Times both grids with PyTorch and cuDNN on an NVIDIA GPU, and prints one JSON object per line for compare.py --join.

    python benches/peers/torch_cuda.py [--grid FILE.json]... [--modes f32,tf32,f16] [--seconds S] [NAME ...] > theirs.jsonl

Needs PyTorch with CUDA and nothing else. `f32` is strict: TF32 is off in cuDNN and cuBLAS. `tf32` is PyTorch's default
for recurrent layers; `f16` has weights and inputs in half precision. Times are medians by CUDA events of inference, and
of forward and backward to input and weights. `peak_mb` is the largest memory of a training step, without the CUDA
context. `kernels` has the names of the GPU kernels of a training step and their microseconds.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

BENCHES = Path(__file__).resolve().parents[1]
GRIDS = [BENCHES / "grid.json", BENCHES / "stacks.json"]
MODULES = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
DTYPES = {"f32": torch.float32, "tf32": torch.float32, "f16": torch.float16}


def set_precision(mode):
    """Whether products of f32 may round their operands to TF32."""
    torch.backends.cudnn.allow_tf32 = mode == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"


def passes(case, dtype):
    """The forward pass and the training step of a case."""
    steps, batch, inputs, hidden = (case[letter] for letter in "TBIH")
    layers, directions = case.get("L", 1), case.get("D", 1)
    layer = MODULES[case["cell"]](
        inputs, hidden, layers, bidirectional=directions == 2, device="cuda", dtype=dtype)
    x = torch.randn(steps, batch, inputs, device="cuda", dtype=dtype)
    leaf = x.clone().requires_grad_(True)
    dy = torch.ones(steps, batch, directions * hidden, device="cuda", dtype=dtype)

    def forward():
        with torch.inference_mode():
            layer(x)

    def train():
        layer.zero_grad(set_to_none=True)
        leaf.grad = None
        layer(leaf)[0].backward(dy)

    return forward, train


def median_ms(work, seconds):
    """Median over runs by the GPU's clock. Runs are queued in groups, so that the host does not slow the GPU down."""
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(11)]
        marks[0].record()
        for mark in marks[1:]:
            work()
            mark.record()
        marks[-1].synchronize()
        times += [a.elapsed_time(b) for a, b in zip(marks, marks[1:])]
    return statistics.median(times)


def peak_mb(work):
    """The largest memory that tensors and cuDNN's workspace take while `work` runs."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**20


def kernels(work, most=12):
    """Microseconds of the kernels of a run, the longest first; empty where the profiler may not look."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    try:
        with torch.profiler.profile(activities=activities) as profile:
            work()
            torch.cuda.synchronize()
        events = profile.key_averages()
    except RuntimeError as error:
        print(f"no kernel names: {error}", file=sys.stderr)
        return {}
    micros = {}
    for event in events:
        total = getattr(event, "self_device_time_total", None)
        if total is None:  # the name in PyTorch before 2.4
            total = event.self_cuda_time_total
        if total > 0:
            micros[event.key] = round(total, 1)
    return dict(sorted(micros.items(), key=lambda item: -item[1])[:most])


def row(case, mode, seconds):
    set_precision(mode)
    forward, train = passes(case, DTYPES[mode])
    train()
    return {
        **case,
        "peer": "torch-cudnn",
        "storage": mode,
        "fwd_ms": median_ms(forward, seconds),
        "train_ms": median_ms(train, seconds),
        "peak_mb": round(peak_mb(train), 1),
        "kernels": kernels(train),
        "device": torch.cuda.get_device_name(),
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda,
                     "cudnn": torch.backends.cudnn.version()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", type=Path, action="append", help="a file of cases; may come several times")
    parser.add_argument("--modes", default="f32,tf32,f16", help="of f32, tf32 and f16, separated by commas")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("names", nargs="*", help="only these cases")
    args = parser.parse_args()
    modes = args.modes.split(",")
    if unknown := set(modes) - set(DTYPES):
        parser.error(f"no mode {', '.join(sorted(unknown))}")
    grids = args.grid or GRIDS
    cases = [case for path in grids for case in json.loads(path.read_text())]
    if unknown := set(args.names) - {case["name"] for case in cases}:
        parser.error(f"no case {', '.join(sorted(unknown))} in {', '.join(map(str, grids))}")
    if not torch.cuda.is_available():
        raise SystemExit("torch_cuda.py: PyTorch finds no CUDA device")
    torch.manual_seed(0)
    failed = False
    for case in cases:
        for mode in modes if not args.names or case["name"] in args.names else []:
            try:
                line = row(case, mode, args.seconds)
            except RuntimeError as error:  # one case that does not fit must not cost the others
                line, failed = {**case, "peer": "torch-cudnn", "storage": mode, "error": str(error)}, True
            print(json.dumps(line), flush=True)
            torch.cuda.empty_cache()
    sys.exit(failed)


if __name__ == "__main__":
    main()
