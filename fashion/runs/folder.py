"""The folder of a run: the name of every file in it, and the one reader and writer of each.

::

    fashion_mnist_model.keras, .json   the artifact: the model and its card (``fashion.artifact``)
    best.keras                         the best epoch's model (named in ``configs/callbacks/default.yaml``)
    history.csv                        one line for each epoch
    resume.npz                         everything to resume from; gone once the run is completed
    run.json                           when, where and with what it ran
    result.json                        how it ended: its absence means that it runs, or was killed
    report.html, metrics.json          the test images' evaluation (``fashion.evaluation.report``)
    training_curves.png                loss and accuracy by epoch
    confusion_matrix.png               of the test images
    train.log                          what the terminal showed, with times (``configs/hydra/job_logging``)
    mlflow_run.txt                     the run's id in MLflow
    .hydra/                            config.yaml and overrides.yaml, written by Hydra when the run starts
    .lock                              held while a process trains here (``fashion.files.alone_in``)

In a job of a sweep also:

::

    output.log                         what the job's process printed
    prune                              the search asks for the job's end
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pydantic
import yaml

from fashion.errors import InputError
from fashion.files import LOCK_FILE, alone_in, remove_partial_files, replacing, write_json, write_text
from fashion.runs.result import EndStatus, RunResult
from fashion.runs.resume_state import ResumeState, TrainingProgress
from fashion.runs.run_record import RunRecord
