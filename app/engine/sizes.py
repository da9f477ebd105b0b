"""Lets a model of pictures of one size see pictures of others."""

from pathlib import Path

import onnx


def of_any_size(path: Path) -> bytes:
    """An ONNX file with the height and width of its input left open, and all sizes that follow from them.

    For fully convolutional networks: ONNX Runtime refuses an input of another size than the file names,
    OpenCV, for which such files are made, does not.
    """
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        for axis in value.type.tensor_type.shape.dim[1:]:
            axis.Clear()
    channels = model.graph.input[0].type.tensor_type.shape.dim[1]
    channels.dim_value = 3
    del model.graph.value_info[:]
    data: bytes = model.SerializeToString()
    return data
