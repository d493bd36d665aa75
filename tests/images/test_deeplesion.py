from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from ct_files import SHARED
from PIL import Image

from lesiondash.errors import CollectionError
from lesiondash.images.crops import crop_lesion
from lesiondash.images.deeplesion import DeepLesion
from lesiondash.records import Box

REAL = SHARED / "deeplesion"
TABLE = REAL / "DL_info_test_4927.csv"
real = pytest.mark.skipif(not TABLE.is_file(), reason="the real DeepLesion rows of ../shared/data are not here")
ROW = {
    "File_name": "000007_02_01_012.png",
    "Bounding_boxes": "40, 30, 80, 60",
    "Lesion_diameters_Pixel_": "40, 20",
    "Normalized_lesion_location": "0.5, 0.4, 0.3",
    "Coarse_lesion_type": "5",
    "Slice_range": "10, 14",
    "Spacing_mm_px_": "0.5, 0.5, 2",
    "Train_Val_Test": "3",
}


def write_png(path: Path, hu: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((hu.astype(np.int32) + 32768).astype(np.uint16)).save(path)


def write_table(root: Path, *rows: dict[str, str], name: str = "DL_info.csv") -> None:
    root.mkdir(parents=True, exist_ok=True)
    with (root / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ROW))
        writer.writeheader()
        writer.writerows({**ROW, **row} for row in rows)


def write_collection(root: Path, *rows: dict[str, str], flat: bool = False) -> None:
    """A collection of one series with slices 10, 11, 12 and 14, of a HU ramp."""
    write_table(root, *(rows or ({},)))
    ramp = np.arange(-1000, -1000 + 96 * 128).reshape(96, 128) // 8
    for index in (10, 11, 12, 14):
        name = f"000007_02_01_{index:03d}.png" if flat else f"000007_02_01/{index:03d}.png"
        write_png(root / "Images_png" / name, ramp + index)


@pytest.mark.parametrize("flat", [False, True])
def test_a_row_becomes_a_lesion(tmp_path: Path, flat: bool) -> None:
    write_collection(tmp_path, {}, {"Coarse_lesion_type": "-1", "Train_Val_Test": "1"}, flat=flat)
    collection = DeepLesion(tmp_path)
    first, second = collection.lesions
    assert collection.problems == ()
    assert (first.lesion_id, second.lesion_id) == ("000007_02_01_012#0", "000007_02_01_012#1")
    assert (first.patient_id, first.study_id, first.series_id) == ("000007", "000007_02", "000007_02_01")
    assert first.box == Box(40, 30, 80, 60)
    assert first.spacing_mm == (2, 0.5, 0.5)
    assert first.diameters_mm == (20, 10)
    assert (first.type, first.split) == ("lung", "test")
    assert (second.type, second.split) == ("unlabelled", "train")
    assert first.image_path.is_file()
    assert first.slice_range == (10, 14)
    assert list(collection.table["long_mm"]) == [20, 20]
    assert list(collection.table["lesion_id"]) == [first.lesion_id, second.lesion_id]


@pytest.mark.parametrize("flat", [False, True])
def test_slices_are_hu_and_runs_are_contiguous(tmp_path: Path, flat: bool) -> None:
    write_collection(tmp_path, flat=flat)
    collection = DeepLesion(tmp_path)
    assert collection.slice_indices("000007_02_01") == (10, 11, 12, 14)
    hu = collection.slice_hu("000007_02_01", 12)
    assert hu.dtype == np.int16
    assert hu[0, 0] == -125 + 12
    series = collection.series("000007_02_01", collection.lesions[0])
    assert series.hu.shape == (3, 96, 128)
    np.testing.assert_array_equal(series.hu[2], hu)
    assert series.positions_mm == (20, 22, 24)
    assert series.spacing_mm == (2, 0.5, 0.5)
    np.testing.assert_array_equal(collection.series("000007_02_01").hu, series.hu)


