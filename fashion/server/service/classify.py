"""Classification: from an uploaded image or an array to an answer with its confidence and decision."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from werkzeug.exceptions import HTTPException

from fashion.inference import attribution
from fashion.inference.tta import predict_with_tta
from fashion.preprocessing.model_input import ModelInput
from fashion.server.service import uploads
from fashion.server.service.admission import AdmissionControl
from fashion.server.service.monitoring import Monitor, log_context
from fashion.server.service.served_model import ServedModel
from fashion.uncertainty.posthoc import Judgement, Prediction, also_likely


class Classification(NamedTuple):
    """The model's answer to one image, judged once and used by every response, page, log and metric.

    Attributes:
        predicted_class: The most probable class.
        class_index: Its place in the order of the probabilities.
        confidence: Its calibrated probability.
        probabilities: The calibrated probability of each class, in the model's order.
        also_likely: Other classes that are nearly as probable, the most probable first.
        judgement: Whether the model accepts the image or abstains, with the score and the threshold.
        steps: What preprocessing did, one phrase per step.
    """

    predicted_class: str
    class_index: int
    confidence: float
    probabilities: dict[str, float]
    also_likely: list[str]
    judgement: Judgement
    steps: tuple[str, ...]

    @property
    def decision(self) -> Literal["accept", "abstain"]:
        """``accept`` or ``abstain``."""
        return self.judgement.decision


class Classifier:
    """Classifies images with the served model.

    Args:
        model: The served model.
        admission: Limits how many requests are processed at the same time.
        monitor: Measures the stages, and counts the results.
    """

    def __init__(self, model: ServedModel, admission: AdmissionControl, monitor: Monitor) -> None:
        self._model = model
        self._admission = admission
        self._monitor = monitor

    def classify_upload(
        self, content: bytes, thumbnail_side: int | None = None
    ) -> tuple[Classification, uploads.Upload]:
        """Classify one uploaded image, and note the result in the request's log context.

        Args:
            content: The uploaded bytes.
            thumbnail_side: Longest side of the thumbnail in pixels; None for no thumbnail.

        Raises:
            HTTPException: If the image cannot be read, or too many requests are waiting.
        """
        with self._admission.admit():
            return self._classify_upload(content, thumbnail_side)

    def explain_upload(self, content: bytes, thumbnail_side: int) -> tuple[Classification, uploads.Upload, np.ndarray]:
        """Classify one uploaded image, and find what drives the prediction; admitted once for both.

        Args:
            content: The uploaded bytes.
            thumbnail_side: Longest side of the thumbnail in pixels.

        Returns:
            Also how much each pixel supports the class, by occlusion: ``(h, w)`` float32 in [0, 1].

        Raises:
            HTTPException: If the image cannot be read, or too many requests are waiting.
        """
        with self._admission.admit():
            result, upload = self._classify_upload(content, thumbnail_side)
            sensitivity = attribution.occlusion_sensitivity(
                self._model.probabilities,
                upload.model_input.pixels,
                result.class_index,
                self._model.card.data.pixel_mean,
            )
        return result, upload, sensitivity

    def classify_batch(self, contents: Iterable[bytes]) -> list[Classification | HTTPException]:
        """Classify several uploaded images; one that cannot be read yields its error instead.

        Raises:
            UnavailableError: If too many requests are waiting.
        """
        results: list[HTTPException | None] = []
        inputs: list[ModelInput] = []
        with self._admission.admit():
            with self._admission.decode_slot():
                for content in contents:
                    try:
                        upload = uploads.read(content, self._model.input, self._admission, self._monitor)
                        inputs.append(upload.model_input)
                        results.append(None)
                    except HTTPException as error:
                        results.append(error)
            classified = iter(self.classify(inputs) if inputs else ())
        return [next(classified) if result is None else result for result in results]

    def classify(self, inputs: Sequence[ModelInput]) -> list[Classification]:
        """Classify model inputs, and count the results.

        Raises:
            UnavailableError: While the model is being loaded.
        """
        with self._monitor.stage("infer"):
            prediction = predict_with_tta(inputs, self._model.predict)
        results = [self._result(prediction, row, model_input) for row, model_input in enumerate(inputs)]
        for result in results:
            self._monitor.count_classification(result.predicted_class, result.confidence, result.decision)
        return results

    def _classify_upload(self, content: bytes, thumbnail_side: int | None) -> tuple[Classification, uploads.Upload]:
        with self._admission.decode_slot():
            upload = uploads.read(content, self._model.input, self._admission, self._monitor, thumbnail_side)
        context = log_context()
        context.picture_sha256 = upload.sha256
        (result,) = self.classify([upload.model_input])
        context.predicted_class, context.confidence = result.predicted_class, result.confidence
        context.decision = result.decision
        return result, upload

    def _result(self, prediction: Prediction, row: int, model_input: ModelInput) -> Classification:
        classes, probabilities = self._model.classes, prediction.probabilities[row]
        index = int(probabilities.argmax())
        return Classification(
            predicted_class=classes[index],
            class_index=index,
            confidence=float(probabilities[index]),
            probabilities=dict(zip(classes, probabilities.tolist(), strict=True)),
            also_likely=[classes[other] for other in also_likely(probabilities)],
            judgement=self._model.uncertainty.judge(prediction, row, photo=model_input.is_photo),
            steps=model_input.steps,
        )
