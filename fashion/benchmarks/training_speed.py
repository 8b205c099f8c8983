"""How fast this project trains and infers, compared with the baseline, stock Keras and ONNX Runtime, in one run."""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import NotRequired, TypedDict

from matplotlib.axes import Axes

from fashion import machine
from fashion.backend.selection import Precision
from fashion.benchmarks import child
from fashion.benchmarks.contender_process import running
from fashion.benchmarks.contenders import BATCH_SIZE, TrainingSeconds
from fashion.benchmarks.progress import say
from fashion.config.override_text import quote_path
from fashion.figures import saved_figure
from fashion.palette import ACCENT, MUTED, PRIMARY
from fashion.runs.folder import RunFolder

NAMES = {
    "baseline": "baseline, TensorFlow",
    "stock_jax": "stock Keras, JAX",
    "jax": "this project, JAX",
    "tensorflow": "this project, TensorFlow",
    "onnx": "ONNX Runtime",
}
PROJECTS = ("jax", "tensorflow")
PACKAGES = ("keras", "jax", "tensorflow-cpu", "numpy", "onnxruntime")
# A forward pass, and twice as many for the gradients to inputs and to weights; two operations per multiply-add.
OPERATIONS_PER_MULTIPLY_ADD_TRAINED = 6
SLOW = {"stock_jax": 6}  # times fewer steps in a turn, so that turns take equally long
CALLS = {1: 100, BATCH_SIZE: 10}  # inference calls in a turn, by batch size
# The multiply-adds of EfficientNetB0 on 28 x 28 pixels.
MULTIPLY_ADDS = 7_930_000


class Turn(TypedDict):
    """One turn of one contender; ``inference`` has the seconds of a call by batch size and way of calling."""

    training: NotRequired[TrainingSeconds]
    images_per_second: NotRequired[float]
    matrix_product_gflops: NotRequired[float]
    inference: dict[int, dict[str, float]]
    peak_memory_mb: float


class TrainingRates(TypedDict):
    """Training, by contender: medians over the turns, ratios of medians, and the values of each turn.

    The roofline is the rate at which a large matrix product would train. Each turn measures it in its own precision,
    just before and just after the training: where it falls together with the rate, the machine was busy; where the rate
    falls alone, the contender is slow.
    """

    images_per_second: dict[str, float]
    all_images_per_second: dict[str, list[float]]
    first_step_seconds: dict[str, float]
    times_baseline: NotRequired[dict[str, float]]
    times_stock_jax: NotRequired[dict[str, float]]
    matrix_product_gflops: dict[str, float]
    all_matrix_product_gflops: dict[str, list[float]]
    share_of_roofline: dict[str, float]
    all_shares_of_roofline: dict[str, list[float]]


class InferenceRates(TypedDict):
    """Inference at one batch size, by ``CONTENDER.WAY``: medians over the turns."""

    milliseconds: dict[str, float]
    images_per_second: dict[str, float]


class TrainingSpeed(TypedDict):
    """The result of the benchmark; ``inference`` is by batch size, ``start_seconds`` of ``scripts/train.py``."""

    machine: machine.MachineDescription
    precision: Precision
    batch_size: int
    rounds: int
    steps: int
    training: TrainingRates
    peak_memory_mb: dict[str, float]
    inference: dict[str, InferenceRates]
    start_seconds: NotRequired[dict[str, float]]


