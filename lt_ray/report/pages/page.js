"use strict";
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const coarse = matchMedia("(pointer: coarse)").matches;
  const MARKERS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x"];
  const DASHES = ["solid", "dash", "dot"];
  const TICKS = [0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999];
  const DECIMALS = [[[0.095, null], ".1f"], [[0.0095, 0.095], ".2f"], [[0.00095, 0.0095], ".3f"], [[null, 0.00095], ".4f"]]
    .map(([dtickrange, value]) => ({ dtickrange, value }));
  const CONFIG = {
    displaylogo: false,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]],
    showTips: false,
  };

  // Text and numbers

  // plotly takes some HTML in its texts; names are to be shown as they are.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const minus = (text) => text.replace(/-/g, "−");
  const fixed = (value, digits) => (value === null ? "–" : minus(value.toFixed(digits)));
  const short = (value) =>
    typeof value === "number" ? minus(String(Number(value.toPrecision(4)))) : value === true ? "yes" : value === false ? "no" : String(value);
  const percent = (share) => `${Number((100 * share).toFixed(share > 0.99 ? 3 : 1))} %`;
  const depth = (sparsity) => sparsity === null ? null : -Math.log(Math.max(1 - sparsity, 1e-6));
  const wrap = (name) => {
    const lines = [""];
    for (const part of name.split(/(?<=[._ \-/])/)) {
      if (lines.at(-1) && (lines.at(-1) + part).length > 15) lines.push("");
      lines[lines.length - 1] += part;
    }
    return lines.map((line) => plain(line.trim())).join("<br>");
  };

  // Light and dark

  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  let chosen = null;
  try { chosen = localStorage.getItem("lt_ray.theme"); } catch { /* a sandboxed frame has no storage */ }
  if (chosen !== "dark" && chosen !== "light") chosen = null;

  const applyTheme = () => {
    const dark = chosen ? chosen === "dark" : system.matches;
    root.dataset.theme = dark ? "dark" : "light";
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", dark ? "Light theme" : "Dark theme");
    drawAll();
  };
  button.addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("lt_ray.theme", chosen); } catch { /* as above */ }
    applyTheme();
  });
  system.addEventListener("change", applyTheme);

  const colours = () => {
    const style = getComputedStyle(root);
    return (name) => style.getPropertyValue(`--${name}`).trim();
  };
  const clear = (hex, opacity) => hex + Math.round(255 * opacity).toString(16).padStart(2, "0");
  const mixed = (from, to, share) =>
    "#" + [1, 3, 5].map((i) => {
      const [a, b] = [from, to].map((hex) => parseInt(hex.slice(i, i + 2), 16));
      return Math.round(a + (b - a) * share).toString(16).padStart(2, "0");
    }).join("");

  // Links within the page: a framed page may have another address than it thinks.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const target = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!target) return;
    event.preventDefault();
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  });

  // Tables: numbers by value, words as people sort them, nothing always last

  for (const table of document.querySelectorAll(".table table")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const number = head.classList.contains("number");
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.textContent = head.textContent;
      head.replaceChildren(sorter);
      head.setAttribute("aria-sort", "none");
      const value = (row) => {
        const cell = row.cells[column];
        const text = cell.dataset.value ?? cell.textContent;
        if (!number) return text === "–" ? null : text;
        const found = text === "inf" ? Infinity : text === "-inf" ? -Infinity : parseFloat(text.replace("−", "-"));
        return Number.isNaN(found) ? null : found;
      };
      const words = new Intl.Collator("en", { numeric: true });
      const compare = (a, b) => (number ? (a < b ? -1 : a > b ? 1 : 0) : words.compare(a, b));
      sorter.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
        rows.sort(([a], [b]) =>
          a === null || b === null ? (a === null) - (b === null) : down ? compare(b, a) : compare(a, b));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

  // Charts: each is drawn anew from its state; plotly keeps the zoom.

  const charts = [];
  let Plotly = null;

  function drawAll() {
    if (Plotly) for (const chart of charts) chart.draw();
  }

  const base = (colour, width, height, margin) => ({
    width, height, margin,
    autosize: false,
    showlegend: false,
    uirevision: "kept",
    dragmode: coarse ? false : "zoom",
    hovermode: "closest",
    hoverdistance: coarse ? 40 : 24,
    paper_bgcolor: colour("ground"),
    plot_bgcolor: colour("ground"),
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("soft") },
    hoverlabel: {
      bgcolor: colour("ground"), bordercolor: colour("soft"), align: "left", namelength: -1,
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("text") },
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: colour("text") },
  });
  const axis = (colour, more) => ({
    gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false, ticks: "", fixedrange: coarse, ...more,
  });

  const curves = (data, state, colour, width) => {
    const traces = [];
    const ofArm = (arm, kind, more) => traces.push({
      type: "scatter", name: plain(arm.arm), meta: { arm: arm.arm, kind }, visible: !state.hidden.has(arm.arm),
      hoverinfo: "skip", ...more,
    });
    const paint = (arm) => colour(`arm-${arm.place % MARKERS.length}`);
    for (const arm of state.band ? data.arms : []) {
      const [x, y] = [[], []];
      let run = [];
      for (const point of [...arm.points, { low: null, high: null }]) {
        if (point.low !== null && point.high !== null && point.n >= data.fewest) { run.push(point); continue; }
        const back = [...run].reverse();
        x.push(...run.map((p) => depth(p.x)), ...back.map((p) => depth(p.x)), null);
        y.push(...run.map((p) => p.low), ...back.map((p) => p.high), null);
        run = [];
      }
      ofArm(arm, "band", { x, y, mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: clear(paint(arm), 0.14) });
    }
    for (const arm of state.cycles ? data.arms : []) {
      const points = arm.points.filter((point) => point.members.length > 1);
      const x = points.flatMap((point) => point.members.map(() => depth(point.x)));
      const y = points.flatMap((point) => point.members);
      ofArm(arm, "cycles", { x, y, mode: "markers", marker: { size: width < 600 ? 4 : 5, color: clear(paint(arm), 0.5) } });
    }
    for (const arm of data.arms) {
      const hovertext = arm.points.map((p) => [
        `<b>${plain(arm.arm)}</b>`,
        `round ${p.round}, sparsity ${percent(p.x)}`,
        `test ${data.metric} ${fixed(p.mean, 4)}` + (p.low === null ? "" : ` [${fixed(p.low, 4)}, ${fixed(p.high, 4)}]`),
        (p.n === 1 ? "n = 1 cycle" : `n = ${p.n} cycles`) +
          (data.dense === null || p.mean === null ? "" : `, dense ${p.mean < data.dense ? "−" : "+"} ${Math.abs(p.mean - data.dense).toFixed(4)}`),
      ].join("<br>"));
      ofArm(arm, "mean", {
        x: arm.points.map((p) => depth(p.x)), y: arm.points.map((p) => p.mean),
        hovertext, hoverinfo: "text", mode: "lines+markers",
        line: { color: paint(arm), width: width < 600 ? 1.6 : 2, dash: DASHES[Math.floor(arm.place / MARKERS.length) % DASHES.length] },
        marker: { color: paint(arm), size: width < 600 ? 5 : 7, symbol: MARKERS[arm.place % MARKERS.length] },
      });
    }
    const end = Math.max(depth(0.2), ...data.arms.flatMap((arm) => arm.points.map((p) => depth(p.x))));
    const margin = { l: 58, r: 12, t: 28, b: 46 };
    const crowded = (40 / (width - margin.l - margin.r)) * end;
    const ticks = [];
    for (const tick of TICKS) {
      if (depth(tick) <= end * 1.02 && (!ticks.length || depth(tick) - depth(ticks.at(-1)) > crowded)) ticks.push(tick);
    }
    let range = data.range;
    if (state.zoom) {
      const reach = Math.max(5 * Math.abs(data.dense - data.bound), 0.02);
      range = [Math.max(data.range[0], data.dense - reach), Math.min(data.range[1], data.dense + reach)];
    }
    const layout = {
      ...base(colour, width, width < 600 ? 336 : 432, margin),
      xaxis: axis(colour, {
        range: [-0.03 * end, 1.03 * end], tickvals: ticks.map(depth), ticktext: ticks.map((tick) => `${Number((100 * tick).toFixed(1))} %`),
        title: { text: width < 600 ? "sparsity (log scale of what remains)" : "sparsity: pruned share of the prunable weights (log scale of what remains)", standoff: 8 },
      }),
      yaxis: axis(colour, {
        range, uirevision: `zoom ${state.zoom}`, tickformatstops: DECIMALS, title: { text: `test ${data.metric}`, standoff: 8 }, nticks: 8,
      }),
      shapes: data.dense === null ? [] : [[data.dense, "solid"], [data.bound, "dash"]].map(([level, dash]) => ({
        type: "line", xref: "paper", x0: 0, x1: 1, y0: level, y1: level, layer: "below",
        line: { color: colour("reference"), width: 1.2, dash },
      })),
    };
    return { traces, layout };
  };

  // A front: cost against the test split; what is on it is filled, what was rejected crossed out

  const front = (data, state, colour, width) => {
    const small = width < 600;
    const cost = (value) => (value === null ? null : value * data.factor);
    const origins = data.dense.flatMap((arm) => arm.points);
    const start = origins.length === 1 ? origins : [];
    const told = (arm, p) => [
      `<b>${plain(arm.arm)}</b>`,
      (p.round ? `round ${p.round}` : "not pruned") + (p.blocks === null ? "" : `, ${short(p.blocks)} blocks`) + (p.rejected ? ", rejected" : ""),
      `test ${data.metric} ${fixed(p.mean, 4)}` + (p.low === null ? "" : ` [${fixed(p.low, 4)}, ${fixed(p.high, 4)}]`),
      data.cost === "latency"
        ? `latency ${fixed(cost(p.x), 2)} ms` + (p.x_low === null ? "" : ` [${fixed(cost(p.x_low), 2)}, ${fixed(cost(p.x_high), 2)}]`)
        : `${p.x === null ? "–" : Math.round(p.x).toLocaleString("en")} nonzero parameters`,
      (p.n === 1 ? "n = 1 cycle" : `n = ${p.n} cycles`) + (p.best ? ", on the front" : ""),
    ].join("<br>");
    const line = data.stairs.length ? [{
      type: "scatter", mode: "lines", meta: { arm: null, kind: "front" }, hoverinfo: "skip",
      x: data.stairs.map(([own]) => cost(own)), y: data.stairs.map(([, value]) => value),
      line: { shape: "hv", color: colour("reference"), width: 1.4, dash: "dash" },
    }] : [];
    const ends = (points, paint, of, low, high, f) => ({
      type: "data", symmetric: false, color: clear(paint, 0.4), thickness: 1.2, width: 0,
      array: points.map((p) => (p[high] === null || p.n < data.fewest ? 0 : f(p[high]) - f(p[of]))), arrayminus: points.map((p) => (p[low] === null || p.n < data.fewest ? 0 : f(p[of]) - f(p[low]))),
    });
    const points = (arm, paint, symbol, size, more) => ({
      type: "scatter", mode: "markers", name: plain(arm.arm), hoverinfo: "text", hovertext: arm.points.map((p) => told(arm, p)),
      x: arm.points.map((p) => cost(p.x)), y: arm.points.map((p) => p.mean), cliponaxis: false,
      marker: {
        color: arm.points.map((p) => (p.best ? paint : colour("ground"))), symbol, size, line: { color: paint, width: 1.8 },
      },
      ...(state.band ? { error_y: ends(arm.points, paint, "mean", "low", "high", (own) => own), error_x: ends(arm.points, paint, "x", "x_low", "x_high", cost) } : {}),
      ...more,
    });
    const ofArms = data.arms.flatMap((arm) => {
      const paint = colour(`arm-${arm.place % MARKERS.length}`);
      const visible = !state.hidden.has(arm.arm);
      const path = [...start, ...arm.points.filter((p) => !p.rejected)];
      const lost = arm.points.filter((p) => p.rejected);
      const found = [{
        type: "scatter", mode: "lines", meta: { arm: arm.arm, kind: "path" }, visible, hoverinfo: "skip",
        x: path.map((p) => cost(p.x)), y: path.map((p) => p.mean),
        line: { color: clear(paint, 0.4), width: 1.2, dash: DASHES[Math.floor(arm.place / MARKERS.length) % DASHES.length] },
      }, points(arm, paint, MARKERS[arm.place % MARKERS.length], small ? 7 : 10, { meta: { arm: arm.arm, kind: "points" }, visible })];
      if (lost.length) found.push({
        type: "scatter", mode: "markers", meta: { arm: arm.arm, kind: "rejected" }, visible, hoverinfo: "skip", cliponaxis: false,
        x: lost.map((p) => cost(p.x)), y: lost.map((p) => p.mean),
        marker: { symbol: "x-thin", size: small ? 10 : 13, line: { color: colour("text"), width: 1.6 } },
      });
      return found;
    });
    const dense = data.dense.map((arm) => points(arm, colour("text"), "star", small ? 11 : 14, { meta: { arm: arm.arm, kind: "dense" } }));
    const everything = [...origins, ...data.arms.flatMap((arm) => arm.points)];
    const costs = everything.flatMap((p) => [p.x, p.x_low, p.x_high]).filter((own) => own !== null).map(cost);
    const [least, most] = costs.length ? [Math.min(...costs), Math.max(...costs)] : [0, 1];
    const margin = 0.05 * (most - least) || 0.05 * most || 1;
    const layout = {
      ...base(colour, width, small ? 336 : 432, { l: 58, r: 14, t: 28, b: 46 }),
      xaxis: axis(colour, { range: [least - margin, most + margin], title: { text: data.label, standoff: 8 }, nticks: small ? 5 : 9 }),
      yaxis: axis(colour, { range: data.range, tickformatstops: DECIMALS, title: { text: `test ${data.metric}`, standoff: 8 }, nticks: 8 }),
    };
    return { traces: [...line, ...dense, ...ofArms], layout };
  };

  // Searched fields: numbers on a line (logarithmic over a decade or more), choices among few and words in a row

  const FEW = 8;
  const scale = (values, many = FEW) => {
    const known = values.filter((value) => value !== undefined && value !== null);
    const numbers = known.length > 0 && known.every((value) => typeof value === "number");
    if (!numbers || (new Set(known).size <= many && known.length > 2 * new Set(known).size)) {
      const words = [...new Set(known)].sort((a, b) =>
        typeof a === "number" && typeof b === "number" ? a - b : typeof a === "number" ? -1 : typeof b === "number" ? 1
          : String(a).localeCompare(String(b), "en", { numeric: true }));
      const place = (value) => (words.length > 1 ? words.indexOf(value) / (words.length - 1) : 0.5);
      return { words: true, place, ticks: words.map((word) => [place(word), short(word)]), step: 1 / Math.max(words.length - 1, 1) };
    }
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const log = low > 0 && high / low >= 10;
    const f = log ? Math.log10 : (value) => value;
    const place = (value) => (high > low ? (f(value) - f(low)) / (f(high) - f(low)) : 0.5);
    let ticks = [];
    if (high === low) {
      ticks = [low];
    } else if (log) {
      const few = Math.log10(high / low) <= 2.2 ? [1, 2, 5] : [1];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        for (const digit of few) ticks.push(Number(`${digit}e${power}`));
      }
    } else {
      const rough = (high - low) / 4;
      const power = 10 ** Math.floor(Math.log10(rough));
      let step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
      if (known.every(Number.isInteger)) step = Math.max(1, Math.round(step));
      for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) ticks.push(Number(tick.toPrecision(12)));
    }
    ticks = ticks.filter((tick) => tick >= low * (1 - 1e-9) || low <= 0).filter((tick) => place(tick) >= -1e-9 && place(tick) <= 1 + 1e-9);
    const brief = (tick) => (tick !== 0 && (Math.abs(tick) < 0.0001 || Math.abs(tick) >= 1e5) ? minus(tick.toExponential().replace("e+", "e")) : short(tick));
    return { words: false, place, ticks: ticks.map((tick) => [place(tick), brief(tick)]), step: 0 };
  };
  // A steady spread of equal words, so that they do not hide each other.
  const spread = (index) => ((index * 0.6180339887) % 1) - 0.5;
  const described = (data, row) => [
    `<b>${plain([row.arm, row.cycle].filter(Boolean).join(", "))}</b>` + (row.seed === undefined || row.seed === null ? "" : `, seed ${plain(row.seed)}`),
    ...data.keys.filter((key) => row[key] !== undefined && row[key] !== null).map((key) => `${plain(key)} ${plain(short(row[key]))}`),
    ...data.objectives.map((key) => `${plain(key)} ${typeof row[key] === "number" ? fixed(row[key], 4) : "–"}`),
  ].join("<br>");

  const ranked = (data, objective) => {
    const sign = data.lowest.includes(objective) ? -1 : 1;
    const value = (row) => (typeof row[objective] === "number" ? sign * row[objective] : -Infinity);
    return data.rows.map((row, index) => ({ row, index })).sort((a, b) => value(b.row) - value(a.row) || a.index - b.index);
  };

  const MISSING = -0.14;
  const parallel = (data, state, colour, width) => {
    const keys = [...data.keys, ...data.objectives.filter((_, index) => index !== state.objective), data.objectives[state.objective]];
    const scales = keys.map((key) => scale(data.rows.map((row) => row[key]), data.objectives.includes(key) ? 0 : FEW));
    const absent = keys.map((key) => data.rows.some((row) => row[key] === undefined || row[key] === null));
    const height = ({ row, index }, axis) => {
      const value = row[keys[axis]];
      if (value === undefined || value === null) return MISSING;
      return scales[axis].place(value) + (scales[axis].words ? spread(index) * Math.min(0.08, 0.3 * scales[axis].step) : 0);
    };
    const order = ranked(data, data.objectives[state.objective]);
    const lines = (items) => {
      const [x, y, hovertext, customdata] = [[], [], [], []];
      for (const item of items) {
        for (let axis = 0; axis < keys.length; axis++) {
          x.push(axis); y.push(height(item, axis)); hovertext.push(described(data, item.row)); customdata.push(item.index);
        }
        x.push(null); y.push(null); hovertext.push(""); customdata.push(null);
      }
      return { x, y, hovertext, customdata };
    };
    const line = (items, kind, more) => ({
      type: "scatter", mode: "lines", meta: { kind }, hoverinfo: "skip", ...lines(items), ...more,
    });
    const best = order.slice(0, state.best);
    const traces = [line(order.slice(state.best), "rest", { line: { width: 1, color: clear(colour("weak"), 0.45) } })];
    const shades = Math.min(7, best.length);
    for (let shade = shades - 1; shade >= 0; shade--) {
      const items = best.slice(Math.floor((shade * best.length) / shades), Math.floor(((shade + 1) * best.length) / shades));
      const strength = shades > 1 ? 1 - (0.7 * shade) / (shades - 1) : 1;
      traces.push(line(items.reverse(), "best", {
        hoverinfo: "text", line: { width: 1.2 + 0.8 * strength, color: mixed(colour("weak"), colour("strong"), strength) },
      }));
    }
    traces.push({ type: "scatter", mode: "lines", meta: { kind: "pointed" }, hoverinfo: "skip", x: [], y: [], line: { width: 3.5, color: colour("arm-1") } });
    const annotations = [];
    scales.forEach((own, axis) => {
      const note = (y, text, more) => annotations.push({ x: axis, y, text, showarrow: false, font: { size: 11, color: colour("soft") }, ...more });
      note(1.06, wrap(keys[axis]), { yanchor: "bottom", font: { size: 12, color: colour("text") } });
      for (const [place, text] of own.ticks) {
        note(place, plain(text.length > 14 ? `${text.slice(0, 13)}…` : text), { xanchor: "left", xshift: 3, bgcolor: clear(colour("ground"), 0.75), borderpad: 1 });
      }
      if (absent[axis]) note(MISSING, "none", { xanchor: "left", xshift: 3, bgcolor: clear(colour("ground"), 0.75), borderpad: 1 });
    });
    const layout = {
      ...base(colour, Math.max(width, 96 * keys.length), 384, { l: 44, r: 56, t: 56, b: 16 }),
      dragmode: false,
      xaxis: { visible: false, fixedrange: true, range: [0, Math.max(keys.length - 1, 1)] },
      yaxis: { visible: false, fixedrange: true, range: [absent.some(Boolean) ? MISSING - 0.05 : -0.06, 1.06] },
      shapes: keys.map((_, axis) => ({
        type: "line", x0: axis, x1: axis, y0: absent[axis] ? MISSING : -0.03, y1: 1.03, layer: "below", line: { color: colour("line"), width: 1 },
      })),
      annotations,
    };
    return { traces, layout, path: (index) => lines([{ row: data.rows[index], index }]) };
  };

  const middle = (own, place) => (own.words && own.ticks.length > 1 ? (place * (own.ticks.length - 1) + 0.5) / own.ticks.length : place);
  const field = (key) => (data, state, colour, width) => {
    const own = scale(data.rows.map((row) => row[key]));
    const objective = data.objectives[state.objective];
    const shown = data.rows.map((row, index) => ({ row, index }))
      .filter(({ row }) => row[key] !== undefined && row[key] !== null && typeof row[objective] === "number");
    const best = new Set(ranked(data, objective).slice(0, state.best).map(({ index }) => index));
    const traces = Object.entries(data.places).map(([arm, place]) => {
      const items = shown.filter(({ row }) => row.arm === arm);
      const paint = colour(`arm-${place % MARKERS.length}`);
      return {
        type: "scatter", mode: "markers", name: plain(arm), meta: { arm, kind: "cycle" }, visible: !state.hidden.has(arm),
        x: items.map(({ row, index }) => middle(own, own.place(row[key])) + (own.words ? 0.5 * spread(index) / own.ticks.length : 0)),
        y: items.map(({ row }) => row[objective]),
        hovertext: items.map(({ row }) => described(data, row)), hoverinfo: "text", cliponaxis: false,
        marker: {
          size: 7, symbol: MARKERS[place % MARKERS.length], color: items.map(({ index }) => clear(paint, best.has(index) ? 0.85 : 0.18)),
        },
      };
    });
    const levels = data.rows.map((row) => row[objective]).filter((value) => typeof value === "number");
    const [low, high] = [Math.min(...levels), Math.max(...levels)];
    const margin = 0.06 * (high - low) || 0.01;
    const room = Math.max(2, Math.floor((width - 60) / 48));
    const every = own.words ? 1 : Math.ceil(own.ticks.length / room);
    const ticks = own.ticks.filter((_, index) => index % every === 0);
    const most = Math.max(4, Math.floor((width - 60) / Math.max(ticks.length, 1) / 7));
    const layout = {
      ...base(colour, width, 240, { l: 44, r: 12, t: 12, b: 46 }),
      xaxis: axis(colour, {
        range: [-0.07, 1.07], tickvals: ticks.map(([place]) => middle(own, place)), tickangle: 0,
        ticktext: ticks.map(([, text]) => plain(text.length > most ? `${text.slice(0, most - 1)}…` : text)),
        title: { text: plain(key.length > 40 ? `…${key.slice(-39)}` : key), standoff: 8, font: { size: 12, color: colour("text") } },
      }),
      yaxis: axis(colour, { nticks: 5, uirevision: objective, range: [low - margin, high + margin], tickformatstops: DECIMALS }),
    };
    return { traces, layout };
  };

  const newChart = (host, data, state, figure) => {
    const drawing = host.querySelector(".drawing");
    let followed = false;
    const follow = () => {
      followed = true;
      const point = (index) => {
        const { x, y } = index === undefined || index === null ? { x: [], y: [] } : chart.path(index);
        Plotly.restyle(drawing, { x: [x], y: [y] }, [drawing.data.length - 1]);
      };
      drawing.on("plotly_hover", ({ points }) => point(points[0].customdata));
      drawing.on("plotly_unhover", () => point());
    };
    const chart = {
      host, width: 0,
      draw() { // what is folded has no width: it is drawn when it is opened
        chart.width = host.clientWidth;
        if (!chart.width) return;
        const { traces, layout, path } = figure(data, state, colours(), chart.width);
        chart.path = path;
        Plotly.react(drawing, traces, layout, { ...CONFIG, displayModeBar: (figure === curves || figure === front) && !coarse ? "hover" : false });
        if (chart.path && !followed) follow();
      },
    };
    chart.draw();
    new ResizeObserver(() => { if (host.clientWidth !== chart.width) chart.draw(); }).observe(host);
    charts.push(chart);
    return chart;
  };

  const start = (figure) => {
    const data = figures[figure.dataset.figure];
    if (!data.kind) return;
    const state = { hidden: new Set(), band: true, cycles: true, zoom: false, objective: 0, best: data.rows ? data.rows.length : 0 };
    const hosts = [...figure.querySelectorAll(".chart")];
    const [first, ...rest] = hosts;
    const own = data.kind === "curves" || data.kind === "front"
      ? [newChart(first, data, state, data.kind === "curves" ? curves : front)]
      : [newChart(first, data, state, parallel), ...rest.map((host, index) => newChart(host, data, state, field(data.keys[index])))];
    const draw = () => own.forEach((chart) => chart.draw());
    figure.addEventListener("click", (event) => {
      const pressed = event.target.closest("button[data-arm], button[data-tool]");
      if (!pressed) return;
      const on = pressed.getAttribute("aria-pressed") !== "true";
      pressed.setAttribute("aria-pressed", String(on));
      if (pressed.dataset.tool) state[pressed.dataset.tool] = on;
      else if (on) state.hidden.delete(pressed.dataset.arm);
      else state.hidden.add(pressed.dataset.arm);
      draw();
    });
    figure.querySelector("[data-objective]")?.addEventListener("change", (event) => {
      state.objective = Number(event.target.value);
      figure.querySelector("[data-shown]").textContent = data.objectives[state.objective];
      draw();
    });
    figure.querySelector("[data-best]")?.addEventListener("input", (event) => {
      state.best = Number(event.target.value);
      figure.querySelector("output").textContent = state.best;
      draw();
    });
  };

  const load = async () => {
    const packed = document.getElementById("plotly");
    if (!packed) return; // there is nothing to draw
    const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    Plotly = window.Plotly;
    for (const figure of document.querySelectorAll("figure[data-figure]")) {
      start(figure);
      await new Promise((resolve) => setTimeout(resolve)); // the page stays alive while many are drawn
    }
    root.dataset.charts = "drawn";
  };

  applyTheme();
  // Paper has no folds.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details.fold:not([open]), details.warnings:not([open])")];
    for (const fold of folded) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of folded) fold.open = false; });
  matchMedia("print").addEventListener("change", drawAll);
  load().catch((error) => {
    console.warn("The charts cannot be drawn:", error);
    for (const message of document.querySelectorAll(".no-chart")) message.style.display = "block";
    for (const drawing of document.querySelectorAll(".drawing, .grid")) drawing.style.display = "none";
  });
})();
