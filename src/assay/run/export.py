"""The export stage: weights for elsewhere, in files that are loaded back and compared before they count."""

import copy
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.utils.data import default_collate

from assay.config.schema import TrainConfig
from assay.errors import RunFailed, UserError
from assay.run.parts import Run
from assay.training.atomic import write_durably

SAMPLES = 1_000  # of the test, whose logits are compared
LARGEST = 1e-5  # difference of logits that may be, of the largest one
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime")}
Forward = Callable[[Tensor], Tensor]


def check(config: TrainConfig) -> None:
    """Raises `UserError` where the package that a format needs is not installed."""
    for format in config.export.formats:
        missing = [name for name in NEEDED.get(format, ()) if find_spec(name) is None]
        if missing:
            raise UserError(
                f"export.formats: {format} needs {', '.join(missing)}\n"
                "  install what is missing: pip install -e '.[export]'"
            )


def export(run: Run) -> dict[str, dict[str, Any]]:
    """Each format's file, and how much its logits differ from the checkpoint's at most.

    Raises `RunFailed` for one that differs by more than the rounding of float32.
    """
    model, folder = copy.deepcopy(run.parts.learner.model).cpu().float().eval(), run.folder.path / "export"
    folder.mkdir(exist_ok=True)
    split: Any = run.parts.data.split("test")
    samples: Tensor = default_collate([split[at][0] for at in range(min(SAMPLES, len(split)))])
    with torch.inference_mode():
        logits = model(samples)
    results: dict[str, dict[str, Any]] = {}
    for format in run.config.export.formats:
        write, name = FORMATS[format]
        with torch.no_grad():
            again = write(model, samples[:2], folder / name)
            differences = [
                (again(samples[:count]) - logits[:count]).abs().max() for count in (1, len(samples))
            ]
        difference = float(max(differences)) / max(1.0, float(logits.abs().max()))
        if not difference <= LARGEST:
            (folder / name).unlink()
            raise RunFailed(
                f"export: {name}, loaded back, gives other logits: {difference:.2g} of the largest"
            )
        results[format] = {"file": f"export/{name}", "difference": difference, "samples": len(samples)}
        run.console.print(
            f"export  {folder / name}: the same logits on {len(samples):,} samples, within {difference:.1g}",
            highlight=False,
            soft_wrap=True,
        )
        if format in EXAMPLES:
            file, text = EXAMPLES[format]
            shape = (1, *run.parts.data.source.in_shape)
            write_durably(folder / file, text.format(shape=shape).encode())
    return results


def _safetensors(model: nn.Module, samples: Tensor, file: Path) -> Forward:
    write_durably(file, save({name: tensor.clone() for name, tensor in model.state_dict().items()}))
    again = copy.deepcopy(model)
    for parameter in again.parameters():
        parameter.data.fill_(torch.nan)
    again.load_state_dict(load_file(file))
    return again


def _program(model: nn.Module, samples: Tensor, file: Path) -> Forward:
    batch = {0: torch.export.Dim("batch")}
    torch.export.save(torch.export.export(model, (samples,), dynamic_shapes=(batch,)), file)
    return torch.export.load(file).module()


def _onnx(model: nn.Module, samples: Tensor, file: Path) -> Forward:
    import onnxruntime

    with warnings.catch_warnings():  # of the exporter's own, about its own insides
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (samples,),
            str(file),
            input_names=["input"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(["logits"], {"input": inputs.numpy()})[0])


FORMATS: dict[str, tuple[Callable[[nn.Module, Tensor, Path], Forward], str]] = {
    "safetensors": (_safetensors, "model.safetensors"),
    "pt2": (_program, "model.pt2"),
    "onnx": (_onnx, "model.onnx"),
}
EXAMPLES = {
    "pt2": (
        "example.py",
        '''"""Logits of one sample by torch alone; run it in this folder."""

import torch

program = torch.export.load("model.pt2").module()
sample = torch.zeros{shape}
print(program(sample))
''',
    ),
    "onnx": (
        "example_onnx.py",
        '''"""Logits of one sample by onnxruntime; run it in this folder."""

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
sample = np.zeros({shape}, np.float32)
print(session.run(["logits"], {{"input": sample}})[0])
''',
    ),
}
