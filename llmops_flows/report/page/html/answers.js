// The scores of every point on every question, the answers of two points, and the differences between them.
const LABELED = 40;
const MAX_WORDS = 900;
const grid = { order: [], width: 0, height: 0, left: 0 };

function drawMatrix() {
  const canvas = by("matrix");
  const room = Math.max(320, canvas.parentElement.clientWidth - 4);
  const labeled = D.points.length <= LABELED;
  grid.left = labeled ? 220 : 0;
  grid.height = labeled ? 18 : D.points.length <= 150 ? 6 : 3;
  grid.width = Math.max(3, Math.min(44, (room - grid.left) / Math.max(1, D.questions.length)));
  grid.order = hardestFirst();
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [grid.left + grid.width * D.questions.length, grid.height * D.points.length];
  canvas.width = Math.ceil(width * ratio), canvas.height = Math.ceil(height * ratio);
  canvas.style.width = width + "px", canvas.style.height = height + "px";
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const ramp = Array.from({ length: 33 }, (_, n) => mixed(color("--low"), color("--high"), n / 32));
  const [none, failed, ink, card] = ["--none", "--bad", "--ink", "--card"].map(color);
  const [low, high] = extent();
  pen.fillStyle = card, pen.fillRect(0, 0, width, height);
  const gap = grid.width > 5 ? 1 : 0;
  D.points.forEach((_, v) => grid.order.forEach((q, n) => {
    const cell = outcome(v, q);
    if (cell === null) return;
    const score = cell[1] >= 0 ? null : cell[2 + state.metric];
    const step = score === null || score === undefined ? 0 : (lower(state.metric) ? high - score : score - low) / (high - low || 1);
    pen.fillStyle = cell[1] >= 0 ? failed : score === null || score === undefined ? none : ramp[Math.round(step * 32)];
    pen.fillRect(grid.left + n * grid.width, v * grid.height, grid.width - gap, grid.height - (grid.height > 5 ? 1 : 0));
  }));
  if (labeled) {
    pen.fillStyle = ink, pen.font = "12px system-ui, sans-serif", pen.textBaseline = "middle";
    D.points.forEach((_, v) => pen.fillText(fitted(pen, brief(v), grid.left - 12), 0, v * grid.height + grid.height / 2));
  }
  frame(pen, state.a, ink), frame(pen, state.b, color("--accent"));
}

function frame(pen, v, stroke) {
  const n = grid.order.indexOf(state.q);
  pen.strokeStyle = stroke, pen.lineWidth = 2;
  pen.strokeRect(grid.left + n * grid.width - 1, v * grid.height - 0.5, grid.width + 1, grid.height);
}

function fitted(pen, text, width) {
  let shown = text;
  while (shown.length > 4 && pen.measureText(shown).width > width) shown = shown.slice(0, -2);
  return shown === text ? text : shown.slice(0, -1) + "…";
}

function hardestFirst() {
  const means = D.questions.map((_, q) => {
    let [sum, count] = [0, 0];
    for (let v = 0; v < D.points.length; v++) {
      const score = scoreOf(v, q, state.metric);
      if (score !== null && score !== undefined) (sum += score), count++;
    }
    return count ? (sum / count) * (lower(state.metric) ? -1 : 1) : Infinity;
  });
  return D.questions.map((_, q) => q).sort((p, q) => means[p] - means[q] || p - q);
}

function extent() {
  let [low, high] = [0, 1];
  for (const cell of D.outcomes.flat()) {
    const score = cell[2 + state.metric];
    if (score !== null && score !== undefined) (low = Math.min(low, score)), (high = Math.max(high, score));
  }
  return [low, high];
}

function cellAt(event) {
  const box = by("matrix").getBoundingClientRect();
  const n = Math.floor((event.clientX - box.left - grid.left) / grid.width);
  const v = Math.floor((event.clientY - box.top) / grid.height);
  return n >= 0 && n < D.questions.length && v >= 0 && v < D.points.length ? [v, grid.order[n]] : null;
}

function showCell(v, q) {
  const cell = outcome(v, q);
  const text = !cell ? "no row" : cell[1] >= 0 ? "error: " + words(cell[1]) :
    `${metricName(state.metric)} ${number(cell[2 + state.metric])}: ${words(cell[0]) || "no answer"}`;
  by("cell").textContent = cutText(`${D.points[v].name} on ${D.questions[q][0]}: ${text}`.replace(/\s+/g, " "), 260);
}

function moveBy(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!step) return;
  event.preventDefault();
  const within = (value, size) => Math.max(0, Math.min(size - 1, value));
  state.b = within(state.b + step[0], D.points.length);
  state.q = grid.order[within(grid.order.indexOf(state.q) + step[1], D.questions.length)];
  redrawSelection();
  showCell(state.b, state.q);
}

// -- two answers side by side ------------------------------------------------------------------------------------------
function drawAnswers() {
  const { a, b, q } = state;
  const [first, second] = [outcome(a, q), outcome(b, q)];
  const parts = [el("h3", { text: D.questions[q][0] }), el("p", { class: "text-box", dir: "auto", text: words(D.questions[q][1]) || "" })];
  const reference = words(D.questions[q][2]);
  if (reference) parts.push(el("h3", { text: "Reference" }), el("p", { class: "text-box", dir: "auto", text: reference }));
  const [before, after] = compared(textOf(first), textOf(second));
  parts.push(el("div", { class: "pair" }, side("A", a, first, before), side("B", b, second, after)), scoreTable(first, second), allAnswers(q));
  by("answers").replaceChildren(...parts);
}

