"""Program that writes the numeric arrays of a TensorFlow checkpoint, by name, as safetensors to the standard output.

It runs in a separate process: TensorFlow and PyTorch each contain a copy of LLVM, and a process with both is aborted.
"""

import os
import sys

import numpy as np
from safetensors.numpy import save


def arrays(path: str) -> dict[str, np.ndarray]:
    """Return the numeric arrays of a checkpoint; of a folder, those of its last checkpoint."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else it logs the features of the processor
    import tensorflow as tf

    reader = tf.train.load_checkpoint(path)
    numeric = [name for name, kind in reader.get_variable_to_dtype_map().items() if kind.is_floating or kind.is_integer]
    return {name: np.asarray(reader.get_tensor(name)) for name in numeric}


if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(save(arrays(sys.argv[1])))
    except Exception as error:  # TensorFlow's exceptions have no common class
        sys.exit(" ".join(str(error).split())[:200])
