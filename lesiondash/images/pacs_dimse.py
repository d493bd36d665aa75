"""DIMSE: C-FIND to search, C-GET (or C-MOVE to a receiver of our own) to fetch."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from lesiondash.errors import PacsError
from lesiondash.images.dicom_slices import quiet
from lesiondash.images.pacs import PacsQuery, PacsSettings, Progress, Receiver, SeriesFound, listed, stop_if
from lesiondash.images.pacs_classes import classes_of

_PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
_COMPRESSED = [
    JPEG2000Lossless,
    JPEG2000,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
]
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve, FIND, MOVE and GET
_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_PENDING = (0xFF00, 0xFF01)
_REASONS = {
    (1, 3): "does not know our AE title; have it added there, or correct it",
    (1, 7): "is not called so; correct its AE title",
    (3, 1): "is busy; try again later",
    (3, 2): "has no free association; try again later",
}


class Dimse:
    """A DIMSE server; see `lesiondash.images.pacs.Pacs`."""

    def __init__(self, ae_title: str, host: str, port: int, settings: PacsSettings, *, tls: bool = False) -> None:
        for title in (ae_title, settings.ae_title):
            if not (0 < len(title.strip()) <= 16 and title.isascii() and title.isprintable() and "\\" not in title):
                raise PacsError("An AE title is 1 to 16 plain characters; correct it.")
        self.ae_title, self.host, self.port, self.settings, self.tls = ae_title, host, port, settings, tls
        self._name = f"{host}:{port}"

    def search(self, query: PacsQuery, stop: threading.Event | None = None) -> list[SeriesFound]:
        """Return the series of a patient or an accession number, by study and number."""
        studies = Dataset()
        studies.QueryRetrieveLevel = "STUDY"
        studies.PatientID = query.patient_id.strip()
        studies.AccessionNumber = query.accession_number.strip()
        studies.StudyInstanceUID = studies.StudyDate = ""
        rows = []
        with self._association([(_FIND, _PLAIN)]) as association:
            for study in self._find(association, studies, stop):
                asked = Dataset()
                asked.QueryRetrieveLevel = "SERIES"
                asked.StudyInstanceUID = study.StudyInstanceUID
                asked.Modality = query.modality
                for name in ("SeriesInstanceUID", "BodyPartExamined", "SeriesNumber", "NumberOfSeriesRelatedInstances"):
                    setattr(asked, name, None if name.startswith("Number") or name == "SeriesNumber" else "")
                rows += [_row(study, series) for series in self._find(association, asked, stop)]
        return listed(rows)

    def fetch(
        self, series: SeriesFound, folder: Path, progress: Progress | None = None, stop: threading.Event | None = None
    ) -> list[Path]:
        """Write every instance of a series as a file into `folder` and return the files, all or none."""
        failure: list[Exception] = []

        with Receiver(series, folder, self.settings.max_bytes, progress) as receiver:

            def store(event: Any) -> int:
                try:
                    stop_if(stop)
                    uid = str(event.dataset.SeriesInstanceUID)
                    instance_uid = str(event.request.AffectedSOPInstanceUID)
                    receiver.take(uid, instance_uid, lambda path: path.write_bytes(event.encoded_dataset()))
                except Exception as error:  # told once, after the association: here it would go to a log only
                    failure.append(error)
                    return 0xA700
                return 0x0000

            asked = Dataset()
            asked.QueryRetrieveLevel = "SERIES"
            asked.StudyInstanceUID, asked.SeriesInstanceUID = series.study_uid, series.series_uid
            fetch = self._get if self.settings.move_port is None else self._move
            classes = classes_of(series.modality)
            whole = fetch(asked, classes, store, lambda: bool(failure) or (stop is not None and stop.is_set()))
            stop_if(stop)
            if failure:
                raise failure[0] if isinstance(failure[0], PacsError) else self._garbage()
            return receiver.finish(whole=whole)

    def _get(
        self, asked: Dataset, classes: tuple[UID, ...], store: Callable[[Any], int], over: Callable[[], bool]
    ) -> bool:
        from pynetdicom import build_role, evt

        # One context for each syntax: a server that keeps J2K sends J2K, and need not transcode.
        syntaxes = [_PLAIN, *([syntax] for syntax in _COMPRESSED)]
        contexts = [(_GET, _PLAIN), *((image, each) for image in classes for each in syntaxes)]
        roles = [build_role(image, scp_role=True) for image in classes]
        with self._association(contexts, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, store)]) as association:
            return self._follow(association, association.send_c_get(asked, _GET), over)

    def _move(
        self, asked: Dataset, classes: tuple[UID, ...], store: Callable[[Any], int], over: Callable[[], bool]
    ) -> bool:
        from pynetdicom import AE, evt

        port = self.settings.move_port
        assert port is not None
        receiver = AE(self.settings.ae_title)
        receiver.require_called_aet = True
        for image in classes:
            receiver.add_supported_context(image, [*_COMPRESSED, *_PLAIN])
        try:
            server = receiver.start_server(("", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        except OSError:
            raise PacsError(f"Port {port} is in use; give another to receive on.") from None
        try:
            with self._association([(_MOVE, _PLAIN)]) as association:
                answers = association.send_c_move(asked, self.settings.ae_title, _MOVE)
                return self._follow(association, answers, over)
        finally:
            if server is not None:
                server.shutdown()

    def _follow(self, association: Any, answers: Iterator[Any], over: Callable[[], bool]) -> bool:
        """Read the answers of a retrieval to its end, or abort it when it is over before; return whether all came."""
        code = None
        for status, _ in answers:
            code = getattr(status, "Status", None)
            if over():
                association.abort()
                return False
        if over():
            return False
        if code == 0xA801:
            raise PacsError(
                f"The server {self._name} does not know where our AE title is (C-MOVE); have it added there, "
                "or fetch without a port to receive on."
            )
        if code not in (0x0000, 0xB000):  # B000: some were refused
            raise self._broken(code)
        return bool(code == 0x0000)

    def _find(self, association: Any, asked: Dataset, stop: threading.Event | None) -> list[Dataset]:
        found, code = [], None
        for status, dataset in association.send_c_find(asked, _FIND):
            stop_if(stop)
            code = getattr(status, "Status", None)
            if code in _PENDING and dataset is not None:
                found.append(dataset)
        if code != 0x0000:
            raise self._broken(code)
        return found

    @contextmanager
    def _association(self, contexts: list[tuple[str, list[Any]]], **how: Any) -> Iterator[Any]:
        from pynetdicom import AE

        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it logs the query: the patient's ID
        entity = AE(self.settings.ae_title)
        limit = self.settings.timeout_s
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = limit
        for syntax, transfer in contexts:
            entity.add_requested_context(syntax, transfer)
        if self.tls:
            how["tls_args"] = (ssl.create_default_context(), self.host)
        association = entity.associate(self.host, self.port, ae_title=self.ae_title, **how)
        try:
            if not association.is_established:
                raise PacsError(self._unanswered(association))
            with quiet():
                yield association
        except (PacsError, MemoryError):
            raise
        except Exception:  # what its parsers and state machine raise on garbage
            raise self._garbage() from None
        finally:
            if association.is_established:
                association.release()

    def _unanswered(self, association: Any) -> str:
        if association.is_rejected:
            answer = association.acceptor.primitive
            source, reason = getattr(answer, "result_source", 0), getattr(answer, "diagnostic", 0)
            said = _REASONS.get((source, reason), "refused the association; check both AE titles with who runs it")
            return f"The server {self._name} {said}."
        if association.is_aborted:
            return (
                f"The server {self._name} cannot be reached, broke off, or does not speak DICOM; check address and "
                "port" + (", and its certificate (TLS)." if self.tls else ".")
            )
        return f"The server {self._name} offers no search or retrieval of studies; ask who runs it."

    def _broken(self, code: int | None) -> PacsError:
        if code is None:
            limit = self.settings.timeout_s
            return PacsError(
                f"The server {self._name} broke off, or was silent for {limit:g} s; check that it knows our AE title."
            )
        return PacsError(f"The server {self._name} could not do it (DICOM status {code:04X}); ask who runs it.")

    def _garbage(self) -> PacsError:
        return PacsError(f"The server {self._name} sent what is not DICOM; check the address and the port.")


def _row(study: Dataset, series: Dataset) -> dict[str, Any]:
    return {
        "study_uid": str(study.get("StudyInstanceUID", "")),
        "series_uid": str(series.get("SeriesInstanceUID", "")),
        "date": study.get("StudyDate", ""),
        "modality": series.get("Modality", ""),
        "body_part": series.get("BodyPartExamined", ""),
        "number": series.get("SeriesNumber", ""),
        "instances": series.get("NumberOfSeriesRelatedInstances", ""),
    }
