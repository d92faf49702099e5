"""Make the demo's data and model: records from scikit-learn, a small network fitted on them, exported to ONNX.

Run: python examples/make_breast_cancer.py [FOLDER]. Needs the test extra. tests/cli/test_cli.py runs it and compares.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(folder: Path) -> None:
    bunch = load_breast_cancer()
    data = bunch.data.astype(np.float32)
    names = [name.replace(" ", "_") for name in bunch.feature_names]
    with (folder / "breast_cancer.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "benign"])
        writer.writerows([*map(str, row), int(label)] for row, label in zip(data, bunch.target, strict=True))
    network = make_pipeline(StandardScaler(), MLPClassifier((64, 32), random_state=0, max_iter=500))
    network.fit(data, bunch.target)
    exported = to_onnx(network, data[:1], options={"zipmap": False}, target_opset=17)
    (folder / "breast_cancer.onnx").write_bytes(exported.SerializeToString())
    print(f"accuracy on the records themselves: {network.score(data, bunch.target):.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "src/propolis/cli/data"))
