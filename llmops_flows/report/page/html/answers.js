// Every variant on every question, on one canvas; below it the answers of two variants, and what changed.
const LABELED = 40;
const LONGEST = 900;
const grid = { order: [], wide: 0, tall: 0, left: 0 };

function drawMatrix() {
  const canvas = by("matrix");
  const room = Math.max(320, canvas.parentElement.clientWidth - 4);
  const labeled = D.variants.length <= LABELED;
  grid.left = labeled ? 220 : 0;
  grid.tall = labeled ? 18 : D.variants.length <= 150 ? 6 : 3;
  grid.wide = Math.max(3, Math.min(44, (room - grid.left) / Math.max(1, D.questions.length)));
  grid.order = hardestFirst();
  const dots = window.devicePixelRatio || 1;
  const [width, height] = [grid.left + grid.wide * D.questions.length, grid.tall * D.variants.length];
  canvas.width = Math.ceil(width * dots), canvas.height = Math.ceil(height * dots);
  canvas.style.width = width + "px", canvas.style.height = height + "px";
  const pen = canvas.getContext("2d");
  pen.scale(dots, dots);
  const ramp = Array.from({ length: 33 }, (_, n) => mixed(color("--low"), color("--high"), n / 32));
  const [none, failed, ink, card] = ["--none", "--bad", "--ink", "--card"].map(color);
  const [low, high] = extent();
  pen.fillStyle = card, pen.fillRect(0, 0, width, height);
  const gap = grid.wide > 5 ? 1 : 0;
  D.variants.forEach((_, v) => grid.order.forEach((q, n) => {
    const found = outcome(v, q);
    if (found === null) return;
    const score = found[1] >= 0 ? null : found[2 + state.metric];
    const step = score === null || score === undefined ? 0 : (lower(state.metric) ? high - score : score - low) / (high - low || 1);
    pen.fillStyle = found[1] >= 0 ? failed : score === null || score === undefined ? none : ramp[Math.round(step * 32)];
    pen.fillRect(grid.left + n * grid.wide, v * grid.tall, grid.wide - gap, grid.tall - (grid.tall > 5 ? 1 : 0));
  }));
  if (labeled) {
    pen.fillStyle = ink, pen.font = "12px system-ui, sans-serif", pen.textBaseline = "middle";
    D.variants.forEach((_, v) => pen.fillText(fitted(pen, brief(v), grid.left - 12), 0, v * grid.tall + grid.tall / 2));
  }
  frame(pen, state.a, ink), frame(pen, state.b, color("--accent"));
}

function frame(pen, v, stroke) {
  const n = grid.order.indexOf(state.q);
  pen.strokeStyle = stroke, pen.lineWidth = 2;
  pen.strokeRect(grid.left + n * grid.wide - 1, v * grid.tall - 0.5, grid.wide + 1, grid.tall);
}

function fitted(pen, text, width) {
  let shown = text;
  while (shown.length > 4 && pen.measureText(shown).width > width) shown = shown.slice(0, -2);
  return shown === text ? text : shown.slice(0, -1) + "…";
}

function hardestFirst() {
  const means = D.questions.map((_, q) => {
    let [sum, count] = [0, 0];
    for (let v = 0; v < D.variants.length; v++) {
      const score = scoreOf(v, q, state.metric);
      if (score !== null && score !== undefined) (sum += score), count++;
    }
    return count ? (sum / count) * (lower(state.metric) ? -1 : 1) : Infinity;
  });
  return D.questions.map((_, q) => q).sort((one, other) => means[one] - means[other] || one - other);
}

function extent() {
  let [low, high] = [0, 1];
  for (const found of D.outcomes.flat()) {
    const score = found[2 + state.metric];
    if (score !== null && score !== undefined) (low = Math.min(low, score)), (high = Math.max(high, score));
  }
  return [low, high];
}

function cellAt(event) {
  const box = by("matrix").getBoundingClientRect();
  const n = Math.floor((event.clientX - box.left - grid.left) / grid.wide);
  const v = Math.floor((event.clientY - box.top) / grid.tall);
  return n >= 0 && n < D.questions.length && v >= 0 && v < D.variants.length ? [v, grid.order[n]] : null;
}

function tellCell(v, q) {
  const found = outcome(v, q);
  const said = !found ? "no row" : found[1] >= 0 ? "error: " + words(found[1]) :
    `${metricName(state.metric)} ${number(found[2 + state.metric])}: ${words(found[0]) || "no answer"}`;
  by("cell").textContent = cutText(`${D.variants[v].name} on ${D.questions[q][0]}: ${said}`.replace(/\s+/g, " "), 260);
}

function moveBy(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!step) return;
  event.preventDefault();
  const within = (value, size) => Math.max(0, Math.min(size - 1, value));
  state.b = within(state.b + step[0], D.variants.length);
  state.q = grid.order[within(grid.order.indexOf(state.q) + step[1], D.questions.length)];
  chosen();
  tellCell(state.b, state.q);
}

