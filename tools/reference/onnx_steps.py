"""Three PyTorch models as ONNX files, and their outputs before and after one step of SGD.

    python3 tools/reference/onnx_steps.py OUT

writes NAME.onnx by torch's exporter, and NAME.npz: the input `in0.x`, the output `out0.y`, the `target` whose mean squared
error is lowered, the output `after` the step, and the `rate`. Needs torch, onnx and numpy.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

RATE = 0.5


class LastStep(nn.Module):
    """Two LSTM layers, batch first; the last step of each sequence is classified."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 7, num_layers=2, batch_first=True)
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class BothDirections(nn.Module):
    """A bidirectional GRU whose steps are projected."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 5, bidirectional=True)
        self.head = nn.Linear(10, 2)

    def forward(self, x):
        return self.head(self.gru(x)[0])


class MeanOfSteps(nn.Module):
    """An Elman network, the mean of its steps, and a hidden layer."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(3, 6)
        self.head = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3), nn.Softmax(-1))

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(0))


def write(model, folder):
    x = torch.rand(5, 4, 3) * 2 - 1
    y = model(x)
    target = torch.rand_like(y)
    name = type(model).__name__
    # The exporter that writes Slice and Squeeze nodes of old opsets, as most files in use have them.
    torch.onnx.export(model, (x,), folder / f"{name}.onnx", input_names=["x"], output_names=["y"], dynamo=False)
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    y = model(x)
    (y - target).square().mean().backward()
    optimizer.step()
    arrays = {"in0.x": x, "out0.y": y, "target": target, "after": model(x)}
    arrays = {key: value.detach().numpy() for key, value in arrays.items()}
    np.savez(folder / f"{name}.npz", rate=np.float32([RATE]), **arrays)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.manual_seed(1)
    for model in [LastStep(), BothDirections(), MeanOfSteps()]:
        write(model, folder)


if __name__ == "__main__":
    main()
