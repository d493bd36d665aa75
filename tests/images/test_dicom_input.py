"""What may be handed over, how far a reading is, and that it can be stopped; passes, headers and what names slices."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ct_files import ct_dataset, enhanced_ct, write_ct, write_series

from lesiondash.errors import ScanError, ScanStopped
from lesiondash.images.deidentify import remap_uid
from lesiondash.images.dicom import load_dicom, read_dicom
from lesiondash.images.dicom_stack import Stack


def written(dataset: Any) -> bytes:
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def test_bytes_open_files_zips_and_paths_give_the_same_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "scan", [0.0, 1.0, 2.0])
    contents = [path.read_bytes() for path in paths]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for number, content in enumerate(contents):
            file.writestr(f"{number}", content)
    opened = [path.open("rb") for path in paths]
    (expected,) = read_dicom(tmp_path / "scan")
    for given in (contents, opened, archive, archive.getvalue(), [io.BytesIO(content) for content in contents], paths):
        (series,) = read_dicom(given)
        np.testing.assert_array_equal(series.hu, expected.hu)
        assert (series.uid, series.positions_mm, series.source) == (expected.uid, (0.0, 1.0, 2.0), expected.source)
    assert not any(file.closed for file in opened), "they are the caller's"


def test_one_file_of_bytes_is_one_slice() -> None:
    (series,) = read_dicom(written(ct_dataset(np.full((4, 6), 1030))))
    assert series.hu.shape == (1, 4, 6)
    with pytest.raises(ScanError, match="file 1 is not a DICOM file"):
        read_dicom(b"a text that is no scan, and is long enough to be looked at as one" * 4)


def test_the_index_of_a_disc_is_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path / "IMAGES", [0.0, 1.0])
    (tmp_path / "DICOMDIR").write_bytes((tmp_path / "IMAGES" / "1.dcm").read_bytes()[:400])
    reading = load_dicom(tmp_path)
    assert len(reading.series[0]) == 2
    assert reading.rejected == ()


def test_a_zip_within_the_folder_is_read_too(tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", np.zeros((4, 6)), 0.0, 1)
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("b.dcm", written(ct_dataset(np.zeros((4, 6)), 1.0, 2)))
    assert len(load_dicom(tmp_path).series[0]) == 2


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
def test_progress_grows_to_the_whole(tmp_path: Path, as_zip: bool) -> None:
    paths = write_series(tmp_path / "scan", [float(z) for z in range(6)])
    given = tmp_path / "scan"
    if as_zip:
        given = tmp_path / "scan.zip"
        with zipfile.ZipFile(given, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.write(path, path.name)
    told: list[tuple[int, int]] = []
    load_dicom(given, progress=lambda done, total: told.append((done, total)))
    shares = [done / total for done, total in told]
    assert shares[-1] == 1
    assert len(set(shares)) >= 6
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_frames_of_one_file_are_progress_too() -> None:
    told: list[int] = []
    content = written(enhanced_ct(np.zeros((5, 4, 6)), [0.0, 1, 2, 3, 4], [1.0] * 5))
    load_dicom(content, progress=lambda done, total: told.append(done))
    assert len(set(told)) == 5


def test_a_reading_stops_when_asked(tmp_path: Path) -> None:
    write_series(tmp_path, [float(z) for z in range(20)])
    told: list[int] = []
    with pytest.raises(ScanStopped, match="nothing was loaded"):
        load_dicom(tmp_path, progress=lambda done, _: told.append(done), stop=lambda: len(told) >= 3)
    assert len(told) == 3


def test_a_reading_stops_within_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    from lesiondash.images import dicom_watch

    monkeypatch.setattr(dicom_watch, "_READS_BETWEEN_CHECKS", 1)
    with pytest.raises(ScanStopped):
        load_dicom(written(ct_dataset(np.zeros((4, 6)))), stop=lambda: True)


def test_acquisitions_at_the_same_places_are_split(tmp_path: Path) -> None:
    for acquisition in (1, 2):
        for k, z_mm in enumerate((0.0, 2.0, 4.0)):
            number = 10 * acquisition + k
            stored = np.full((4, 6), 1024 + number)
            write_ct(tmp_path / f"{number}.dcm", stored, z_mm, number, AcquisitionNumber=acquisition)
    reading = load_dicom(tmp_path)
    assert [series.positions_mm for series in reading.series] == [(0.0, 2.0, 4.0)] * 2
    np.testing.assert_array_equal([series.hu[:, 0, 0] for series in reading.series], [[10, 11, 12], [20, 21, 22]])
    assert "split into 2 by acquisition number, at the same places; this is part 2" in reading.series[1].notes[0]
    assert len({series.uid for series in reading.series}) == 2


def test_unnamed_passes_follow_their_instance_numbers(tmp_path: Path) -> None:
    for number, z_mm in enumerate((0.0, 0.0, 2.0, 2.0), start=1):
        write_ct(tmp_path / f"{number}.dcm", np.full((4, 6), 1024 + number), z_mm, number)
    reading = load_dicom(tmp_path)
    np.testing.assert_array_equal([series.hu[:, 0, 0] for series in reading.series], [[1, 3], [2, 4]])


def test_stations_that_overlap_are_not_torn_apart(tmp_path: Path) -> None:
    """Each slice its own acquisition number, one place scanned twice: one series, and it is said."""
    for number, z_mm in enumerate((0.0, 2.0, 2.0, 4.0), start=1):
        write_ct(tmp_path / f"{number}.dcm", np.zeros((4, 6)) + number, z_mm, number, AcquisitionNumber=number)
    (series,) = load_dicom(tmp_path).series
    assert len(series) == 4
    assert any("share their position" in note for note in series.notes)


def test_mixed_rescale_is_said_and_applied_slice_by_slice(tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", np.full((4, 6), 10), 0.0, 1)
    write_ct(tmp_path / "b.dcm", np.full((4, 6), 10), 1.0, 2, RescaleSlope=0.5, RescaleIntercept=0.25)
    (series,) = load_dicom(tmp_path).series
    assert series.hu.dtype == np.float32
    np.testing.assert_allclose(series.hu[:, 0, 0], [-1014, 5.25])
    assert any("differ between slices" in note for note in series.notes)


def test_the_source_follows_the_slices(tmp_path: Path) -> None:
    write_series(tmp_path, [4.0, 0.0, 2.0], StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4")
    (series,) = load_dicom(tmp_path).series
    source = series.source
    assert source is not None
    assert source.origins_mm == ((0.0, 0.0, 0.0), (0.0, 0.0, 2.0), (0.0, 0.0, 4.0))
    assert source.orientation == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert source.frame_numbers == (1, 1, 1)
    assert (source.study_uid, source.frame_of_reference_uid) == (remap_uid("1.2.3"), remap_uid("1.2.4"))
    assert len(set(source.sop_instance_uids)) == 3
    header = {item.name: item.value for item in series.header}
    assert header["Modality"] == "CT"
    assert header["Pixel Spacing"] == "2, 0.5"
    assert header["Instance Number"] == "2 … 1 (3 values)"


def test_frames_keep_their_numbers_when_they_are_sorted() -> None:
    stored = np.stack([np.full((4, 6), value) for value in (3, 1, 2)])
    (series,) = load_dicom(written(enhanced_ct(stored, [4.0, 0.0, 2.0], [1.0] * 3))).series
    assert series.source is not None
    assert series.source.frame_numbers == (2, 3, 1)
    assert len(set(series.source.sop_instance_uids)) == 1
    np.testing.assert_array_equal(series.hu[:, 0, 0], [-999, -998, -997])


@pytest.mark.parametrize("seed", range(6))
def test_a_stack_is_put_in_order_in_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slices = [rng.integers(0, 9, (3, 2)).astype(np.float32 if seed % 2 and k == 4 else np.int16) for k in range(40)]
    stack = Stack()
    for values in slices:
        stack.append(values)
    order = rng.permutation(40)[: rng.integers(1, 41)].tolist()
    taken = stack.take(order)
    assert taken.dtype == (np.float32 if seed % 2 else np.int16)
    np.testing.assert_array_equal(taken, np.stack([slices[k] for k in order]))


def test_reading_holds_one_copy_of_the_volume(tmp_path: Path) -> None:
    """Measured by the operating system, in a process of its own: peak above the start, in volumes."""
    import subprocess
    import sys

    resource = pytest.importorskip("resource")
    assert resource
    noise = np.random.default_rng(0).integers(0, 2000, (512, 512))
    for number in range(120):
        write_ct(tmp_path / f"{number}.dcm", np.roll(noise, number), float(number * 7 % 120), number)
    code = (
        "import resource, sys; from lesiondash.images.dicom import load_dicom; "
        "load_dicom(sys.argv[1] + '/0.dcm'); peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "before = peak(); series = load_dicom(sys.argv[1]).series[0]; "
        "print((peak() - before) * (1 if sys.platform == 'darwin' else 1024) / series.hu.nbytes)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.5
