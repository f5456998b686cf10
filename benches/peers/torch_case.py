"""Times a layer or a stack of PyTorch on the CPU: torch_case.py THREADS CASE, where CASE is an object of a grid file.

Prints {"fwd_ms", "train_ms", "train_mb"}: medians over two seconds of inference, and of forward and backward to
input and weights, and the growth of the process in megabytes in its first training steps.
"""

import json
import statistics
import sys
import time

import torch

MODULES = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}


def median_ms(work, seconds=2.0, least=5, most=200):
    for _ in range(3):
        work()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < end and len(times) < most):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def megabytes(field):
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak_growth(work):
    """None if the system does not report it."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
            refs.write("5")
        before = megabytes("VmRSS:")
        work()
        return megabytes("VmHWM:") - before
    except OSError:
        work()
        return None


def layer_of(case):
    """The layer of a case, its forward pass and its training step."""
    steps, batch, inputs, hidden = (case[letter] for letter in "TBIH")
    layers, directions = case.get("L", 1), case.get("D", 1)
    layer = MODULES[case["cell"]](inputs, hidden, layers, bidirectional=directions == 2)
    x = torch.randn(steps, batch, inputs)
    tracked, ones = x.clone().requires_grad_(True), torch.ones(steps, batch, directions * hidden)

    def forward():
        with torch.inference_mode():
            layer(x)

    def train():
        layer.zero_grad(set_to_none=True)
        tracked.grad = None
        y, _ = layer(tracked)
        y.backward(ones)

    return forward, train


def main():
    torch.manual_seed(0)
    torch.set_num_threads(int(sys.argv[1]))
    case = json.loads(sys.argv[2])
    # The memory that PyTorch loads at its first step of any size is not counted.
    layer_of({**case, "T": 2, "B": 2, "I": 3, "H": 5})[1]()
    forward, train = layer_of(case)
    train_mb = peak_growth(lambda: [train() for _ in range(3)])
    print(json.dumps({"fwd_ms": median_ms(forward), "train_ms": median_ms(train), "train_mb": train_mb}))


if __name__ == "__main__":
    main()
