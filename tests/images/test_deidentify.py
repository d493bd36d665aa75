from __future__ import annotations

import dataclasses
import io
import json
import logging
import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from ct_files import ct_dataset
from marked_files import DAY_MARK, MARK, UID_MARK, marked_dataset, marks_in
from pydicom import Dataset
from running import run_cli

from lesiondash.errors import ScanError
from lesiondash.images.deidentify import remap_uid
from lesiondash.images.dicom import load_dicom
from lesiondash.records import Series


def written(dataset: object) -> bytes:
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)  # type: ignore[attr-defined]
    return content.getvalue()


def all_text(series: Series) -> str:
    """Everything that a series holds beside its pixels."""
    facts = {each.name: getattr(series, each.name) for each in dataclasses.fields(series) if each.name != "hu"}
    return json.dumps(facts, default=lambda value: getattr(value, "__dict__", str(value)))


def value_of(series: Series, name: str) -> str:
    return next(item.value for item in series.header if item.name == name)


def test_no_mark_is_kept(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    reading = load_dicom([written(marked_dataset()), written(marked_dataset(1.0, 2))])
    (series,) = reading.series
    assert len(series) == 2
    assert marks_in(all_text(series)) == []
    assert marks_in(caplog.text + "".join(capfd.readouterr())) == []
    assert {"Patient's Name", "Patient ID", "Patient's Age", "Private elements"} <= set(series.removed)
    assert "Convolution Kernel" in series.removed, "a kept element that holds a word of the name is not kept"
    assert value_of(series, "Software Versions") == "07MW18.4"
    assert value_of(series, "Rescale Intercept") == "-1024"
    assert [item.tag for item in series.header] == sorted(item.tag for item in series.header)


def test_private_elements_are_listed_by_tag_and_without_value() -> None:
    (series,) = load_dicom(written(marked_dataset())).series
    private = [item for item in series.header if item.private]
    assert {item.tag for item in private} >= {"(0011,1001)", "(0011,1002)", "(0009,1001)"}
    assert all(item.value == "" for item in private)
    assert {item.name for item in private} >= {"Private element", "Full fidelity"}


def test_uids_are_remapped_one_way_and_the_same_each_time() -> None:
    (series,) = load_dicom([written(marked_dataset(z, n)) for n, z in enumerate((0.0, 1.0), 1)]).series
    assert series.source is not None
    assert series.source.study_uid == remap_uid(f"{UID_MARK}.1")
    assert series.source.frame_of_reference_uid == remap_uid(f"{UID_MARK}.3")
    assert series.source.sop_instance_uids == tuple(remap_uid(f"{UID_MARK}.4.{number}") for number in (1, 2))
    assert series.source.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert value_of(series, "Study Instance UID") == series.source.study_uid
    for uid in (series.source.study_uid, *series.source.sop_instance_uids):
        assert uid.startswith("2.25.")
        assert len(uid) <= 64
        assert int(uid.split(".")[2]) < 2**128
    assert remap_uid("") == ""


def test_dates_are_shifted_alike_for_one_patient() -> None:
    def shown(patient: str, day: str) -> date:
        dataset = ct_dataset(np.zeros((4, 6)), PatientID=patient, StudyDate=day)
        text = value_of(load_dicom(written(dataset)).series[0], "Study Date")
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))

    first, later = shown("A1", DAY_MARK), shown("A1", "20010210")
    assert (later - first).days == 7
    assert first < date(2001, 2, 3)
    assert shown("B2", DAY_MARK) != first


def test_a_word_of_the_name_alone_is_found_in_what_a_machine_writes() -> None:
    dataset = ct_dataset(np.zeros((4, 6)), PatientName="Doe^Jane", ConvolutionKernel="B30 JANE", SequenceName="fl2d")
    (series,) = load_dicom(written(dataset)).series
    assert "Convolution Kernel" in series.removed
    assert value_of(series, "Sequence Name") == "fl2d"


def test_without_an_id_the_whole_name_tells_by_how_much_dates_are_shifted() -> None:
    def shown(name: str) -> str:
        dataset = ct_dataset(np.zeros((4, 6)), PatientName=name, PatientID=None, StudyDate=DAY_MARK)
        return value_of(load_dicom(written(dataset)).series[0], "Study Date")

    assert shown("Doe^Jane") == shown("Doe^Jane") != shown("Dee^Jane")


def test_a_date_or_number_that_is_a_text_is_removed() -> None:
    dataset = marked_dataset(StudyDate="")
    content = written(dataset).replace(b"1\\0 \\0", b"1\\0 \\0")
    place = content.index(b"\x18\x00\x50\x00DS") + 8  # SliceThickness
    content = content[:place] + b"QZ" + content[place + 2 :]
    (series,) = load_dicom(content).series
    assert "Slice Thickness" in series.removed
    assert marks_in(all_text(series)) == []


def test_no_error_names_anybody(tmp_path: Path) -> None:
    whole = written(marked_dataset())
    rng = np.random.default_rng(1)
    for length in (200, 3000, len(whole) // 2, len(whole) - 500):
        with pytest.raises(ScanError) as caught:
            load_dicom(whole[:length])
        assert marks_in(str(caught.value)) == []
    for changes in ({"Modality": MARK}, {"Modality": "SR"}, {"SamplesPerPixel": 3}, {"Rows": 9}):
        for _ in range(10):
            content = bytearray(written(marked_dataset(**changes)))
            content[int(rng.integers(132, len(content)))] ^= 255
            try:
                text = "".join(all_text(series) for series in load_dicom(bytes(content)).series)
            except ScanError as error:
                text = str(error)
            assert marks_in(text) == []
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr(f"{MARK}/a.dcm", b"nothing")
    with pytest.raises(ScanError) as caught:
        load_dicom(tmp_path / "scan.zip")
    assert marks_in(str(caught.value)) == [], "folders within a zip are not repeated"


def test_the_command_line_names_nobody(demonstration: Path, tmp_path: Path) -> None:
    path = tmp_path / "scan.dcm"
    path.write_bytes(written(marked_dataset()))
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:-900])
    done = run_cli("search", str(tmp_path), "--box", "10,10,40,40", "--json", data=demonstration)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 9
    assert "cut.dcm is cut short" in done.stderr
    assert marks_in(done.stdout + done.stderr) == []


def test_functional_groups_are_shown_with_whose_they_are_and_without_names() -> None:
    dataset = marked_dataset()
    frame, shared, exposure, spacing = Dataset(), Dataset(), Dataset(), Dataset()
    exposure.ConvolutionKernel, exposure.FrameComments = f"B30 {MARK}", MARK
    spacing.SliceThickness = 2.5
    shared.CTReconstructionSequence, shared.PixelMeasuresSequence = [exposure], [spacing]
    spacing.add_new(0x00290010, "LO", MARK)
    frame.CTExposureSequence = [Dataset()]
    frame.CTExposureSequence[0].CTDIvol = 7.25
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], [frame]
    (series,) = load_dicom([written(dataset)]).series
    assert value_of(series, "Slice Thickness, all frames") == "2.5"
    assert value_of(series, "CTDIvol, first frame") == "7.25"
    assert {"Frame Comments", "Convolution Kernel", "Private elements"} <= set(series.removed)
    assert marks_in(all_text(series)) == []
    assert [item.tag for item in series.header] == sorted(item.tag for item in series.header)
