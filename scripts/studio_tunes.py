"""Write the tune model for the front page: int8 weights with a scale per row, as network.js of the studio reads them.

python scripts/studio_tunes.py book/_static/studio
"""

import argparse
import base64
import json
from pathlib import Path

import numpy as np
from torch import nn

from musicai.composition import TuneWaveNet


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
    """All that `TuneNetwork` in network.js needs: the length of a header, the header in JSON, and the tensors."""
    tensors = stored_tensors(model)
    rows = [{"name": n, "type": str(v.dtype), "shape": v.shape} for n, (v, _) in tensors.items()]
    sizes = {name: getattr(model.config, name) for name in ("width", "skip", "slot", "hidden", "layers")}
    header = json.dumps({"config": sizes, "tensors": rows}, separators=(",", ":")).encode()
    parts = [
        b"" if part is None else part.tobytes() for values, scales in tensors.values() for part in (scales, values)
    ]
    return b"".join([len(header).to_bytes(4, "little"), header, *parts])


def write_tunes(folder: str | Path) -> None:
    """Write tunes.data.js, from the shipped model, into a folder."""
    text = base64.b64encode(pack_tunes(TuneWaveNet.from_pretrained("tunes"))).decode()
    line = f'globalThis.STUDIO_DATA = {{ ...globalThis.STUDIO_DATA, tunes: "{text}" }};\n'
    Path(folder, "tunes.data.js").write_text(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="where to write tunes.data.js")
    write_tunes(parser.parse_args().folder)
