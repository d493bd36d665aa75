// One picture of a series: its canvas, what is written at its edges, and where its pixels lie.
function makePane(name) {
  const canvas = element("canvas", { tabIndex: 0 });
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", name);
  const corner = (place) => element("div", { className: `ld-corner ld-${place}` });
  const tl = corner("tl"), tr = corner("tr"), bl = corner("bl"), br = corner("br");
  const sides = ["right", "left", "bottom", "top"].map((side) => corner(`side-${side}`));
  const scaleText = element("span"), scaleBar = element("div", { className: "ld-scale" });
  br.append(scaleText, scaleBar);
  const stage = element("div", { className: "ld-stage" }, canvas, tl, tr, bl, br, ...sides);
  const context = canvas.getContext("2d"), picture = makePicture(), tint = makePicture();
  let painted = "";
  return {
    canvas, stage, context,
    forget() { painted = ""; },
    fit() {
      canvas.width = Math.max(1, Math.round(stage.clientWidth * devicePixelRatio));
      canvas.height = Math.max(1, Math.round(stage.clientHeight * devicePixelRatio));
    },
    clear(shown) {
      for (const place of [tl, tr, bl, br, ...sides]) place.hidden = !shown;
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
    },
    paintSlice(now, index, hu, frame, window, invert) {
      const key = `${now.uid} ${index} ${window} ${invert}`;
      if (key !== painted) { picture.fill(now.width, now.height, (image) => windowed(hu, image, window, invert)); painted = key; }
      context.imageSmoothingEnabled = frame.sx < 4;
      context.drawImage(picture.canvas, frame.x, frame.y, now.width * frame.sx, now.height * frame.sy);
    },
    paintResponse(now, response, frame, opacity) {
      tint.fill(now.width, now.height, (image) => tinted(response, image));
      context.globalAlpha = opacity;
      context.drawImage(tint.canvas, frame.x, frame.y, now.width * frame.sx, now.height * frame.sy);
      context.globalAlpha = 1;
    },
    frameBox([x0, y0, x1, y1], frame) {
      context.lineWidth = 2 * devicePixelRatio;
      context.strokeStyle = MARK;
      context.strokeRect(frame.x + x0 * frame.sx, frame.y + y0 * frame.sy, (x1 - x0) * frame.sx, (y1 - y0) * frame.sy);
    },
    label(now, index, hu, frame, [center, width], cursor) {
      const write = now.unit === "HU" ? Math.round : said;
      tl.textContent = `${placeText(now, index)}${now.spacing_assumed ? "\nsize of pixels unknown: 1 mm assumed" : ""}`;
      tr.textContent = `W ${write(width)} L ${write(center)}`;
      bl.textContent = "";
      if (cursor && hu) {
        const [x, y] = cursor.map(Math.floor);
        if (x >= 0 && y >= 0 && x < now.width && y < now.height) bl.textContent = `${said(hu[y * now.width + x])}${now.unit === "HU" ? " HU" : ""} at (${x}, ${y})`;
      }
      const o = now.orientation, ends = o?.length ? [o.slice(0, 3), o.slice(0, 3).map((v) => -v), o.slice(3), o.slice(3).map((v) => -v)] : [];
      sides.forEach((node, i) => { node.textContent = ends.length ? letterOf(ends[i]) : ""; });
      const perMm = frame.sx / now.spacing_mm[2] / devicePixelRatio;
      const mm = [200, 100, 50, 20, 10, 5, 2, 1].find((length) => length * perMm < canvas.clientWidth / 3) ?? 1;
      scaleText.textContent = `${mm} mm`;
      scaleBar.style.width = `${mm * perMm}px`;
    },
  };
}

// The window that shows values as they spread: from their 2nd to their 99.5th per cent, [centre, width].
function spreadOf(values) {
  const sorted = values.slice().sort(), low = sorted[Math.floor(0.02 * values.length)], high = sorted[Math.floor(0.995 * values.length)];
  return [(low + high) / 2, high - low];
}
