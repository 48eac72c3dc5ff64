// The trade-off plot with its Pareto front, and the distribution of the scores of each point.
const AXES = [
  ["usd", "cost in USD", (v) => D.points[v].usd, true],
  ["p50", "latency p50 in s", (v) => D.points[v].p50, true],
  ["p95", "latency p95 in s", (v) => D.points[v].p95, true],
  ["tokens", "tokens", (v) => D.points[v].tokens, true],
  ["errors", "errors", (v) => D.points[v].errors, true],
  ...D.metrics.map(([name, less], m) => ["m" + m, name, (v) => D.points[v].scores[m][0], less]),
];
const axisOf = (key) => AXES.find((axis) => axis[0] === key) || AXES[1];
const varies = (key) => new Set(D.points.map((_, v) => axisOf(key)[2](v))).size > 1;

// The Pareto front: no other point is better in one figure and at least as good in the other.
function front(points, lowX, lowY) {
  const order = points.slice().sort((p, o) => (lowX ? p.x - o.x : o.x - p.x) || (lowY ? p.y - o.y : o.y - p.y));
  const kept = [];
  let best = null;
  for (const point of order) {
    if (best === null || (lowY ? point.y < best : point.y > best)) kept.push(point), (best = point.y);
  }
  return kept;
}

function scale(values, from, to) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const wide = low > 0 && high / low > 30;
  const shape = wide ? Math.log10 : (value) => value;
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
  const [a, b] = [shape(low), shape(high)];
  const room = (b - a) * 0.06;
  const place = (value) => from + ((shape(value) - a + room) / (b - a + 2 * room)) * (to - from);
  const ticks = [0, 1, 2, 3, 4].map((n) => (wide ? 10 ** (a + ((b - a) * n) / 4) : a + ((b - a) * n) / 4));
  return { place, ticks };
}

function grouped(lowX, lowY, x, y) {
  const seen = new Map();
  D.points.forEach((_, v) => {
    const [px, py] = [x(v), y(v)];
    if (px === null || py === null) return;
    const key = px + "/" + py;
    if (!seen.has(key)) seen.set(key, { x: px, y: py, all: [] });
    seen.get(key).all.push(v);
  });
  const points = [...seen.values()];
  return [points, front(points, lowX, lowY)];
}

function drawPlot() {
  const [, nameX, x, lowX] = axisOf(state.x);
  const [, nameY, y, lowY] = axisOf(state.y);
  const [points, best] = grouped(lowX, lowY, x, y);
  const [width, height, left, bottom] = [960, 400, 62, 46];
  const plot = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": nameY + " against " + nameX });
  by("plot").replaceChildren(plot);
  if (!points.length) return plot.append(draw("text", { x: 20, y: 30, text: "no data" }));
  const sx = scale(points.map((p) => p.x), left, width - 20);
  const sy = scale(points.map((p) => p.y), height - bottom, 14);
  sx.ticks.forEach((tick) => plot.append(
    draw("line", { class: "axis", x1: sx.place(tick), x2: sx.place(tick), y1: 14, y2: height - bottom }),
    draw("text", { x: sx.place(tick), y: height - bottom + 17, "text-anchor": "middle", text: short(tick) })));
  sy.ticks.forEach((tick) => plot.append(
    draw("line", { class: "axis", x1: left, x2: width - 20, y1: sy.place(tick), y2: sy.place(tick) }),
    draw("text", { x: left - 8, y: sy.place(tick) + 4, "text-anchor": "end", text: short(tick) })));
  const better = (less) => (less ? " (less is better)" : " (more is better)");
  plot.append(
    draw("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle", text: nameX + better(lowX) }),
    draw("text", { x: 14, y: (height - bottom) / 2 + 7, "text-anchor": "middle",
      transform: `rotate(-90 14 ${(height - bottom) / 2 + 7})`, text: nameY + better(lowY) }));
  const line = best.slice().sort((p, o) => p.x - o.x);
  plot.append(draw("polyline", { class: "frontier",
    points: line.map((p) => sx.place(p.x).toFixed(1) + "," + sy.place(p.y).toFixed(1)).join(" ") }));
  for (const point of points.filter((p) => !best.includes(p))) plot.append(dot(point, sx, sy, "rest"));
  for (const point of best) plot.append(dot(point, sx, sy, "front"), label(point, sx, sy, width));
}

