"""Volume: three planes and 3-D of the series shown, by ipyniivue, loaded when somebody opens it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from lesiondash.dashboard.state import State, tells_errors
from lesiondash.dashboard.store import Store
from lesiondash.dashboard.widgets import VolumeBar
from lesiondash.errors import ScanError
from lesiondash.images.nifti import MIN_SLICES, Nifti, nifti_of
from lesiondash.records import Series

if TYPE_CHECKING:
    from ipyniivue import NiiVue

HEIGHT_PX = 420
LAYOUTS = {"axial": 0, "coronal": 1, "sagittal": 2, "all": 3, "render": 4}
UNEVEN = 0.05


class VolumePanel:
    """Sends a series to the browser once, when opened; the window follows the viewer, and so does the crosshair."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self.picture: NiiVue | None = None
        self.nifti: Nifti | None = None
        self._uid = ""
        self._mm: list[float] | None = None
        works, text = itk_works()
        self.bar = VolumeBar(
            self.act, itk={"works": works, "text": text}, status="Load a scan of eight slices or more."
        )
        self.widget = widgets.VBox([self.bar])
        state.observe(self._follow_focus, "focus")
        state.observe(self._follow_slice, "slice_index")
        state.observe(self._follow_window, "window")

    @tells_errors
    def act(self, message: dict[str, Any]) -> None:
        """Carry out what a hand did: toggle, layout, crosshair, slice or itk."""
        kind = message["type"]
        if kind == "toggle":
            if self.bar.opened:
                self.close()
            else:
                self.open()
        elif kind == "layout":
            self.lay_out(str(message["name"]))
        elif kind == "crosshair":
            self.move([float(share) for share in message["at"]])
        elif kind == "slice":
            self.show_slice()
        elif kind == "itk":
            self.open_itk()

    def open(self) -> None:
        """Send the series shown to the browser and draw it."""
        series = self._series()
        if series is None:
            raise ScanError("There is no scan to show; load one first.")
        self.close()
        self.nifti = nifti_of(series)
        from ipyniivue import MultiplanarType, NiiVue, Volume

        low, high = self.state.window.low_hu, self.state.window.high_hu
        volume = Volume(data=self.nifti.data, name="scan.nii", cal_min=low, cal_max=high, colormap="gray")
        self.picture = NiiVue(
            height=HEIGHT_PX,
            back_color=(0, 0, 0, 1),
            show_3d_crosshair=True,
            is_radiological_convention=True,
            multiplanar_force_render=True,
            multiplanar_layout=MultiplanarType.GRID,  # a column leaves each a quarter of a narrow page's height
            loading_text="",
        )
        self.picture.on_location_change(self._on_location)
        self.picture.load_volumes([volume])
        self.lay_out(self.bar.layout_name)
        self.widget.children = [self.bar, self.picture]
        self.bar.opened = True
        self.bar.status = _words(series, self.nifti)
        self._follow_slice(None)

    def close(self) -> None:
        """Take the picture away and free what it holds."""
        picture, self.picture, self.nifti, self._mm = self.picture, None, None, None
        self.bar.opened = False
        self.widget.children = [self.bar]
        if picture is not None:
            for volume in picture.volumes:
                volume.close()
            picture.close()
        self._say_ready()

    def lay_out(self, name: str) -> None:
        """Show one plane, all three with 3-D, or 3-D alone."""
        from ipyniivue import SliceType

        if name not in LAYOUTS:
            raise ScanError(f"There is no layout {name!r}; choose {', '.join(LAYOUTS)}.")
        self.bar.layout_name = name
        if self.picture is not None:
            self.picture.set_slice_type(SliceType(LAYOUTS[name]))

    def move(self, at: list[float]) -> None:
        """Move the crosshair to shares of the way to the right, front and head."""
        if self.picture is None or self.nifti is None:
            return
        at = [min(max(share, 0.0), 1.0) for share in at]
        self.bar.crosshair = at
        self.picture.scene.crosshair_pos = at
        self._mm = None

    def show_slice(self) -> None:
        """Show the slice under the crosshair in the viewer, with the box that is drawn there."""
        if self.nifti is None:
            return
        index, region = self.crosshair_slice(), self.state.region
        box = region.box if region is not None and region.series_uid == self._uid else None
        self.state.show(self._uid, index, box, search=False)

    def crosshair_slice(self) -> int:
        """Return which slice of the series the crosshair lies on."""
        assert self.nifti is not None
        if self._mm is not None:
            return self.nifti.slice_at(self._mm)
        first, _ = self.nifti.fraction_of_slice(0)
        count = self.nifti.shape[0] * self.nifti.factors[0]
        shares = [self.nifti.fraction_of_slice(index)[1] for index in range(count)]
        return int(np.argmin(np.abs(np.array(shares) - self.bar.crosshair[first])))

    def open_itk(self) -> None:
        """Show the series in itkwidgets, where it works; raises `ScanError` with the reason where it does not."""
        works, text = itk_works()
        series = self._series()
        if not works or series is None:
            raise ScanError(text or "There is no scan to show; load one first.")
        try:
            from itkwidgets import view

            self.widget.children = [self.bar, view(np.asarray(series.hu))]
        except Exception as error:
            raise ScanError(f"itkwidgets did not start ({type(error).__name__}); use planes and 3-D here.") from None

    def _series(self) -> Series | None:
        scan = self.store.scans.get(self._uid)
        return None if scan is None else scan.series

    @tells_errors
    def _follow_focus(self, _: Any) -> None:
        focus = self.state.focus
        if focus is None or focus.series_uid == self._uid:
            return
        self._uid = focus.series_uid
        again = self.bar.opened
        self.close()
        if again and self.bar.ready:
            self.open()

    def _say_ready(self) -> None:
        series = self._series()
        if series is None:
            return
        self.bar.ready = len(series) >= MIN_SLICES and series.frame_rate_hz is None
        few = f"This series has {len(series)} of the {MIN_SLICES} slices that planes need."
        in_time = "These are moments in time, not slices: there is no volume to show."
        self.bar.status = "" if self.bar.ready else few if series.frame_rate_hz is None else in_time

    @tells_errors
    def _follow_slice(self, _: Any) -> None:
        if self.picture is None or self.nifti is None:
            return
        axis, share = self.nifti.fraction_of_slice(self.state.slice_index)
        at = list(self.bar.crosshair)
        at[axis] = share
        self.move(at)

    @tells_errors
    def _follow_window(self, _: Any) -> None:
        if self.picture is not None and self.picture.volumes:
            volume = self.picture.volumes[0]
            volume.cal_min, volume.cal_max = self.state.window.low_hu, self.state.window.high_hu

    def _on_location(self, location: dict[str, Any]) -> None:
        self._mm = [float(value) for value in location["mm"]][:3]
        self.bar.crosshair = [float(value) for value in location["frac"]][:3]


