"""Write the tune model and the chords' tables for the front page: weights as int8 with a scale per row. Chapter 8.

python scripts/studio_tunes.py book/_static/studio
"""

import argparse
import base64
import json
from pathlib import Path

import numpy as np
from torch import nn

from musicai.composition import TuneWaveNet
from musicai.composition.harmony import load_tables


def stored_tensors(model: nn.Module) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Each tensor as it is stored: matrices as int8 (rows, columns) with a float32 scale per row, vectors as float32.

    The convolutions' two taps become one matrix that is applied to the earlier input, followed by the later one.
    """
    found = {}
    for name, tensor in model.named_parameters():
        values = tensor.detach().float().numpy()
        if values.ndim == 1:
            found[name] = values, None
            continue
        values = values.swapaxes(1, -1).reshape(len(values), -1) if values.ndim == 3 else values
        scales = np.abs(values).max(1, keepdims=True) / 127
        scales[scales == 0] = 1
        found[name] = np.rint(values / scales).astype(np.int8), scales
    return found


def pack_tunes(model: TuneWaveNet) -> bytes:
    """The model and the chords' tables: the length of a header, the header in JSON, and the tensors; see layers.js."""
    tensors = stored_tensors(model)
    for name, table in load_tables("chords").items():
        tensors[f"chords.{name}"] = table.reshape(-1, table.shape[-1]).astype(np.float32), None
    rows = [{"name": n, "type": str(v.dtype), "shape": v.shape} for n, (v, _) in tensors.items()]
    sizes = {name: getattr(model.config, name) for name in ("width", "skip", "slot", "hidden", "layers")}
    header = json.dumps({"config": sizes, "tensors": rows}, separators=(",", ":")).encode()
    stored = [part for values, scales in tensors.values() for part in (scales, values) if part is not None]
    return b"".join([len(header).to_bytes(4, "little"), header, *(part.tobytes() for part in stored)])


def write_tunes(folder: str | Path) -> None:
    """Write tunes.data.js, with the shipped model, into a folder."""
    text = base64.b64encode(pack_tunes(TuneWaveNet.from_pretrained("tunes"))).decode()
    line = f'globalThis.STUDIO_DATA = {{ ...globalThis.STUDIO_DATA, tunes: "{text}" }};\n'
    Path(folder, "tunes.data.js").write_text(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="where to write tunes.data.js")
    write_tunes(parser.parse_args().folder)
