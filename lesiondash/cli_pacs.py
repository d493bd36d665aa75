"""The command `fetch`: series from a PACS into a folder of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lesiondash.screen import one_sentence


def fetch_command(
    folder: Annotated[Path, typer.Argument(help="Folder to write into; each series gets one of its own.")],
    patient: Annotated[str, typer.Option("--patient", help="A whole patient ID.")] = "",
    accession: Annotated[str, typer.Option("--accession", help="A whole accession number.")] = "",
    modality: Annotated[str, typer.Option("--modality", help="CT, MR or XA; empty for any.")] = "",
    url: Annotated[
        str, typer.Option("--url", help="http://host/dicom-web or dicom://AETITLE@host:port; or LESIONDASH_PACS_URL.")
    ] = "",
    list_only: Annotated[bool, typer.Option("--list", help="List the series; fetch nothing.")] = False,
) -> None:
    """Fetch series from a PACS, as files with all that the server keeps in them; login and AE title by environment.

    LESIONDASH_PACS_URL, _USER, _PASSWORD, _AE_TITLE, _MOVE_PORT and _TIMEOUT_S are read.
    """
    with one_sentence():
        from lesiondash.images.pacs import PacsQuery, PacsSettings, connect

        settings = PacsSettings.from_environment()
        if url:  # a login kept for one server is not sent to another
            settings = settings if settings is not None and settings.url == url else PacsSettings(url)
        query = PacsQuery(patient, accession, modality.upper())
        pacs = connect(settings or PacsSettings(url))
        for found in pacs.search(query):
            day = "undated" if found.days is None else f"day {found.days}"
            kind = f"{found.modality or 'unknown'} {found.body_part}".strip()
            typer.echo(f"{found.uid[:12]}  study {found.study}, {day}  {kind}  {found.instances} images")
            if not list_only:
                target = folder / found.uid[:12]
                target.mkdir(parents=True, exist_ok=True)
                pacs.fetch(found, target)