const textOf = (cell) => (cell === null ? "" : words(cell[1] >= 0 ? cell[1] : cell[0]) || "");

function side(letter, v, cell, parts) {
  const style = cell && cell[1] >= 0 ? "text-box error" : "text-box";
  const shown = cell === null ? ["no row"] : parts.length ? parts : ["no answer"];
  return el("div", {}, el("h3", { text: `${letter}: ${called(v)}` }), el("p", { class: style, dir: "auto" }, ...shown));
}

function scoreTable(first, second) {
  const rows = D.metrics.map(([name, less], m) => {
    const [from, to] = [first, second].map((cell) => (cell && cell[1] < 0 ? cell[2 + m] : null));
    const step = from === null || to === null ? null : to - from;
    const style = !step ? "same" : step > 0 === !less ? "better" : "worse";
    return el("tr", {}, el("td", { class: "text", text: name }), el("td", { text: number(from) }),
      el("td", { text: number(to) }), el("td", { class: style, text: step === null ? "" : signed(step) }));
  });
  const heads = ["metric", "A", "B", "B minus A"].map((text, n) => el("th", { text, class: n ? null : "text", scope: "col" }));
  return el("details", { open: rows.length < 9 ? "" : null }, el("summary", { text: "Scores of both" }),
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)));
}

function allAnswers(q) {
  const points = new Map();
  D.cells.forEach((cells, v) => {
    const text = textOf(outcome(v, q)) || "no answer";
    if (cells[q] >= 0) points.set(text, [...(points.get(text) || []), v]);
  });
  const groups = [...points].sort((first, second) => second[1].length - first[1].length);
  const build = () => groups.slice(0, 50).map(([text, all]) => el("div", {},
    el("p", { class: "small", text: `${all.length} of ${D.points.length}: ${cutText(all.map((v) => D.points[v].name).join(", "), 300)}` }),
    el("p", { class: "text-box", dir: "auto", text })));
  const box = el("details", {}, el("summary", { text: `All ${groups.length} different answers to this question` }));
  box.addEventListener("toggle", () => box.childElementCount === 1 && box.append(...build()));
  return box;
}

// The words of both texts, with the words of only one text marked (longest common subsequence).
function compared(before, after) {
  if (before === after) return [[before], [after]].map((parts) => parts.filter(Boolean));
  const [first, second] = [before, after].map((text) => text.match(/\s+|[^\s]+/g) || []);
  if (first.length > MAX_WORDS || second.length > MAX_WORDS) return [[before], [after]];
  const width = second.length + 1;
  const best = new Uint16Array((first.length + 1) * width);
  for (let i = first.length - 1; i >= 0; i--)
    for (let j = second.length - 1; j >= 0; j--)
      best[i * width + j] = first[i] === second[j] ? best[(i + 1) * width + j + 1] + 1 :
        Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
  const [left, right] = [[], []];
  let [i, j] = [0, 0];
  while (i < first.length || j < second.length) {
    if (i < first.length && j < second.length && first[i] === second[j]) left.push([first[i++]]), right.push([second[j++]]);
    else if (j >= second.length || (i < first.length && best[(i + 1) * width + j] >= best[i * width + j + 1]))
      left.push([first[i++], "del"]);
    else right.push([second[j++], "ins"]);
  }
  return [joined(left), joined(right)];
}

function joined(parts) {
  const runs = [];
  for (const [text, tag] of parts) {
    const last = runs[runs.length - 1];
    if (last && last[1] === tag) last[0] += text;
    else runs.push([text, tag]);
  }
  return runs.map(([text, tag]) => (tag ? el(tag, { text }) : text));
}

function drawChanged() {
  const { a, b, metric } = state;
  if (a === b) return by("changed").replaceChildren(el("p", { class: "small", text: "A and B are the same point." }));
  const differences = [];
  let answers = 0;
  D.questions.forEach((_, q) => {
    answers += textOf(outcome(a, q)) !== textOf(outcome(b, q));
    const [from, to] = [scoreOf(a, q, metric), scoreOf(b, q, metric)];
    if (from !== null && to !== null && from !== to) differences.push([(to - from) * (lower(metric) ? -1 : 1), q]);
  });
  differences.sort((first, second) => Math.abs(second[0]) - Math.abs(first[0]) || first[1] - second[1]);
  const list = (head, questions) => el("p", {}, el("span", { class: "small", text: `${head} (${questions.length}): ` }),
    ...questions.slice(0, 24).map(([step, q]) => el("button", { type: "button", text: D.questions[q][0],
      title: `${signed(step)}  ${questionName(q)}`, on: { click: () => ((state.q = q), redrawSelection()) } })));
  const changed = `From A to B, ${answers} of ${plural(D.questions.length, "answer")} changed`;
  const parts = [el("p", { class: "small", text: differences.length ? `${changed}; by ${metricName(metric)}:` : `${changed}.` })];
  const [up, down] = [differences.filter(([step]) => step > 0), differences.filter(([step]) => step < 0)];
  if (up.length) parts.push(list("improved", up));
  if (down.length) parts.push(list("regressed", down));
  by("changed").replaceChildren(...parts);
}
