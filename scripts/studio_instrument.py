"""Write the instrument that the front page plays: the distilled network, with its configuration. Chapter 8.

    python scripts/studio_instrument.py book/_static/studio

The weights are those of the shipped checkpoint, bit for bit, so what the page plays is what Python plays.
"""

import argparse
import base64
from pathlib import Path

from safetensors.torch import load_file, save

from musicai.pretrained import CONFIG, WEIGHTS, resolve


def write_instrument(folder: str | Path, model: str | Path = "distilled-instrument") -> Path:
    """Write the network as `instrument.data.js`.

    >>> write_instrument("book/_static/studio")  # doctest: +SKIP

    Args:
        folder: where to.
        model: the checkpoint of a `DistilledInstrument`: a folder, or the name of a shipped one.

    Returns: the file, which sets `STUDIO_DATA.instrument` to the bytes that `Instrument` takes, in base64.

    Raises:
        FileNotFoundError: if there is no such folder.
        PretrainedError: if there is no such model.
    """
    source, path = resolve(model), Path(folder) / "instrument.data.js"
    weights = {name: tensor.half() for name, tensor in load_file(source / WEIGHTS).items()}
    text = base64.b64encode(save(weights, metadata={"config": (source / CONFIG).read_text()})).decode()
    path.write_text(f'globalThis.STUDIO_DATA = {{ ...globalThis.STUDIO_DATA, instrument: "{text}" }};\n')
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(write_instrument(parser.parse_args().folder))
