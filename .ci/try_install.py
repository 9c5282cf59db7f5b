"""Use an installed package as its user would, and say where it lies: the smoke test of every kind of installation."""

import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

import model_checkpoint as mc


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "weights.safetensors"))
        saved = {"weight": np.arange(1_000_000, dtype=np.float32), "bias": np.zeros(0, np.float64)}
        mc.save_file(saved, path)
        loaded = mc.load_file(path, framework="numpy", verify="full")
        assert saved.keys() == loaded.keys()
        for name, array in saved.items():
            np.testing.assert_array_equal(array, loaded[name], strict=True)
    assert mc.__version__ == version("model-checkpoint-engine")
    subprocess.run([str(Path(sysconfig.get_path("scripts"), "mckpt")), "--help"], check=True, stdout=subprocess.DEVNULL)
    print(f"model-checkpoint-engine {mc.__version__} works, on Python {sys.version.split()[0]}")
    print(Path(mc.__file__).parent)


if __name__ == "__main__":
    main()