function dot(point, sx, sy, kind) {
  const names = point.all.map((v) => D.points[v].name);
  const text = `${cutText(names.join(", "), 80)}: ${axisOf(state.y)[1]} ${short(point.y)}, ${axisOf(state.x)[1]} ` +
    `${short(point.x)}` + (point.all.length === 1 ? "; " + called(point.all[0]) : "");
  const showText = () => (by("point").textContent = text);
  const choose = () => choosePair(state.a, point.all[0]);
  const style = ["dot", kind, point.all.includes(D.baseline) ? "base" : "", point.all.includes(state.b) ? "chosen" : ""];
  const key = (event) => (event.key === "Enter" || event.key === " ") && (choose(), event.preventDefault());
  return draw("circle", {
    class: style.join(" ").trim(), cx: sx.place(point.x).toFixed(1), cy: sy.place(point.y).toFixed(1),
    r: Math.min(11, 5 + Math.log2(point.all.length)).toFixed(1), "aria-label": text,
    tabindex: kind === "front" ? 0 : null, role: "button",
    on: { mouseenter: showText, focus: showText, click: choose, keydown: key },
  });
}

function label(point, sx, sy, width) {
  const names = point.all.map((v) => D.points[v].name);
  const right = sx.place(point.x) > width - 120;
  return draw("text", { class: "name", x: sx.place(point.x) + (right ? -12 : 12), y: sy.place(point.y) - 9,
    "text-anchor": right ? "end" : "start", text: cutText(names.slice(0, 4).join(", "), 24) +
      (names.length > 4 ? " …" : "") });
}

// -- distribution -----------------------------------------------------------------------------------------------------
const FIRST = 24;
let spread = FIRST;

function drawSpread() {
  const m = state.metric;
  const shown = D.points.map((_, v) => v).slice(0, spread);
  by("more").hidden = D.points.length <= spread;
  by("more").textContent = `show all ${D.points.length} points`;
  if (m < 0) return by("spreads").replaceChildren(el("p", { class: "small", text: "no answer has a score" }));
  const every = shown.map((v) => D.questions.map((_, q) => scoreOf(v, q, m)).filter((score) => score !== null));
  const flat = every.flat();
  const high = flat.reduce((most, score) => Math.max(most, score), 1);
  const low = flat.reduce((least, score) => Math.min(least, score), 0);
  const [width, row, left, bins] = [960, 26, 330, 30];
  const place = (value) => left + ((value - low) / (high - low || 1)) * (width - left - 20);
  const plot = draw("svg", { viewBox: `0 0 ${width} ${shown.length * row + 24}`, role: "img",
    "aria-label": "Distribution of " + metricName(m) });
  shown.forEach((v, n) => {
    const counts = new Array(bins).fill(0);
    for (const score of every[n]) counts[Math.min(bins - 1, Math.floor(((score - low) / (high - low || 1)) * bins))]++;
    const most = Math.max(1, ...counts);
    const foot = (n + 1) * row;
    plot.append(draw("text", { class: "name", x: 0, y: foot - 6, text: cutText(brief(v), 52) }));
    counts.forEach((count, b) => count && plot.append(draw("rect", { class: "bar", x: place(low + ((high - low) * b) / bins),
      y: foot - (count / most) * (row - 6), width: (width - left - 20) / bins - 1, height: (count / most) * (row - 6) })));
    plot.append(draw("line", { class: "axis", x1: left, x2: width - 20, y1: foot, y2: foot }));
    const [mean, from, to] = D.points[v].scores[m];
    if (mean === null) return;
    plot.append(draw("line", { class: "mean", x1: place(mean), x2: place(mean), y1: foot - row + 5, y2: foot }));
    if (from !== null) plot.append(draw("line", { class: "mean", x1: place(from), x2: place(to), y1: foot - 3, y2: foot - 3 }));
  });
  [low, (low + high) / 2, high].forEach((tick) => plot.append(draw("text", { x: place(tick),
    y: shown.length * row + 17, "text-anchor": "middle", text: short(tick) })));
  by("spreads").replaceChildren(plot);
}