def measure(rounds: int, steps: int, contenders: tuple[str, ...], precision: Precision = "float32") -> TrainingSpeed:
    """Measure the contenders in turns, each in a process of its own; compilation and warm-up are excluded.

    Args:
        rounds: Turns of each; medians are reported.
        steps: Steps of 128 images a turn.
        contenders: Names from ``CONTENDERS``.
        precision: Precision in which this project trains; the others train in float32.

    Raises:
        InputError: A contender stopped; the message has its last line.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "onnx" in contenders:
            say("exporting the network as ONNX")
            with running("tensorflow", folder) as process:
                process.ask("export")
        turns: dict[str, list[Turn]] = {name: [] for name in contenders}
        for turn in range(rounds):
            for name in contenders:
                turns[name].append(_turn(name, folder, max(3, steps // SLOW.get(name, 1)), precision))
                say(f"round {turn + 1}/{rounds}  {NAMES[name]:<26}{_rate(turns[name][-1])}")
        result: TrainingSpeed = {
            "machine": machine.describe_machine(PACKAGES),
            "precision": precision,
            "batch_size": BATCH_SIZE,
            "rounds": rounds,
            "steps": steps,
            "training": _training({name: of_one for name, of_one in turns.items() if name != "onnx"}),
            "peak_memory_mb": {
                name: statistics.median(turn["peak_memory_mb"] for turn in of_one) for name, of_one in turns.items()
            },
            "inference": _inference(turns),
        }
        if "jax" in contenders:
            result["start_seconds"] = _starts(folder)
        return result


def _turn(name: str, folder: Path, steps: int, precision: Precision) -> Turn:
    """Have one contender train and infer, alone in memory, as it would for a user."""
    overrides = [f"trainer.precision={precision}"] if name in PROJECTS else []
    turn: Turn = {"inference": {}, "peak_memory_mb": 0}
    with running(name, folder, *overrides) as process:
        if name != "onnx":
            before = process.ask("matrix_product")
            turn["training"] = process.ask("train", steps=steps)
            turn["images_per_second"] = steps * BATCH_SIZE / turn["training"]["seconds"]
            turn["matrix_product_gflops"] = (before + process.ask("matrix_product")) / 2
        for batch, calls in CALLS.items():
            turn["inference"][batch] = process.ask("infer", batch=batch, calls=calls)
        turn["peak_memory_mb"] = process.ask("peak_memory_mb")
    return turn


def _rate(turn: Turn) -> str:
    if "images_per_second" not in turn:
        return ""
    return f"{turn['images_per_second']:7.0f} images/s trained, {100 * _share_of_roofline(turn):3.0f} % of the roofline"


def _share_of_roofline(turn: Turn) -> float:
    return turn["images_per_second"] / _roofline(turn["matrix_product_gflops"])


def _roofline(gflops: float) -> float:
    """Return the images/s that a matrix product of this rate would train."""
    return gflops * 1e9 / (OPERATIONS_PER_MULTIPLY_ADD_TRAINED * MULTIPLY_ADDS)


def _training(turns: dict[str, list[Turn]]) -> TrainingRates:
    rates = {name: [turn["images_per_second"] for turn in of_one] for name, of_one in turns.items()}
    products = {name: [turn["matrix_product_gflops"] for turn in of_one] for name, of_one in turns.items()}
    shares = {name: [_share_of_roofline(turn) for turn in of_one] for name, of_one in turns.items()}
    medians = _medians(rates)
    result: TrainingRates = {
        "images_per_second": medians,
        "all_images_per_second": rates,
        "matrix_product_gflops": _medians(products),
        "all_matrix_product_gflops": products,
        "share_of_roofline": _medians(shares),
        "all_shares_of_roofline": shares,
        # Later turns find the first one's compiled programs in the cache.
        "first_step_seconds": {name: of_one[0]["training"]["first_step"] for name, of_one in turns.items()},
    }
    if "baseline" in medians:
        result["times_baseline"] = {name: rate / medians["baseline"] for name, rate in medians.items()}
    if "stock_jax" in medians:
        result["times_stock_jax"] = {name: rate / medians["stock_jax"] for name, rate in medians.items()}
    return result


def _medians(turns: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in turns.items()}


def _inference(turns: dict[str, list[Turn]]) -> dict[str, InferenceRates]:
    result: dict[str, InferenceRates] = {}
    for batch in CALLS:
        medians = {
            f"{name}.{way}": statistics.median(turn["inference"][batch][way] for turn in of_one)
            for name, of_one in turns.items()
            for way in of_one[0]["inference"][batch]
        }
        result[str(batch)] = {
            "milliseconds": {name: 1000 * seconds for name, seconds in medians.items()},
            "images_per_second": {name: batch / seconds for name, seconds in medians.items()},
        }
    return result


def _starts(folder: Path) -> dict[str, float]:
    """Run ``scripts/train.py`` twice with an empty cache: seconds from the start of the process to its first step."""
    seconds = {}
    for name in ("first", "second"):
        say(f"{name} start of scripts/train.py")
        run = folder / f"start_{name}"
        overrides = ["trainer.epochs=1", "data.limit=1000", f"hydra.run.dir={quote_path(run)}"]
        command = [sys.executable, "scripts/train.py", *overrides]
        child.run("scripts/train.py", command, XDG_CACHE_HOME=str(folder / "start_cache"))
        seconds[name] = RunFolder(run).read_record().timings_seconds["start_up"]
    return seconds


def table(result: TrainingSpeed) -> str:
    """Return the result as the lines that a terminal shows."""
    training = result["training"]
    lines = [machine.summarise_machine(result["machine"], result["machine"]["versions"]), ""]
    head = f"training, batch {BATCH_SIZE}"
    lines.append(f"{head:<26}{'images/s':>18}  x baseline  x stock JAX    % of roofline  first step   memory")
    for name, rates in training["all_images_per_second"].items():
        percent = [100 * share for share in training["all_shares_of_roofline"][name]]
        cells = [
            f"{_with_range(rates):>18}",
            f"{training.get('times_baseline', {}).get(name, float('nan')):10.2f}",
            f"{training.get('times_stock_jax', {}).get(name, float('nan')):11.1f}",
            f"{_with_range(percent):>15}",
            f"{training['first_step_seconds'][name]:8.1f} s",
            f"{result['peak_memory_mb'][name]:4.0f} MB",
        ]
        lines.append(f"{NAMES[name]:<26}" + "  ".join(cells))
    lines += _rooflines(result)
    lines += ["", f"{'inference':<40}one image  batch {BATCH_SIZE}"]
    for name in result["inference"]["1"]["milliseconds"]:
        contender, way = name.split(".")
        label = f"{NAMES[contender]}, {'model.predict' if way == 'predict' else 'compiled call'}"
        one = result["inference"]["1"]["milliseconds"][name]
        many = result["inference"][str(BATCH_SIZE)]["images_per_second"][name]
        lines.append(f"{label:<40}{one:6.2f} ms  {many:5.0f} images/s")
    if starts := result.get("start_seconds"):
        lines += [
            "",
            "scripts/train.py on JAX, start to first step: {first:.1f} s; again {second:.1f} s".format(**starts),
        ]
    return "\n".join(lines)


def _with_range(values: list[float]) -> str:
    """Return the median of the turns, and the lowest and highest in brackets."""
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def _rooflines(result: TrainingSpeed) -> list[str]:
    """Return a line for each precision: the matrix products of all its turns."""
    products: dict[str, list[float]] = {}
    for name, values in result["training"]["all_matrix_product_gflops"].items():
        products.setdefault(result["precision"] if name in PROJECTS else "float32", []).extend(values)
    return [
        f"roofline in {precision}: a matrix product of {_with_range(values)} GFLOP/s would train "
        f"{_roofline(statistics.median(values)):.0f} images/s"
        for precision, values in products.items()
    ]


def chart(result: TrainingSpeed, path: Path) -> None:
    """Write bars of training and of inference rates as a PNG."""
    training = result["training"]["images_per_second"]
    inference = {
        name: rate
        for name, rate in result["inference"][str(BATCH_SIZE)]["images_per_second"].items()
        if name.endswith(".compiled")
    }
    with saved_figure(path, 10, 3.6, "EfficientNetB0 on " + result["machine"]["processor"]) as figure:
        left, right = figure.subplots(1, 2)
        _bars(left, training, f"training, images/s (batch {BATCH_SIZE})")
        _bars(right, {name.split(".")[0]: rate for name, rate in inference.items()}, "inference, images/s (batch 128)")


def _bars(axes: Axes, rates: dict[str, float], title: str) -> None:
    names = list(rates)[::-1]
    colors = [{"jax": PRIMARY, "tensorflow": ACCENT}.get(name, MUTED) for name in names]
    bars = axes.barh([NAMES[name] for name in names], [rates[name] for name in names], color=colors)
    axes.bar_label(bars, fmt="{:,.0f}", padding=4)
    axes.set_title(title)
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")


def available() -> tuple[str, ...]:
    """Return the contenders that can run here: ONNX Runtime only where the ``benchmark`` extra is installed."""
    found = [name for name in NAMES if name != "onnx"]
    if {"onnxruntime", "tf2onnx"} <= set(machine.versions(("onnxruntime", "tf2onnx"))):
        found.append("onnx")
    return tuple(found)
