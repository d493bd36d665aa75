"""What of a header may be kept: an allow-list of elements, UIDs re-mapped, dates shifted, and no name of anybody."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from pydicom.datadict import (
    dictionary_description,
    dictionary_VR,
    keyword_for_tag,
    private_dictionary_description,
    tag_for_keyword,
)
from pydicom.uid import UID
from pydicom.valuerep import PersonName

from lesiondash.images.dicom_header import Header
from lesiondash.images.header_tags import CODES, DATES, KNOWN_UIDS, MACHINE_WORDS, NUMBERS, PERSONAL, UIDS
from lesiondash.records import HeaderItem

_CODE = re.compile(r"[A-Z0-9_ ./+-]{1,16}")
_MACHINE_WORD = re.compile(r"[\w .,/+()\[\]:;-]{1,64}")
_WORD = re.compile(r"[^\W_]{3,}")
_PRIVATE_ITEMS = 500
_WORDS_OF_A_NAME = 2
_NUMBERS_SHOWN = 16
_SHIFT_DAYS = 3650
_OLDEST = "089Y"


def remap_uid(uid: str) -> str:
    """Return the UID that stands for another: one-way, the same each time, under 2.25; "" of "".

    It is 2.25 and the first 128 bits of the UID's SHA-256 as an integer (PS3.5 B.2 gives the form).
    """
    if not uid:
        return ""
    return f"2.25.{int.from_bytes(hashlib.sha256(uid.encode()).digest()[:16], 'big')}"


@dataclass(frozen=True)
class Kept:
    """What is kept of a file's header, and the names of the elements that are not."""

    items: tuple[HeaderItem, ...]
    removed: tuple[str, ...]


def keep(header: Header, modality: str) -> Kept:
    """Return what may be shown of a header, and of the functional groups of an enhanced one, sorted by tag.

    Kept are codes, numbers and what machines write; UIDs are re-mapped, dates shifted by a number of days that is
    the same for all files of a patient. Private elements are kept by tag only. Everything else is removed, and so
    is a kept text that holds a word of the person's own elements.
    """
    personal, days = _personal_words(header), _shift_days(header)
    items: list[HeaderItem] = []
    removed: dict[str, None] = {}
    private = 0
    for part, where in _parts(header):
        for tag, vr, is_private in part.elements():
            name, known_vr = _name(tag)
            if is_private:
                private += 1
                if private <= _PRIVATE_ITEMS:
                    items.append(_item(tag, _private_name(part, tag), vr, "", True))
            elif tag not in _GROUPS:
                text = _kept_text(part, tag, modality, personal, days)
                if text is None:
                    removed[name] = None
                elif text:
                    items.append(_item(tag, name + where, vr or known_vr, text, False))
    if private:
        removed["Private elements"] = None
    return Kept(tuple(sorted(items, key=lambda item: item.tag)), tuple(removed))


def _parts(header: Header) -> Iterator[tuple[Header, str]]:
    """Yield a header and what its functional groups hold (PS3.3 C.7.6.16), with whose it is as it is shown."""
    yield header, ""
    for keyword, where in _GROUPS.values():
        group = header.item(keyword)
        for tag, _, is_private in group.elements() if group else ():
            macro = "" if is_private else keyword_for_tag(tag)
            inner = group.item(macro) if group and macro and _is_sequence(tag) else None
            if inner:
                yield inner, where


def _is_sequence(tag: int) -> bool:
    return dictionary_VR(tag) == "SQ"


@lru_cache(maxsize=8192)
def _item(tag: int, name: str, vr: str, text: str, private: bool) -> HeaderItem:
    """Return an element; files of one series share what is the same in all of them."""
    return HeaderItem(_tag_text(tag), name, vr, text, private)


_GROUPS = {
    tag_for_keyword(keyword): (keyword, where)
    for keyword, where in (
        ("SharedFunctionalGroupsSequence", ", all frames"),
        ("PerFrameFunctionalGroupsSequence", ", first frame"),
    )
}
_RULES = {
    tag_for_keyword(keyword): (rule, keyword)
    for rule, keywords in (
        ("code", CODES),
        ("number", NUMBERS),
        ("machine", MACHINE_WORDS),
        ("date", DATES),
        ("uid", UIDS),
        ("known uid", KNOWN_UIDS),
    )
    for keyword in keywords
}