def test_the_whole_range_of_16_bits_survives(tmp_path: Path) -> None:
    write_collection(tmp_path)
    hu = np.array([[-32768, -1024], [0, 32767]])
    write_png(tmp_path / "Images_png/000007_02_01/010.png", hu)
    np.testing.assert_array_equal(DeepLesion(tmp_path).slice_hu("000007_02_01", 10), hu)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Bounding_boxes": "40, 30, 80"}, "Bounding_boxes"),
        ({"Bounding_boxes": "40, 30, 80, sixty"}, "not 4 numbers"),
        ({"Bounding_boxes": "40, 30, 80, nan"}, "not 4 numbers"),
        ({"Bounding_boxes": "80, 30, 40, 60"}, "no area"),
        ({"Coarse_lesion_type": "9"}, "not 1 to 8"),
        ({"Coarse_lesion_type": "0"}, "not 1 to 8"),
        ({"Train_Val_Test": ""}, "not 1 to 3"),
        ({"Train_Val_Test": "1.5"}, "not 1 to 3"),
        ({"Spacing_mm_px_": "0.5, 0.5, 0"}, "not positive"),
        ({"Lesion_diameters_Pixel_": ""}, "not 2 numbers"),
        ({"Slice_range": "10"}, "not 2 numbers"),
        ({"File_name": "../../etc/passwd"}, "not like 000001_01_01_109.png"),
        ({"File_name": "000007_02_01_013.png"}, "Images_png/000007_02_01/013.png is missing"),
        ({"File_name": "000008_02_01_012.png"}, "is missing"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    write_collection(tmp_path, {}, change, {})
    with pytest.raises(CollectionError) as caught:
        DeepLesion(tmp_path)
    text = str(caught.value)
    assert "2 of the 3 rows of DL_info.csv can be used" in text
    assert "Line 3" in text
    assert reason in text
    assert "partial=True" in text
    collection = DeepLesion(tmp_path, partial=True)
    assert len(collection.lesions) == 2
    (problem,) = collection.problems
    assert problem.row == 3
    assert reason in problem.reason
    assert problem.file == change.get("File_name", ROW["File_name"])


def test_a_short_row_is_a_problem_and_a_blank_line_is_not(tmp_path: Path) -> None:
    write_collection(tmp_path)
    with (tmp_path / "DL_info.csv").open("a") as file:
        file.write("\n000007_02_01_012.png,1\n")
    (problem,) = DeepLesion(tmp_path, partial=True).problems
    assert (problem.row, problem.reason) == (4, "the row has only 2 columns")


def test_no_usable_row_is_an_error_even_when_partial(tmp_path: Path) -> None:
    write_collection(tmp_path, {"Coarse_lesion_type": "99"})
    with pytest.raises(CollectionError, match="0 of the 1 rows"):
        DeepLesion(tmp_path, partial=True)
    write_table(tmp_path)
    with (tmp_path / "DL_info.csv").open("w") as file:
        file.write(",".join(ROW) + "\n")
    with pytest.raises(CollectionError, match="holds no rows"):
        DeepLesion(tmp_path, partial=True)


def test_a_wrong_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    for root, said in ((tmp_path, "no DL_info.csv"), (tmp_path / "nowhere", "no folder “nowhere”")):
        with pytest.raises(CollectionError, match=said):
            DeepLesion(root, partial=True)
    write_table(tmp_path, {})
    with pytest.raises(CollectionError, match="no folder Images_png"):
        DeepLesion(tmp_path)
    other = tmp_path / "other"
    write_table(other, {}, name="DL_info_a.csv")
    write_table(other, {}, name="DL_info_b.csv")
    with pytest.raises(CollectionError, match="2 tables"):
        DeepLesion(other)


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_collection(tmp_path)
    table = tmp_path / "DL_info.csv"
    text = table.read_text()
    table.write_text(text.replace("Bounding_boxes", "Boxes"))
    with pytest.raises(CollectionError, match="lacks the column Bounding_boxes"):
        DeepLesion(tmp_path)
    table.write_text(text.replace(",", ";"))
    with pytest.raises(CollectionError, match="semicolons"):
        DeepLesion(tmp_path)
    table.write_bytes(b"\xff\xfe\x00broken" * 50)
    with pytest.raises(CollectionError, match="not a text table"):
        DeepLesion(tmp_path)


def test_images_that_lost_their_hu_are_refused_by_name(tmp_path: Path) -> None:
    write_collection(tmp_path)
    collection = DeepLesion(tmp_path)
    path = tmp_path / "Images_png/000007_02_01/012.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    with pytest.raises(CollectionError, match=r"Images_png/000007_02_01/012\.png is not a 16-bit"):
        collection.slice_hu("000007_02_01", 12)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CollectionError, match=r"012\.png is damaged"):
        collection.slice_hu("000007_02_01", 12)
    with pytest.raises(CollectionError, match=r"013\.png is missing"):
        collection.slice_hu("000007_02_01", 13)
    with pytest.raises(CollectionError, match="no DeepLesion series"):
        collection.slice_hu("../../etc", 13)


@pytest.fixture(scope="module")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of the real table whose image is here, in its 19 columns."""
    root = tmp_path_factory.mktemp("deeplesion")
    (root / "Images_png").symlink_to(REAL / "Images_png")
    lines = TABLE.read_text().splitlines()
    here = [f"{path.parent.name}_{path.name}" for path in (REAL / "Images_png").glob("*/*.png")]
    kept = [line for line in lines[1:] if line.split(",")[0] in here]
    (root / "DL_info.csv").write_text("\n".join([lines[0], *kept]))
    return root


@real
def test_real_crops_have_hundreds_of_hu_levels(real_root: Path) -> None:
    collection = DeepLesion(real_root)
    assert len(collection.lesions) == 4
    for lesion in collection.lesions:
        assert lesion.type == "mediastinum"
        hu = collection.slice_hu(lesion.series_id, lesion.slice_index)
        x, y = (int(value) for value in lesion.box.center)
        inside = hu[y - 40 : y + 40, x - 40 : x + 40]
        assert len(np.unique(inside)) > 256, "more levels than 8 bits can hold"
        assert -200 < np.median(inside) < 300
        assert np.all(np.isfinite(crop_lesion(collection, lesion)))
        corner = float(np.median(hu[:8, :8]))
        assert corner < -900, "outside of the body there is air, or the padding outside of the scan"


@real
def test_a_real_series_holds_air_and_soft_tissue(real_root: Path) -> None:
    collection = DeepLesion(real_root)
    series = collection.series("000001_01_01", collection.lesions[0])
    assert series.hu.shape == (13, 512, 512)
    assert series.spacing_mm[0] == 5
    body = series.hu[(series.hu > -200) & (series.hu < 300)]
    assert 0 < np.median(body) < 80
    assert np.mean(series.hu < -700) > 0.2


@real
def test_the_full_test_table_counts_its_usable_rows(tmp_path: Path) -> None:
    (tmp_path / "Images_png").symlink_to(REAL / "Images_png")
    (tmp_path / TABLE.name).symlink_to(TABLE)
    with pytest.raises(CollectionError, match=r"4 of the 4,927 rows of DL_info_test_4927\.csv can be used"):
        DeepLesion(tmp_path)
    collection = DeepLesion(tmp_path, partial=True)
    assert len(collection.lesions) == 4
    assert len(collection.problems) == 4923
    assert all("is missing" in problem.reason for problem in collection.problems)