// -- two answers side by side ------------------------------------------------------------------------------------------
function drawAnswers() {
  const { a, b, q } = state;
  const [one, other] = [outcome(a, q), outcome(b, q)];
  const parts = [el("h3", { text: D.questions[q][0] }), el("p", { class: "said", dir: "auto", text: words(D.questions[q][1]) || "" })];
  const reference = words(D.questions[q][2]);
  if (reference) parts.push(el("h3", { text: "Reference" }), el("p", { class: "said", dir: "auto", text: reference }));
  const [before, after] = compared(textOf(one), textOf(other));
  parts.push(el("div", { class: "pair" }, side("A", a, one, before), side("B", b, other, after)), scoreTable(one, other), others(q));
  by("answers").replaceChildren(...parts);
}

const textOf = (found) => (found === null ? "" : words(found[1] >= 0 ? found[1] : found[0]) || "");

function side(letter, v, found, parts) {
  const style = found && found[1] >= 0 ? "said error" : "said";
  const shown = found === null ? ["no row"] : parts.length ? parts : ["no answer"];
  return el("div", {}, el("h3", { text: `${letter}: ${called(v)}` }), el("p", { class: style, dir: "auto" }, ...shown));
}

function scoreTable(one, other) {
  const rows = D.metrics.map(([name, less], m) => {
    const [from, to] = [one, other].map((found) => (found && found[1] < 0 ? found[2 + m] : null));
    const step = from === null || to === null ? null : to - from;
    const style = !step ? "same" : step > 0 === !less ? "better" : "worse";
    return el("tr", {}, el("td", { class: "text", text: name }), el("td", { text: number(from) }),
      el("td", { text: number(to) }), el("td", { class: style, text: step === null ? "" : signed(step) }));
  });
  const heads = ["metric", "A", "B", "B less A"].map((text, n) => el("th", { text, class: n ? null : "text", scope: "col" }));
  return el("details", { open: rows.length < 9 ? "" : null }, el("summary", { text: "Scores of both" }),
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)));
}

function others(q) {
  const given = new Map();
  D.cells.forEach((mine, v) => {
    const text = textOf(outcome(v, q)) || "no answer";
    if (mine[q] >= 0) given.set(text, [...(given.get(text) || []), v]);
  });
  const groups = [...given].sort((one, other) => other[1].length - one[1].length);
  const build = () => groups.slice(0, 50).map(([text, all]) => el("div", {},
    el("p", { class: "small", text: `${all.length} of ${D.variants.length}: ${cutText(all.map((v) => D.variants[v].name).join(", "), 300)}` }),
    el("p", { class: "said", dir: "auto", text })));
  const box = el("details", {}, el("summary", { text: `All ${groups.length} different answers to this question` }));
  box.addEventListener("toggle", () => box.childElementCount === 1 && box.append(...build()));
  return box;
}

// The words of both texts, those that only one of them has marked (longest common subsequence).
function compared(before, after) {
  if (before === after) return [[before], [after]].map((parts) => parts.filter(Boolean));
  const [one, other] = [before, after].map((text) => text.match(/\s+|[^\s]+/g) || []);
  if (one.length > LONGEST || other.length > LONGEST) return [[before], [after]];
  const wide = other.length + 1;
  const best = new Uint16Array((one.length + 1) * wide);
  for (let i = one.length - 1; i >= 0; i--)
    for (let j = other.length - 1; j >= 0; j--)
      best[i * wide + j] = one[i] === other[j] ? best[(i + 1) * wide + j + 1] + 1 :
        Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
  const [left, right] = [[], []];
  let [i, j] = [0, 0];
  while (i < one.length || j < other.length) {
    if (i < one.length && j < other.length && one[i] === other[j]) left.push([one[i++]]), right.push([other[j++]]);
    else if (j >= other.length || (i < one.length && best[(i + 1) * wide + j] >= best[i * wide + j + 1]))
      left.push([one[i++], "del"]);
    else right.push([other[j++], "ins"]);
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
  const moved = [];
  let answers = 0;
  D.questions.forEach((_, q) => {
    answers += textOf(outcome(a, q)) !== textOf(outcome(b, q));
    const [from, to] = [scoreOf(a, q, metric), scoreOf(b, q, metric)];
    if (from !== null && to !== null && from !== to) moved.push([(to - from) * (lower(metric) ? -1 : 1), q]);
  });
  moved.sort((one, other) => Math.abs(other[0]) - Math.abs(one[0]) || one[1] - other[1]);
  const list = (head, some) => el("p", {}, el("span", { class: "small", text: `${head} (${some.length}): ` }),
    ...some.slice(0, 24).map(([step, q]) => el("button", { type: "button", text: D.questions[q][0],
      title: `${signed(step)}  ${questionName(q)}`, on: { click: () => ((state.q = q), chosen()) } })));
  const changed = `From A to B, ${answers} of ${plural(D.questions.length, "answer")} changed`;
  const parts = [el("p", { class: "small", text: moved.length ? `${changed}; by ${metricName(metric)}:` : `${changed}.` })];
  const [up, down] = [moved.filter(([step]) => step > 0), moved.filter(([step]) => step < 0)];
  if (up.length) parts.push(list("improved", up));
  if (down.length) parts.push(list("regressed", down));
  by("changed").replaceChildren(...parts);
}
