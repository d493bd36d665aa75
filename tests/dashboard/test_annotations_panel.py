"""The panel's actions on the real demonstration; the tests draw as the viewer does: into the store, then the state."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from lesiondash.annotations.measure import region_mask
from lesiondash.records import Annotation, Source


def data_beside(demonstration: Path, folder: Path) -> Path:
    """A data folder of its own with the demonstration in it: what is added here must not stay there."""
    for name in ("demo", "galleries", "models"):
        (folder / name).symlink_to(demonstration / name)
    return folder


@pytest.fixture(scope="module")
def data(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = data_beside(demonstration, tmp_path_factory.mktemp("data"))
        patch.setenv("LESIONDASH_DATA", str(folder))
        patch.delenv("LESIONDASH_ANNOTATIONS")
        yield folder


def opened() -> Any:
    from lesiondash.dashboard import Dashboard

    page = Dashboard()
    assert hasattr(page, "store"), page.topbar.notice
    page.load.open_case(page.store.cases[0].name)
    return page


@pytest.fixture(scope="module")
def first_page(data: Path) -> Any:
    return opened()


@pytest.fixture
def page(first_page: Any) -> Any:
    """The page at its first case, with nothing drawn and nothing added."""
    for one in first_page.store.added.all():
        first_page.annotations.remove_added(one.lesion.lesion_id)
    first_page.search.choose_scope("cross")
    first_page.load.open_case(first_page.store.cases[0].name)
    draw(first_page)
    return first_page


def draw(page: Any, *drawn: Annotation) -> None:
    uid = page.annotations.scan.uid
    page.store.annotations.replace(uid, drawn)
    page.state.annotations = page.store.annotations.of(uid)


def follow(page: Any) -> tuple[Annotation, ...]:
    """Take over what the panel asked for, as the viewer does."""
    wished = page.state.wished_annotations
    draw(page, *wished)
    return wished


def marks(page: Any) -> tuple[Annotation, ...]:
    uid, (lesion, *_) = page.annotations.scan.uid, page.store.cases[0].lesions
    box, index = lesion.box, lesion.slice_index - page.store.cases[0].first_slice_index
    corners = ((box.x0, box.y0), (box.x1, box.y1))
    (x, y), (width, _) = box.center, box.size
    axes = ((x - width / 2, y), (x + width / 2, y), (x, y - 3), (x, y + 3))
    return (
        Annotation("m1", "box", uid, index, corners, lesion.type, ""),
        Annotation("m2", "recist", uid, index, axes, "nodule", "grew"),
        Annotation("m3", "length", uid, index + 1, corners, "", ""),
        Annotation("m4", "recist", uid, index, ((10, 10), (30, 10), (10, 10), (20, 18)), "", ""),
    )


def rows(page: Any) -> list[dict[str, Any]]:
    return list(page.annotations.widget.marks)


def test_the_list_says_what_each_measures(page: Any) -> None:
    assert rows(page) == []
    draw(page, *marks(page))
    box, recist, length, crooked = rows(page)
    assert (box["name"], box["area"], box["added"]) == ("Box", True, False)
    width_mm = marks(page)[0].points_px[1][0] - marks(page)[0].points_px[0][0]
    width_mm *= page.annotations.scan.series.spacing_mm[2]
    assert box["size"].startswith(f"{width_mm:.1f} × ")
    assert "HU" in box["values"]
    assert (recist["label"], recist["note"], recist["warning"]) == ("nodule", "grew", "")
    assert length["slice"] == box["slice"] + 1
    assert not length["area"]
    assert "not 90°" in crooked["warning"]


def test_a_row_shows_its_slice_and_a_box_is_searched_by(page: Any) -> None:
    draw(page, *marks(page))
    hits = page.state.hits
    page.annotations.act({"type": "show", "id": "m3"})
    assert page.state.slice_index == rows(page)[2]["slice"]
    assert page.state.hits == hits
    page.annotations.act({"type": "search", "id": "m4"})
    assert page.state.region.box.text == "10,10,30,18"
    assert page.state.hits != hits
    page.annotations.act({"type": "search", "id": "m3"})
    assert "no area" in page.state.notice.text
    page.annotations.act({"type": "show", "id": "gone"})
    assert "no longer there" in page.state.notice.text


def test_labels_and_deletions_are_asked_of_the_viewer(page: Any) -> None:
    draw(page, *marks(page))
    page.annotations.act({"type": "label", "id": "m1", "label": " Liver ", "note": "cyst?"})
    assert follow(page)[0] == replace(marks(page)[0], label="Liver", note="cyst?")
    assert rows(page)[0]["label"] == "Liver"
    page.annotations.act({"type": "delete", "id": "m2"})
    assert [one.id for one in follow(page)] == ["m1", "m3", "m4"]


def test_what_is_drawn_is_there_after_the_kernel_died(page: Any, data: Path) -> None:
    draw(page, *marks(page))
    again = opened()
    assert again.annotations.annotations == marks(page)
    assert len(rows(again)) == 4
    assert len(list((data / "annotations").iterdir())) == 1


def test_a_damaged_file_is_said_on_the_page_and_not_written_over(page: Any, data: Path) -> None:
    case = page.store.cases[2]
    path = data / "annotations" / f"{case.series_uid}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("damaged")
    page.load.open_case(case.name)
    draw(page, Annotation("x", "box", case.series_uid, 0, ((1, 1), (9, 9))))
    (aside,) = path.parent.glob(f"{case.series_uid}.unread-*")
    assert aside.read_text() == "damaged"
    assert aside.name in page.state.notice.text
    assert json.loads(path.read_text(encoding="utf-8"))["annotations"][0]["id"] == "x"


def saved(page: Any, form: str) -> bytes:
    name, mime, content = page.annotations.file(form)
    assert name.endswith({"json": ".json", "csv": ".csv", "sr": "-sr.dcm", "seg": "-seg.dcm"}[form])
    assert mime.startswith(("text/", "application/"))
    return content


def test_json_comes_back_by_dropping_it(page: Any) -> None:
    draw(page, *marks(page))
    text = saved(page, "json").decode()
    draw(
        page,
        replace(marks(page)[0], label="changed"),
        Annotation("own", "text", page.annotations.scan.uid, 0, ((1, 1),)),
    )
    page.annotations.act({"type": "take", "text": text})
    taken = follow(page)
    assert [one.id for one in taken] == ["own", "m1", "m2", "m3", "m4"]
    assert taken[1:] == marks(page)
    assert "4 annotations taken over" in page.state.notice.text


def test_json_of_another_scan_is_refused_and_says_which(page: Any) -> None:
    draw(page, *marks(page))
    text = saved(page, "json").decode()
    page.load.open_case(page.store.cases[1].name)
    page.state.wished_annotations = None
    page.annotations.act({"type": "take", "text": text})
    assert page.state.wished_annotations is None
    assert page.store.cases[0].title in page.state.notice.text
    other = json.loads(text)
    other["series"]["uid"] = "f" * 16
    for bad in (json.dumps(other), "{", "[]x", json.dumps({"format": "other"})):
        page.annotations.act({"type": "take", "text": bad})
        assert page.state.notice.kind == "error"
        assert page.state.wished_annotations is None


def with_source(page: Any) -> Source:
    """Give the scan shown what its DICOM files say, where reading them did not."""
    from pydicom.uid import CTImageStorage

    scan = page.annotations.scan
    if scan.series.source is None:
        count = len(scan.series)
        source = Source(
            study_uid="2.25.1",
            series_uid="2.25.2",
            frame_of_reference_uid="2.25.3",
            sop_class_uid=CTImageStorage,
            sop_instance_uids=tuple(f"2.25.4{k:04d}" for k in range(count)),
            frame_numbers=(1,) * count,
            orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            origins_mm=tuple((0.0, 0.0, z) for z in scan.series.positions_mm),
        )
        page.store.scans[scan.uid] = replace(scan, series=replace(scan.series, source=source))
    return page.annotations.scan.series.source


def test_every_form_is_a_file_of_its_kind(page: Any) -> None:
    source = with_source(page)
    draw(page, *marks(page))
    assert saved(page, "csv").decode().count("\n") == 5
    report = pydicom.dcmread(io.BytesIO(saved(page, "sr")))
    assert (report.Modality, report.StudyInstanceUID) == ("SR", source.study_uid)
    masks = pydicom.dcmread(io.BytesIO(saved(page, "seg")))
    assert masks.Modality == "SEG"
    expected = region_mask(marks(page)[0], page.annotations.scan.series.hu.shape[1:])
    np.testing.assert_array_equal(masks.pixel_array, expected)


def test_a_form_that_cannot_be_made_is_said(page: Any) -> None:
    page.annotations.act({"type": "save", "format": "csv"})
    assert "nothing to save" in page.state.notice.text
    page.search.open(page.state.hits[0].lesion_id)
    page.view.open_beside()  # slices of the collection: no DICOM files
    draw(page, Annotation("x", "box", page.annotations.scan.uid, 0, ((10, 10), (20, 20))))
    for form in ("sr", "seg"):
        page.annotations.act({"type": "save", "format": form})
        assert "DICOM" in page.state.notice.text
        assert page.state.notice.kind == "error"
    page.annotations.act({"type": "save", "format": "docx"})
    assert "no form" in page.state.notice.text


def test_deephealth_is_taken_over(page: Any) -> None:
    deidentify = pytest.importorskip("lesiondash.images.deidentify", reason="UIDs are not re-mapped yet")
    case = page.store.cases[0]
    path = sorted(path for path in case.folder.rglob("*") if path.is_file())[3]
    original = pydicom.dcmread(path, stop_before_pixels=True)
    handles = {"start": {"x": 12.5, "y": 20}, "end": {"x": 30, "y": 41}}
    image = {
        "studyID": original.StudyInstanceUID,
        "seriesID": original.SeriesInstanceUID,
        "SOPInstanceUID": original.SOPInstanceUID,
        "annotations": {"lengthData": None, "rectangleData": [{"handles": handles, "unit": "HU"}]},
    }
    page.annotations.act({"type": "take", "text": json.dumps([image])})
    (taken,) = follow(page)
    assert (taken.kind, taken.points_px) == ("box", ((12.5, 20), (30, 41)))
    named = page.annotations.scan.series.source.sop_instance_uids[taken.slice_index]
    assert named == deidentify.remap_uid(original.SOPInstanceUID)


def test_an_added_lesion_is_found_by_the_next_search_and_removed_again(page: Any) -> None:
    page.map.draw()
    draw(page, *marks(page))
    count = len(page.store.gallery.lesions)
    page.annotations.act({"type": "search", "id": "m2"})
    before = page.state.hits
    page.annotations.act({"type": "add", "id": "m2"})
    assert "as unlabelled" in page.state.notice.text
    assert rows(page)[1]["added"]
    page.search.choose_scope("all")
    found = page.state.hits[0]
    assert found.lesion_id.startswith("added-")
    assert found.similarity == pytest.approx(1, abs=1e-3)
    assert found.patient_id == page.store.cases[0].patient_id
    assert len(page.store.gallery.lesions) == count + 1
    page.search.choose_scope("cross")  # it is of the query's own patient
    assert page.state.hits == before
    page.annotations.act({"type": "add", "id": "m2"})
    assert "already" in page.state.notice.text
    page.search.choose_scope("all")
    assert page.state.hits[0] == found
    page.annotations.act({"type": "remove", "id": "m2"})
    assert len(page.search.widget.hits) == 9
    assert not any(hit.lesion_id.startswith("added-") for hit in page.state.hits)
    assert len(page.store.gallery.lesions) == count
    assert not rows(page)[1]["added"]
    page.annotations.act({"type": "add", "id": "m3"})
    assert "no area" in page.state.notice.text


def test_an_added_lesion_opens_in_its_slices_and_is_no_hit_of_itself(page: Any) -> None:
    draw(page, *marks(page))
    page.map.draw()
    page.annotations.act({"type": "add", "id": "m1"})
    (entry,) = page.annotations.widget.added
    lesion = page.store.by_id[entry["lesion_id"]]
    assert lesion.type == page.store.cases[0].lesions[0].type
    points = sum(len(trace.x) for trace in page.map.figure.data[:-2])
    assert points == len(page.store.gallery.lesions)
    expected = page.store.scans[page.annotations.scan.uid].series.hu[marks(page)[0].slice_index]
    page.annotations.act({"type": "open_added", "id": lesion.lesion_id})
    uid = page.view.widget.scan["uid"]
    np.testing.assert_array_equal(page.view.slice_hu(uid, page.state.slice_index)[0], expected)
    page.search.choose_scope("all")
    page.state.show(uid, page.state.slice_index, lesion.box)
    assert lesion.lesion_id not in {hit.lesion_id for hit in page.state.hits}
    page.search.explain(page.state.hits[0].lesion_id)
    page.annotations.act({"type": "remove_added", "id": lesion.lesion_id})
    assert page.annotations.widget.added == []
    assert sum(len(trace.x) for trace in page.map.figure.data[:-2]) == len(page.store.gallery.lesions)


def test_an_added_lesion_of_a_scan_of_nobody_known_is_of_no_other_patient(page: Any) -> None:
    known = page.annotations.scan.series
    assert known.source is not None
    dropped = replace(known, uid="f" * 16, source=replace(known.source, study_uid="2.25.1"))

    def show(at: Any) -> None:
        (scan,) = at.store.add([dropped])
        at.state.show(scan.uid, marks(page)[0].slice_index, page.store.cases[0].lesions[0].box)

    show(page)
    before = page.state.hits
    draw(page, replace(marks(page)[0], series_uid=dropped.uid))
    page.annotations.act({"type": "add", "id": "m1"})
    lesion_id = page.annotations.widget.added[0]["lesion_id"]
    for at in (page, opened()):  # also after a restart
        show(at)
        at.search.choose_scope("cross")
        assert at.state.hits == before
        at.search.choose_scope("same")
        assert [hit.lesion_id for hit in at.state.hits] == [lesion_id]
    page.load.open_case(page.store.cases[0].name)


def test_added_lesions_are_there_after_a_restart_and_carried_over_to_another_encoder(page: Any, data: Path) -> None:
    draw(page, *marks(page))
    page.annotations.act({"type": "add", "id": "m1"})
    lesion_id = page.annotations.widget.added[0]["lesion_id"]
    again = opened()
    assert rows(again)[0]["added"]
    assert lesion_id in again.store.by_id
    (embedding,) = (data / "added").rglob("embedding.npz")
    with np.load(embedding) as kept:
        vector = kept["vector"]
    np.savez(embedding, vector=-vector, encoder=np.array("an earlier one"))
    older = opened()
    older.annotations.bring_over()  # the page does it when the encoder is loaded
    np.testing.assert_allclose(older.store.gallery.vectors[older.store.row_of[lesion_id]], vector, atol=1e-5)


def test_scores_are_of_the_collection_alone(page: Any) -> None:
    case = next(case for case in page.store.cases if case.lesions and case.lesions[0].split == "test")
    page.load.open_case(case.name)
    uid, lesion = page.annotations.scan.uid, case.lesions[0]
    corners = ((lesion.box.x0, lesion.box.y0), (lesion.box.x1, lesion.box.y1))
    draw(page, Annotation("t", "box", uid, lesion.slice_index - case.first_slice_index, corners, lesion.type))
    page.annotations.act({"type": "add", "id": "t"})
    page.metrics.measure()
    page.metrics.wait()
    (note,) = page.metrics.widget.notes
    assert "guards hold" in note
    assert page.metrics.widget.status.startswith(f"{sum(i.split == 'test' for i in page.store.collection.lesions):,} ")


def test_without_a_scan_everything_says_so(data: Path) -> None:
    from lesiondash.dashboard import Dashboard

    page = Dashboard()
    assert page.store.encoder.dimensions  # loaded by a thread that must not outlive the test
    for message in ({"type": "show", "id": "m"}, {"type": "save", "format": "csv"}, {"type": "take", "text": "{}"}):
        page.state.notice = None
        page.annotations.act(message)
        assert page.state.notice is not None
        assert page.state.notice.kind == "error"
