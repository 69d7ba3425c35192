"""Files of weights as safetensors has them, without the library."""

import json
import math
from pathlib import Path


def weights_write(path: Path, shapes: dict[str, tuple[int, ...]], *, whole: bool = True) -> None:
    """Write zeros of these shapes; without `whole` the header alone, for models that would not fit."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, shape in shapes.items():
        end = start + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
        start = end
    content = json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + (bytes(start) if whole else b""))
