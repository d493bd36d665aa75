"""Lists of boxes: what is read, and which row is told to be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lesiondash.errors import LesionDashError, SearchError
from lesiondash.images.box_list import ListedBox, path_of_scan, read_box_list
from lesiondash.records import Box

ROW = {"slice": 3, "x0": 10, "y0": 11, "x1": 30.5, "y1": 41}


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    table, flat, nested = tmp_path / "a.csv", tmp_path / "a.json", tmp_path / "b.json"
    table.write_text("label,slice,x0,y0,x1,y1,scan,other\nnode,3,10,11,30.5,41,a/b,7\n", encoding="utf-8-sig")
    flat.write_text(json.dumps([{**ROW, "label": "node", "scan": "a/b"}]))
    nested.write_text(
        json.dumps({"annotations": [{"slice": 3, "box": [10, 11, 30.5, 41], "label": "node", "scan": "a/b"}]})
    )
    expected = [ListedBox("a/b", 3, Box(10, 11, 30.5, 41), "node")]
    assert read_box_list(table) == read_box_list(flat) == read_box_list(nested) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "no annotation"),
        ("{}", "no list"),
        ("not json", "no CSV table and no JSON"),
        (json.dumps([7]), "row 1: this is no annotation but int"),
        (json.dumps([ROW, {**ROW, "x1": 10}]), "row 2"),
        (json.dumps([{**ROW, "x1": None}]), "row 1: slice, x0"),
        (json.dumps([{**ROW, "x1": float("nan")}]), "row 1"),
        (json.dumps([{**ROW, "slice": 0}]), "slice 0 is none"),
        (json.dumps([{**ROW, "slice": 1.5}]), "slice 1.5 is none"),
        (json.dumps([{"x0": 1, "y0": 1, "x1": 2, "y1": 2}]), "there is no slice"),
        (json.dumps([{"slice": 1, "box": [1, 2, 3]}]), "row 1"),
        (json.dumps([{**ROW, "slice": float("nan")}]), "row 1: slice nan is none"),
        (json.dumps([ROW]).replace("3,", "1e999,"), "row 1: slice inf is none"),
        (json.dumps([ROW]).replace("3,", "9" * 400 + ","), "row 1: slice, x0"),
        (json.dumps([ROW]).replace("41", "9" * 400), "row 1: slice, x0"),
        ("[" * 200_000, "no CSV table and no JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(content: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(SearchError, match=words):
        read_box_list(path)
    with pytest.raises(SearchError, match="no file"):
        read_box_list(tmp_path / "absent.csv")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
def test_a_slice_of_a_table_that_is_no_number_is_said(number: str, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text(f"slice,x0,y0,x1,y1\n{number},10,11,30,41\n")
    with pytest.raises(SearchError, match=r"boxes\.csv, row 1: slice (nan|-?inf) is none"):
        read_box_list(table)


def test_scans_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in" / "scan").mkdir(parents=True)
    assert path_of_scan(tmp_path / "in", "scan") == tmp_path / "in" / "scan"
    assert path_of_scan(tmp_path / "in", "") == tmp_path / "in"
    for scan in ("../other", str(tmp_path)):
        with pytest.raises(LesionDashError, match="outside"):
            path_of_scan(tmp_path / "in", scan)
    for scan in ("absent", "a" * 300, "zero\0byte"):
        with pytest.raises(LesionDashError, match="no scan"):
            path_of_scan(tmp_path / "in", scan)
