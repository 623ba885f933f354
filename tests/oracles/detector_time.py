"""How long a small detector takes for a picture: our files, and torchvision's nearest network.

    zoo train faster_rcnn_small
    python tests/oracles/detector_time.py runs/faster_rcnn_small [--side 96] [--threads 2]

Ours has proposals, boxes and suppression inside the file; what was trained on pictures of 64 pixels
reads any side. torchvision's is the smallest that it
has, Faster R-CNN on MobileNetV3-Large-320 with a pyramid, of as many regions as ours; from a torch
for the CPU its compiled suppression and alignment are missing, so both are written in torch here,
and their time is told apart. Calls take turns: one of each, round by round.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

REGIONS, BOXES = 32, 10
SPENT = {"seconds": 0.0}  # within what torchvision lacks here


def ours(bundle, side, threads):
    """The calls of our files, and the parameters."""
    import export
    import zoo
    from zoo.models.saved import load_model

    model = zoo.create("faster_rcnn_small", input_shape=(side, side, 3))
    model.set_weights(load_model(bundle).get_weights())
    picture = np.random.RandomState(0).uniform(size=(1, side, side, 3)).astype("float32")
    calls = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in ("tflite", "onnx"):
            made = export.export(model, target, Path(folder, target), samples=picture)
            calls[f"ours, {target}"] = call(target, made.path, picture, threads)
    return calls, model.count_params()


def call(target, folder, picture, threads):
    """A function that answers for the picture, of one file."""
    if target == "tflite":
        from ai_edge_litert.interpreter import Interpreter

        content = next(folder.glob("*.tflite")).read_bytes()
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        place = interpreter.get_input_details()[0]["index"]

        def ask():
            interpreter.set_tensor(place, picture)
            interpreter.invoke()

        return ask
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    content = next(folder.glob("*.onnx")).read_bytes()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: picture})


def timed(function):
    """The function, whose seconds are counted in `SPENT`."""

    def run(*arguments):
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            SPENT["seconds"] += time.perf_counter() - start

    return run


def torchvisions(side, threads):
    """The call of torchvision's detector, its parameters, and what must stay alive."""
    import torch

    torch.set_num_threads(threads)
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
        "int pooled_width, int sampling_ratio, bool aligned) -> Tensor"
    )
    from torchvision.models import detection
    from torchvision.ops import boxes

    align = sys.modules["torchvision.ops.roi_align"]
    boxes._assert_has_ops = align._assert_has_ops = lambda: None

    def suppress(dets, scores, threshold):
        kept, order = [], scores.argsort(descending=True)
        while len(order):
            kept.append(order[0])
            overlap = boxes.box_iou(dets[order[:1]], dets[order[1:]])[0]
            order = order[1:][overlap <= threshold]
        return torch.stack(kept) if kept else order

    library.impl("nms", timed(suppress), "CPU")
    library.impl("roi_align", timed(align._roi_align), "CPU")
    net = detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=11, min_size=side, max_size=side,
        rpn_pre_nms_top_n_test=2 * REGIONS, rpn_post_nms_top_n_test=REGIONS,
        box_detections_per_img=BOXES, box_score_thresh=0.0,
    )  # fmt: skip
    net.eval()
    picture = torch.rand(3, side, side)

    def ask():
        with torch.inference_mode():
            net([picture])

    return ask, sum(weight.numel() for weight in net.parameters()), library


def say(line):
    sys.stdout.write(line + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    mine, count = ours(given.bundle, given.side, given.threads)
    theirs, their_count, _alive = torchvisions(given.side, given.threads)
    calls = mine | {"torchvision": theirs}
    times = {name: [] for name in calls}
    missing = []
    for turn in range(given.rounds + 5):
        for name, ask in calls.items():
            SPENT["seconds"], start = 0.0, time.perf_counter()
            ask()
            if turn >= 5:
                times[name].append(time.perf_counter() - start)
                if name == "torchvision":
                    missing.append(SPENT["seconds"])
    say(f"{given.side}x{given.side}, {given.threads} threads, median of {given.rounds} calls")
    for name, values in times.items():
        ms = 1e3 * statistics.median(values)
        parameters = their_count if name == "torchvision" else count
        say(f"{name:14} {ms:8.2f} ms  {1e3 / ms:7.1f} pictures/s  {parameters:,} parameters")
    say(f"of torchvision's, {1e3 * statistics.median(missing):.2f} ms in what stands in here")


if __name__ == "__main__":
    main()
