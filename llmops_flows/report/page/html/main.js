// Draws the page: the leaderboard first, then each other section in its own task, so that the page stays responsive.
function redrawSelection() {
  by("a").value = state.a, by("b").value = state.b, by("q").value = state.q;
  markBoard();
  redraw("tradeoffs"), redraw("questions");
  saveAddress();
}

function choosePair(a, b) {
  [state.a, state.b] = [a, b];
  redrawSelection();
}

const PARTS = {
  tradeoffs: drawPlot,
  spread: drawSpread,
  questions: () => (D.questions.length ? (drawMatrix(), drawChanged(), drawAnswers()) : null),
  stages: drawStages,
};
const drawn = new Set();
const redraw = (part) => drawn.has(part) && PARTS[part]();

function show(part) {
  if (drawn.has(part)) return;
  drawn.add(part);
  PARTS[part]();
}

function redrawAll() {
  drawBoard();
  for (const part of drawn) PARTS[part]();
}

function listen(id, name, act) {
  by(id).addEventListener("change", () => {
    state[name] = typeof state[name] === "number" ? Number(by(id).value) : by(id).value;
    act();
    saveAddress();
  });
}

// The question whose score differs most between two points.
function farthest(a, b) {
  const steps = D.questions.map((_, q) => Math.abs((scoreOf(b, q, state.metric) || 0) - (scoreOf(a, q, state.metric) || 0)));
  return Math.max(0, steps.indexOf(Math.max(0, ...steps)));
}

function start() {
  state.b = D.points.findIndex((_, v) => v !== D.baseline);
  if (state.b < 0) state.b = 0;
  state.q = farthest(state.a, state.b);
  const horizontal = ["usd", "p50", "tokens"].find(varies) || "p50";
  [state.x, state.y] = [horizontal, state.metric < 0 ? "errors" : "m" + state.metric];
  readAddress();
  by("title").textContent = D.title;
  by("subtitle").textContent = `${plural(D.points.length, "point")}, ${plural(D.questions.length, "question")} each, ${plural(D.metrics.length, "metric")}`;
  by("findings").replaceChildren(...D.findings.map((text) => el("li", { text })));
  by("cut").replaceChildren(...D.cut.map((text) => el("li", { text })));
  options(by("metric"), D.metrics.map(([name], m) => [m, name]), state.metric);
  for (const id of ["x", "y"]) options(by(id), AXES.map(([key, name]) => [key, name]), state[id]);
  const points = D.points.map((_, v) => [v, cutText(called(v), 90)]);
  options(by("a"), points, state.a), options(by("b"), points, state.b);
  options(by("q"), D.questions.map((_, q) => [q, questionName(q)]), state.q);
  options(by("stage-point"), [[-1, "all points"], ...points], state.stagePoint);
  listen("metric", "metric", () => ((state.y = "m" + state.metric), (by("y").value = state.y), redrawAll()));
  listen("x", "x", drawPlot), listen("y", "y", drawPlot), listen("stage-point", "stagePoint", drawStages);
  for (const id of ["a", "b", "q"]) listen(id, id, redrawSelection);
  const step = (by) => () => {
    const n = grid.order.indexOf(state.q) + by;
    if (n >= 0 && n < grid.order.length) (state.q = grid.order[n]), redrawSelection();
  };
  by("before").addEventListener("click", step(-1)), by("after").addEventListener("click", step(1));
  by("more").addEventListener("click", () => ((spread = D.points.length), drawSpread()));
  const matrix = by("matrix");
  matrix.addEventListener("keydown", moveBy);
  matrix.addEventListener("mousemove", (event) => { const cell = cellAt(event); if (cell) showCell(...cell); });
  matrix.addEventListener("click", (event) => { const cell = cellAt(event); if (cell) [state.b, state.q] = cell, redrawSelection(); });
  drawBoard();
  for (const part of Object.keys(PARTS)) setTimeout(show, 0, part);
  setTimeout(() => (document.documentElement.dataset.drawn = Math.round(performance.now())));
  let waiting = 0;
  const resized = () => { clearTimeout(waiting), (waiting = setTimeout(() => redraw("questions"), 120)); };
  window.addEventListener("resize", resized);
  window.addEventListener("beforeprint", () => Object.keys(PARTS).forEach(show));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw("questions"));
}
start();
