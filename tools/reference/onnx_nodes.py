"""Random LSTM, GRU and RNN nodes of ONNX, and what ONNX Runtime computes for them.

    python3 tools/reference/onnx_nodes.py OUT --count 1000 --seed 1

writes N.onnx with one node each, and N.npz with its inputs `in0.NAME` and outputs `out0.NAME`. Weights are inputs in every
second model and constants in the others, because importers read them in different ways. Needs onnx, onnxruntime and numpy.

Left out, because ONNX Runtime refuses it or the specification does not say: layout 1, rows without steps.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# How many activations a direction has.
ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
# Name: range of alpha, range of beta.
FUNCTIONS = {
    "Relu": (None, None),
    "Tanh": (None, None),
    "Sigmoid": (None, None),
    "Softsign": (None, None),
    "Softplus": (None, None),
    "Affine": ((0.3, 0.9), (-0.2, 0.2)),
    "LeakyRelu": ((0.01, 0.3), None),
    "ThresholdedRelu": ((0.1, 0.5), None),
    "ScaledTanh": ((0.5, 1.5), (0.5, 1.5)),
    "HardSigmoid": ((0.1, 0.3), (0.3, 0.6)),
    "Elu": ((0.3, 1.2), None),
}


def activations(rng, count):
    """Attributes; every number that a function has is given, in the order of the functions."""
    names = [str(name) for name in rng.choice(list(FUNCTIONS), count)]
    numbers = [[], []]
    for name in names:
        for values, bounds in zip(numbers, FUNCTIONS[name]):
            if bounds:
                values.append(float(rng.uniform(*bounds)))
    alpha, beta = numbers
    attributes = {"activations": names}
    if alpha:
        attributes["activation_alpha"] = alpha
    if beta:
        attributes["activation_beta"] = beta
    return attributes


def case(rng, kind):
    """Attributes, weights, inputs; an absent one is None."""
    steps, batch, inputs, hidden = (int(rng.integers(1, most)) for most in (8, 5, 7, 10))
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    rows = GATES[kind] * hidden

    def values(*dims, scale=1.0):
        return rng.uniform(-scale, scale, dims).astype(np.float32)

    def maybe(share, *dims):
        return values(*dims) if rng.random() < share else None

    attributes = {"hidden_size": hidden, "direction": direction}
    if rng.random() < 0.6:
        attributes |= activations(rng, ACTIVATIONS[kind] * directions)
    if rng.random() < 0.3:
        attributes["clip"] = float(rng.uniform(0.2, 1.0))
    if kind == "LSTM" and rng.random() < 0.25:
        attributes["input_forget"] = 1
    if kind == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(0, 2))
    scale = hidden**-0.5
    weights = {
        "W": values(directions, rows, inputs, scale=scale),
        "R": values(directions, rows, hidden, scale=scale),
        "B": maybe(0.7, directions, 2 * rows),
    }
    given = {"X": values(steps, batch, inputs)}
    ragged = rng.random() < 0.5
    given["sequence_lens"] = rng.integers(1, steps + 1, batch).astype(np.int32) if ragged else None
    given["initial_h"] = maybe(0.5, directions, batch, hidden)
    if kind == "LSTM":
        given["initial_c"] = maybe(0.5, directions, batch, hidden)
        weights["P"] = maybe(0.4, directions, 3 * hidden)
    return attributes, weights, given


def model(kind, attributes, weights, given, opset, as_inputs):
    """A graph with one node."""
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    everything = weights | given
    names = [name if everything.get(name) is not None else "" for name in order]
    while not names[-1]:
        names.pop()
    outputs = ["Y", "Y_h"] + (["Y_c"] if kind == "LSTM" else [])
    node = helper.make_node(kind, names, outputs, **attributes)
    fed = {name: value for name, value in given.items() if value is not None}
    fixed = {name: value for name, value in weights.items() if value is not None}
    if as_inputs:
        fed, fixed = fed | fixed, {}
    graph = helper.make_graph(
        [node],
        kind,
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
         for name, value in fed.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * (4 if name == "Y" else 3)) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in fixed.items()],
    )
    return fed, helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    for n in range(args.count):
        kind = list(GATES)[n % 3]
        attributes, weights, given = case(rng, kind)
        opset = int(rng.choice([7, 11, 14, 21]))
        fed, proto = model(kind, attributes, weights, given, opset, as_inputs=n % 2 == 1)
        onnx.checker.check_model(proto)
        session = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        results = dict(zip(names, session.run(None, fed)))
        onnx.save(proto, args.out / f"{n}.onnx")
        arrays = {f"in0.{name}": value for name, value in fed.items()}
        arrays |= {f"out0.{name}": value for name, value in results.items()}
        np.savez(args.out / f"{n}.npz", **arrays)


if __name__ == "__main__":
    main()
