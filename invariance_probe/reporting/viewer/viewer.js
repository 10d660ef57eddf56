(() => {
  "use strict";
  const FRAME_MS = 130, CALM_MS = 1000;
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  /** Bytes of base64 text. */
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  /** A number of a residual: two decimals, and a dash for what has no number. */
  const number = (value) => (value === null ? "–" : value < 0.01 && value > 0 ? "< 0.01" : value.toFixed(2));
  const level = (value) => Number(value.toPrecision(3)).toString().replace("-", "−");
  const brief = (step) => step.label.split(" (")[0];
  const canvas = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

  function start(root) {
    const held = root.querySelector(".ipv-data");
    if (!held || root.dataset.ipvReady) return;
    root.dataset.ipvReady = "yes";
    const data = JSON.parse(held.textContent);
    const RUNGS = Object.keys(data.rungs);
    const find = (selector) => root.querySelector(selector);
    const slider = find(".ipv-slider"), play = find(".ipv-play");
    const panels = {};
    for (const figure of root.querySelectorAll("[data-ipv-panel]")) {
      panels[figure.dataset.ipvPanel] = figure;
    }
    const tables = { maps: bytes(data.maps), differences: bytes(data.differences) };
    const selects = {};
    for (const label of root.querySelectorAll("[data-ipv-choice]")) {
      selects[label.dataset.ipvChoice] = label.querySelector("select");
    }
    const state = { image: 0, layer: 0, channel: 0, turn: 0, step: 0, way: 1, timer: 0 };
    const viewer = 1 + [...document.querySelectorAll("[data-ipv]")].indexOf(root);
    const sheets = new Map();
    let wanted = 0, saying = 0;

    const layer = () => data.layers[state.layer];
    const turn = () => data.turns[state.turn];
    const step = () => turn().steps[state.step];

    function fill(select, names) {
      select.replaceChildren(...names.map((name, index) => new Option(name, index)));
      select.closest("label").hidden = names.length < 2 && select !== selects.layer;
    }

    function fillChannels() {
      const one = layer();
      fill(selects.channel, one.channels.map((channel) => `${channel} (of 0 to ${one.width - 1})`));
      state.channel = Math.min(state.channel, one.channels.length - 1);
      selects.channel.value = state.channel;
      selects.channel.closest("label").hidden = false;
    }

    function useTurn(index) {
      state.turn = index;
      state.step = turn().start;
      slider.max = turn().steps.length - 1;
      slider.disabled = play.disabled = turn().steps.length < 2;
    }

    /** The decoded sheet behind a data URI; maps as bytes, inputs as a picture. */
    function sheet(uri, asBytes) {
      if (!sheets.has(uri)) {
        const image = new Image();
        image.src = uri;
        sheets.set(uri, image.decode().then(() => {
          if (!asBytes) return image;
          const area = canvas(image.naturalWidth, image.naturalHeight);
          const pen = area.getContext("2d", { willReadFrequently: true });
          pen.drawImage(image, 0, 0);
          const rgba = pen.getImageData(0, 0, area.width, area.height).data;
          return Uint8Array.from({ length: rgba.length / 4 }, (_, i) => rgba[4 * i]);
        }));
      }
      return sheets.get(uri);
    }

    async function draw() {
      const mine = ++wanted;
      const one = layer();
      const [picture, maps] = await Promise.all([
        sheet(data.images[state.image].sheet, false),
        sheet(one.sheets[state.image][state.channel], true),
      ]);
      if (mine !== wanted) return; // something newer is on its way
      const at = step().index;
      drawInput(panels.image, picture, 0);
      drawInput(panels.input, picture, 1 + at);
      const [rows, columns] = one.size, size = rows * columns;
      const frame = (index) => maps.subarray(index * size, (index + 1) * size);
      const original = frame(0), back = frame(1 + data.moves + at);
      const { [state.channel]: low } = one.low, { [state.channel]: high } = one.high;
      const ends = one.limits[state.channel], { span } = ends;
      const stretched = stretch(tables.maps, ends.low, ends.high);
      const apart = back.map((value, i) => {
        const share = ((value - original[i]) / 255) * (high - low) / span;
        return Math.round((Math.max(-1, Math.min(1, share)) + 1) / 2 * 255);
      });
      drawMap(panels.original, original, stretched, "");
      drawMap(panels.moved, frame(1 + at), stretched, "");
      drawMap(panels.back, back, stretched, "pale");
      drawMap(panels.difference, apart, tables.differences, "hatched");
      const value = (byte) => level(low + (high - low) * byte / 255);
      for (const name of ["original", "moved", "back"]) {
        scale(panels[name], tables.maps,
          (ends.below ? "≤ " : "") + value(ends.low), (ends.above ? "≥ " : "") + value(ends.high));
      }
      scale(panels.difference, tables.differences,
        (ends.beyond ? "≤ " : "") + level(-span), (ends.beyond ? "≥ " : "") + level(span));
      root.dataset.ipvShown = `${state.image} ${state.layer} ${state.channel} ${at}`;
    }

    /** A table of colours whose 256 entries lie between two bytes; beyond them its ends. */
    function stretch(table, low, high) {
      const wide = new Uint8Array(table.length);
      for (let i = 0; i < 256; i++) {
        const share = Math.max(0, Math.min(1, (i - low) / (high - low)));
        wide.set(table.subarray(3 * Math.round(255 * share)).subarray(0, 3), 3 * i);
      }
      return wide;
    }

    /** The canvas of a panel at the resolution of the screen, and a pen for it. */
    function surface(panel, height, width) {
      const area = panel.querySelector(".ipv-picture");
      const across = Math.max(1, Math.round(area.clientWidth * (window.devicePixelRatio || 1)));
      const down = Math.max(1, Math.round(across * height / width));
      area.style.aspectRatio = `${width} / ${height}`;
      if (area.width !== across || area.height !== down) {
        area.width = across;
        area.height = down;
      }
      const pen = area.getContext("2d");
      pen.clearRect(0, 0, across, down);
      return { pen, across, down };
    }

    function drawInput(panel, picture, index) {
      const [rows, columns] = data.size;
      const { pen, across, down } = surface(panel, rows, columns);
      pen.imageSmoothingEnabled = Math.max(rows, columns) > 64;
      pen.imageSmoothingQuality = "high";
      pen.drawImage(picture, 0, index * rows, columns, rows, 0, 0, across, down);
    }

    function drawMap(panel, frame, table, outside) {
      const one = layer(), [rows, columns] = one.size;
      const { pen, across, down } = surface(panel, one.extent[0], one.extent[1]);
      const small = canvas(columns, rows), ink = small.getContext("2d");
      const pixels = ink.createImageData(columns, rows);
      for (let i = 0; i < frame.length; i++) {
        for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = table[3 * frame[i] + c];
        pixels.data[4 * i + 3] = 255;
      }
      ink.putImageData(pixels, 0, 0);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(small, 0, 0, across, down);
      if (outside && one.cells.includes("0")) veil(pen, across, down, outside);
    }

    /** Covers the cells that are not compared: paler in a map, hatched in a difference. */
    function veil(pen, across, down, how) {
      const one = layer(), [rows, columns] = one.size, style = getComputedStyle(root);
      pen.save();
      pen.beginPath();
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          if (one.cells[row * columns + column] === "1") continue;
          const x = Math.round(column * across / columns), y = Math.round(row * down / rows);
          pen.rect(x, y, Math.round((column + 1) * across / columns) - x,
            Math.round((row + 1) * down / rows) - y);
        }
      }
      pen.clip();
      pen.globalAlpha = how === "pale" ? 0.6 : 1;
      pen.fillStyle = style.getPropertyValue(how === "pale" ? "--ipv-paper" : "--ipv-empty");
      pen.fillRect(0, 0, across, down);
      if (how === "hatched") {
        const gap = 7 * (window.devicePixelRatio || 1);
        pen.strokeStyle = style.getPropertyValue("--ipv-hatch");
        pen.lineWidth = gap / 6;
        pen.beginPath();
        for (let x = -down; x < across; x += gap) {
          pen.moveTo(x, down);
          pen.lineTo(x + down, 0);
        }
        pen.stroke();
      }
      pen.restore();
    }

    function scale(panel, table, low, high) {
      const bar = panel.querySelector(".ipv-bar"), pen = bar.getContext("2d");
      const pixels = pen.createImageData(256, 1);
      for (let i = 0; i < 256; i++) {
        for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = table[3 * i + c];
        pixels.data[4 * i + 3] = 255;
      }
      pen.putImageData(pixels, 0, 0);
      const [from, to] = panel.querySelectorAll(".ipv-scale span");
      from.textContent = low;
      to.textContent = high;
    }

    /** Residual of a rung at a step of the slider; column 0 is all channels. */
    const residual = (at, column, rung) =>
      layer().residuals[state.image][turn().steps[at].index][column][rung];

    function write() {
      const now = step(), held = layer();
      slider.value = state.step;
      slider.setAttribute("aria-valuetext", now.spoken);
      slider.setAttribute("aria-label", turn().kind);
      find(".ipv-value").textContent = now.label;
      find(".ipv-at").textContent = `at ${brief(now)}`;
      RUNGS.forEach((rung, index) => {
        const cells = root.querySelectorAll(`[data-ipv-rung="${rung}"] td`);
        cells[0].textContent = number(residual(state.step, 0, index));
        cells[1].textContent = number(residual(state.step, 1 + state.channel, index));
      });
      const name = `${held.name}, channel ${held.channels[state.channel]}`;
      for (const [key, panel] of Object.entries(panels)) {
        const what = key === "input" || key === "image" ? data.images[state.image].name : name;
        panel.querySelector(".ipv-picture").setAttribute(
          "aria-label", `${data.panels[key]}: ${what}, ${now.spoken}`);
      }
      find(".ipv-caption").textContent = caption();
      find(".ipv-source").textContent = source();
      curve();
    }
    
    /** Two sentences: what moving back does by construction, and what the numbers say. */
    function caption() {
      const what = { rotation: "angle", scaling: "scale" }[turn().kind] || "transformation";
      let worst = 0;
      turn().steps.forEach((_, at) => {
        if ((residual(at, 0, 1) ?? -1) > (residual(worst, 0, 1) ?? -1)) worst = at;
      });
      const first = "Moving a map back by h⁻¹ returns positions, but it leaves values as they are: "
        + `a channel that changed its brightness with the ${what} keeps the changed brightness.`;
      const value = residual(worst, 0, 1);
      if (value === null) return `${first} Layer ${layer().name} does not vary on this image.`;
      return `${first} For this image and layer the residual after moving back reaches `
        + `${number(value)} over these transformations (at ${brief(turn().steps[worst])}), against `
        + `${number(residual(worst, 0, 2))} with the input aligned instead.`;
    }

    function source() {
      const one = layer(), block = one.block > 1
        ? ` Maps are shown as averages of ${one.block} × ${one.block} cells.` : "";
      return `${data.network}; ${data.data}.${block} All maps of a channel share one colour scale of `
        + `${data.levels} steps, all its differences another. ${data.notes.join(" ")}`;
    }

    /** Residuals over all channels against the slider, with a line where it stands. */
    function curve() {
      const svg = find(".ipv-curve"), steps = turn().steps;
      const space = "http://www.w3.org/2000/svg";
      const make = (tag, given, text) => {
        const element = document.createElementNS(space, tag);
        for (const [key, value] of Object.entries(given)) element.setAttribute(key, value);
        if (text !== undefined) element.textContent = text;
        return element;
      };
      let top = 1;
      steps.forEach((_, at) => RUNGS.forEach((_, rung) => {
        top = Math.max(top, residual(at, 0, rung) ?? 0);
      }));
      const x = (at) => 24 + 230 * (steps.length > 1 ? at / (steps.length - 1) : 0.5);
      const y = (value) => 102 - 94 * value / top;
      const parts = [0, 1].map((v) => make("path", { class: "ipv-axis", d: `M24 ${y(v)}H254` }));
      parts.push(...[0, 1].map((v) => make("text", { x: 18, y: y(v) + 3, "text-anchor": "end" }, v)));
      parts.push(make("text", { x: 24, y: 116 }, brief(steps[0])));
      parts.push(make("text", { x: 254, y: 116, "text-anchor": "end" }, brief(steps[steps.length - 1])));
      parts.push(make("path", { class: "ipv-now", d: `M${x(state.step)} 6V102` }));
      RUNGS.forEach((rung, index) => {
        let path = "", pen = "M";
        steps.forEach((_, at) => {
          const value = residual(at, 0, index);
          if (value === null) { pen = "M"; return; }
          path += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
          pen = "L";
        });
        if (path) parts.push(make("path", { class: `ipv-${rung}`, d: path }));
      });
      svg.replaceChildren(...parts);
      svg.setAttribute("aria-label", `Residuals over all channels against ${turn().kind}`);
    }

    /** What the address calls a step: angle=60, scale=1.41, step=4. */
    const NAMES = { rotation: "angle", scaling: "scale" };
    const named = (one, at) => (NAMES[one.kind]
      ? brief(one.steps[at]).replace(/[°×\s]/g, "").replace("−", "-") : String(at + 1));

    /** The view as the end of an address, by which it can be found again. */
    function address() {
      const parts = new URLSearchParams(viewer > 1 ? { viewer } : {});
      parts.set("image", state.image + 1);
      parts.set("layer", layer().name);
      parts.set("channel", layer().channels[state.channel]);
      parts.set(NAMES[turn().kind] || "step", named(turn(), state.step));
      return `#${parts}`;
    }

    /** Takes the view that the address asks of this viewer; what it does not name stays. */
    function follow() {
      const parts = new URLSearchParams(location.hash.slice(1));
      if (!parts.has("image") || Number(parts.get("viewer") || 1) !== viewer) return false;
      const at = (index, names) => (index >= 0 && index < names.length ? index : 0);
      state.image = at(Number(parts.get("image")) - 1, data.images);
      state.layer = at(data.layers.findIndex((one) => one.name === parts.get("layer")), data.layers);
      state.channel = at(layer().channels.findIndex((c) => String(c) === parts.get("channel")),
        layer().channels);
      fillChannels();
      data.turns.forEach((one, index) => one.steps.forEach((_, number) => {
        const key = NAMES[one.kind] || "step";
        if (!parts.has(key) || parts.get(key) !== named(one, number)) return;
        useTurn(index);
        state.step = number;
      }));
      for (const name of ["image", "layer", "turn"]) selects[name].value = state[name];
      return true;
    }

    function say() {
      clearTimeout(saying);
      if (state.timer) return;
      saying = setTimeout(() => {
        const parts = RUNGS.map((r, index) => `${data.rungs[r]} ${number(residual(state.step, 0, index))}`);
        find(".ipv-live").textContent = `${step().spoken}: residual ${parts.join(", ")}`;
      }, 500);
    }

    function show() {
      write();
      draw();
      say();
    }

    /** What a reader chose is shown, and stands in the address. */
    function chosen() {
      show();
      try { history.replaceState(null, "", address()); } catch { /* an address that stays */ }
    }

    function go(to) {
      const last = turn().steps.length - 1;
      state.step = turn().loops ? (to + last + 1) % (last + 1) : Math.max(0, Math.min(last, to));
      if (state.timer) show(); else chosen();
    }

    function pause() {
      clearTimeout(state.timer);
      state.timer = 0;
      play.textContent = "Play";
    }

    function run() {
      play.textContent = "Pause";
      const tick = () => {
        state.timer = setTimeout(tick, calm.matches ? CALM_MS : FRAME_MS);
        if (document.hidden) return;
        const last = turn().steps.length - 1;
        if (!turn().loops && (state.step + state.way > last || state.step + state.way < 0)) {
          state.way = -state.way;
        }
        go(state.step + (turn().loops ? 1 : state.way));
      };
      state.timer = setTimeout(tick, calm.matches ? CALM_MS : FRAME_MS);
    }

    const toggle = () => {
      if (play.disabled) return;
      if (state.timer) { pause(); say(); } else run();
    };

    function choose(name, change) {
      selects[name].addEventListener("change", () => { change(Number(selects[name].value)); chosen(); });
    }
    choose("image", (index) => { state.image = index; });
    choose("layer", (index) => { state.layer = index; fillChannels(); });
    choose("channel", (index) => { state.channel = index; });
    choose("turn", useTurn);
    play.addEventListener("click", toggle);
    slider.addEventListener("input", () => { pause(); go(Number(slider.value)); });
    root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "SELECT") return;
      const last = turn().steps.length - 1;
      const moves = {
        ArrowRight: state.step + 1, ArrowUp: state.step + 1,
        ArrowLeft: state.step - 1, ArrowDown: state.step - 1, Home: 0, End: last,
      };
      if (event.key === " " && event.target !== play) toggle();
      else if (event.key in moves && last > 0) { pause(); go(moves[event.key]); } else return;
      event.preventDefault();
    });
    find(".ipv-curve").addEventListener("click", (event) => {
      const box = find(".ipv-curve").getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width * 260 - 24) / 230;
      const last = turn().steps.length - 1;
      pause();
      go(Math.max(0, Math.min(last, Math.round(share * last))));
    });
    // Dragging across the pictures turns them; up and down still scrolls the page.
    const area = find(".ipv-panels");
    let drag = null;
    area.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      drag = { x: event.clientX, step: state.step };
      area.setPointerCapture(event.pointerId);
    });
    area.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const steps = turn().steps.length;
      const to = drag.step + Math.round((event.clientX - drag.x) / area.clientWidth * steps);
      if (to !== state.step) { pause(); go(to); }
    });
    for (const end of ["pointerup", "pointercancel"]) area.addEventListener(end, () => { drag = null; });

    fill(selects.image, data.images.map((image) => image.name));
    fill(selects.layer, data.layers.map((one) => one.name));
    fill(selects.turn, data.turns.map((one) => one.kind));
    fillChannels();
    // The longest turn first: a single reflection shows little.
    useTurn(data.turns.reduce((best, one, i, all) =>
      (one.steps.length > all[best].steps.length ? i : best), 0));
    selects.turn.value = state.turn;
    const asked = follow();
    window.addEventListener("hashchange", () => { if (follow()) { pause(); show(); } });
    find(".ipv-app").hidden = false;
    if (asked) root.scrollIntoView();
    new ResizeObserver(() => draw()).observe(area);
    for (const medium of ["(prefers-color-scheme: dark)", "print"])  // paper is light
      window.matchMedia(medium).addEventListener("change", () => draw());
    show();
    if (root.dataset.ipvAutoplay && !asked && !calm.matches && !play.disabled) run();
  }

  const all = () => document.querySelectorAll("[data-ipv]").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
