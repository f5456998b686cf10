"""python3 benches/peers/test_compare.py: the join of two files of measurements."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

from compare import join

SIZES = {"cell": "lstm", "T": 2, "B": 3, "I": 4, "H": 5}


def case(name, forward, train, **more):
    return {"name": name, **SIZES, "fwd_ms": forward, "train_ms": train, **more}


def joined(ours, theirs, names=()):
    """What `join` prints for these lines."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("ours", "theirs")]
        for path, lines in zip(paths, (ours, theirs)):
            path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            join(*paths, names)
        return out.getvalue()


class Join(unittest.TestCase):
    def test_rows_meet_by_case_and_storage_and_other_lines_are_passed_over(self):
        ours = [case("a", 2.0, 8.0), {"section": "gemm", "M": 3}, case("a", 1.0, 2.0, storage="f16"), "\n"]
        theirs = [case("a", 1.0, 4.0, storage="f32"), case("a", 0.5, 2.0, storage="tf32"),
                  case("a", 3.0, 2.0, storage="f16"), case("b", 1.0, 1.0), {"name": "c", "error": "no memory"}]
        rows = [line for line in joined(ours, theirs).splitlines() if line.startswith("| a |")]
        ratios = [[cell.strip() for cell in row.split("|")][i] for row in rows for i in (4, 5, 8, 11)]
        self.assertEqual(ratios, ["f32", "f32", "0.50", "0.50", "f32", "tf32", "0.25", "0.25",
                                  "f16", "f16", "3.00", "1.00"])

    def test_means_are_geometric_and_per_storage(self):
        ours = [case("a", 1.0, 1.0), case("b", 1.0, 1.0)]
        text = joined(ours, [case("a", 2.0, 1.0), case("b", 8.0, 1.0)])
        self.assertIn("| geometric mean of 2 | | | f32 | f32 | | | 4.00 | | | 1.00 |", text)

    def test_other_sizes_and_other_names_do_not_meet(self):
        for theirs, names in [([case("a", 1.0, 1.0, H=6)], ()), ([case("a", 1.0, 1.0)], ["b"])]:
            with self.assertRaisesRegex(SystemExit, "no case in common"):
                joined([case("a", 1.0, 1.0)], theirs, names)

    def test_layers_and_directions_count_where_a_line_has_them(self):
        ours = [case("a", 1.0, 1.0, L=1, D=1), case("b", 1.0, 1.0, L=2, D=2)]
        text = joined(ours, [case("a", 2.0, 1.0), case("b", 2.0, 1.0), case("b", 3.0, 1.0, L=2, D=2)])
        rows = [[cell.strip() for cell in line.split("|")[1:9]] for line in text.splitlines()[2:-1]]
        self.assertEqual([(row[0], row[2], row[7]) for row in rows],
                         [("a", "2, 3, 4, 5", "2.00"), ("b", "2, 3, 4, 5, 2, 2", "3.00")])

    def test_damaged_files_are_refused_by_line(self):
        good = [case("a", 1.0, 1.0)]
        for bad, words in [("{\n", "line 2"), ("[1]\n", "line 2: expected an object"),
                           ('{"fwd_ms": 1, "train_ms": 1}\n', "line 2: times without 'name'")]:
            with self.assertRaisesRegex(SystemExit, words):
                joined([*good, bad], good)
        with self.assertRaisesRegex(SystemExit, "no line has a case"):
            joined([], good)


if __name__ == "__main__":
    unittest.main()