def itk_works() -> tuple[bool, str]:
    """Return whether itkwidgets can show a volume here, and one sentence where it cannot."""
    try:
        installed, host = version("itkwidgets"), version("ipywidgets")
    except PackageNotFoundError:
        return False, ""
    if int(installed.split(".")[0]) >= 1:
        return False, f"itkwidgets {installed} loads its viewer from an outside host, so it is not offered here."
    if int(host.split(".")[0]) >= 8:
        return False, f"itkwidgets {installed} needs ipywidgets 7, and this page runs on {host}, so it is not offered."
    try:
        import itkwidgets  # noqa: F401
    except Exception as error:
        return False, f"itkwidgets {installed} cannot be imported here ({type(error).__name__})."
    return True, ""


def _words(series: Series, nifti: Nifti) -> str:
    words = [f"{nifti.shape[2]} × {nifti.shape[1]} × {nifti.shape[0]} voxels, {len(nifti.data) / 2**20:.0f} MiB"]
    if max(nifti.factors) > 1:
        words.append(f"averaged {' × '.join(map(str, reversed(nifti.factors)))} to fit")
    steps = np.diff(series.positions_mm)
    if len(steps) and np.ptp(steps) > UNEVEN * abs(float(np.median(steps))):
        words.append("slices are unevenly spaced, drawn as even")
    return " · ".join(words)
