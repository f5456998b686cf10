"""Checks ONNX files and compares what ONNX Runtime computes from them with recorded arrays.

    python3 tools/reference/onnx_check.py MODEL.onnx ARRAYS.npz BOUND [MODEL.onnx ARRAYS.npz BOUND ..]

ARRAYS.npz has inputs `inK.NAME` and outputs `outK.NAME` of every run K, or the first input `x0` and the first output `y`.
BOUND is the largest allowed difference over the largest value of an output. Needs onnx, onnxruntime and numpy.
"""

import sys

import numpy as np
import onnx
import onnxruntime

TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}


def runs(session, arrays):
    """The inputs and outputs of each run, by name."""
    if "x0" in arrays:
        yield {session.get_inputs()[0].name: arrays["x0"]}, {session.get_outputs()[0].name: arrays["y"]}
        return
    found = {}
    for name, array in arrays.items():
        kind, name = name.split(".", 1)
        if kind.startswith("in"):
            found.setdefault(kind.removeprefix("in"), ({}, {}))[0][name] = array
        elif kind.startswith("out"):
            found.setdefault(kind.removeprefix("out"), ({}, {}))[1][name] = array
    yield from found.values()


def check(model, arrays, bound):
    """Every way in which a file is wrong."""
    onnx.checker.check_model(onnx.load(model), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    types = {port.name: TYPES[port.type] for port in session.get_inputs()}
    for inputs, outputs in runs(session, arrays):
        given = {name: array.astype(types[name]) for name, array in inputs.items()}
        for (name, want), got in zip(outputs.items(), session.run(list(outputs), given)):
            if got.shape != want.shape:
                yield f"{name} has the shape {got.shape}, expected {want.shape}"
                continue
            want = want.astype(np.float64)
            off = np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)
            if not off <= bound:
                yield f"{name} is off by {off:.2e}, allowed {bound:.0e}"


def main():
    arguments = sys.argv[1:]
    problems = []
    for model, arrays, bound in zip(arguments[::3], arguments[1::3], arguments[2::3]):
        try:
            problems += [f"{arrays}: {why}" for why in check(model, np.load(arrays), float(bound))]
        except Exception as error:  # noqa: BLE001, any error of the packages is a finding
            problems.append(f"{arrays}: {error}")
    if problems or not arguments:
        sys.exit("\n".join(problems) or "no models")


main()