def _kept_text(header: Header, tag: int, modality: str, personal: set[str], days: int) -> str | None:
    """Return an element's value as text, "" where it is empty; None where it must not be kept."""
    rule, keyword = _RULES.get(tag, ("", ""))
    if not rule:
        return None
    if rule == "number":
        return _numbers_text(header, keyword)
    if keyword == "Modality":
        return modality
    if keyword == "PatientAge" and header.string(keyword) > _OLDEST:
        return None  # so old that few people are
    values = [value for value in header.strings(keyword) if value]
    if rule == "date":
        return _shifted(values, days)
    if rule == "uid":
        return ", ".join(map(remap_uid, values))
    if rule == "known uid":
        return ", ".join(UID(value).name for value in values if UID(value).name != value)
    if rule == "code":
        values = [value.upper() for value in values]
    allowed = _CODE if rule == "code" else _MACHINE_WORD
    if not all(allowed.fullmatch(value) for value in values) or _names_somebody(values, personal):
        return None
    return ", ".join(values)


def _numbers_text(header: Header, keyword: str) -> str | None:
    if not header.strings(keyword):
        return ""
    values = header.numbers(keyword)
    if values is None:
        return None
    shown = ", ".join(f"{value:.10g}" for value in values[:_NUMBERS_SHOWN])
    return f"{shown}, …" if len(values) > _NUMBERS_SHOWN else shown


def _personal_words(header: Header) -> set[str]:
    """Return the words of three letters or digits and more that stand in elements about people."""
    words: set[str] = set()
    for keyword in PERSONAL:
        for value in _texts(header.value(_tag(keyword))):
            words |= {word.casefold() for word in _WORD.findall(value)}
    return words


def without_names(file_name: str, header: Header) -> str:
    """Return a file's name, with "…" for its words of elements about people where it holds two of them or more.

    One word alone is more often a chance ("test", "001") than a name, and people have to know their file again.
    """
    personal = sorted(_personal_words(header), key=len, reverse=True)
    held = [word for word in personal if word in file_name.casefold()]
    if len(held) < _WORDS_OF_A_NAME:
        return file_name
    return re.sub("|".join(map(re.escape, held)), "…", file_name, flags=re.IGNORECASE)


def _names_somebody(values: list[str], personal: set[str]) -> bool:
    text = " ".join(values).casefold()
    return any(word in text for word in personal)


def _shift_days(header: Header) -> int:
    """Return by how many days a patient's dates are moved back, 1 to 3650; the same for all of the patient's files."""
    whose = header.string("PatientID") or header.string("PatientName") or header.string("StudyInstanceUID")
    digest = hashlib.sha256(f"days {whose}".encode()).digest()
    return 1 + int.from_bytes(digest[:4], "big") % _SHIFT_DAYS


def _shifted(values: list[str], days: int) -> str | None:
    shifted = []
    for value in values:
        try:
            plain = value.replace(".", "").replace("-", "")
            day = date(int(plain[:4]), int(plain[4:6]), int(plain[6:8]))
            shifted.append((day - timedelta(days)).strftime("%Y%m%d"))
        except (ValueError, OverflowError):
            return None
    return ", ".join(shifted)


def _texts(value: Any) -> list[str]:
    if value is None or isinstance(value, bytes):
        return []
    if isinstance(value, str | PersonName) or not hasattr(value, "__iter__"):  # a name would come letter by letter
        return [str(value)]
    return [str(each) for each in value]


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag


def _tag_text(tag: int) -> str:
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"


def _name(tag: int) -> tuple[str, str]:
    """Return an element's name and VR in the standard's dictionary; its tag where it is not in there."""
    try:
        return dictionary_description(tag), dictionary_VR(tag).split(" ")[0]
    except KeyError:
        return f"Element {_tag_text(tag)}", ""


def _private_name(header: Header, tag: int) -> str:
    """Return a private element's name in pydicom's dictionary; what its writer called it is not repeated."""
    block = (tag & 0xFFFF) >> 8
    creator = header.value((tag & 0xFFFF0000) | block) if block else None
    if isinstance(creator, str):
        try:
            return private_dictionary_description(tag, creator)
        except KeyError:
            pass
    return "Private element"
