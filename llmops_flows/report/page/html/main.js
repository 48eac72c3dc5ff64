// Puts the page together: the leaderboard at once, each further part in a task of its own, so that nothing freezes.
function chosen() {
  by("a").value = state.a, by("b").value = state.b, by("q").value = state.q;
  markBoard();
  again("tradeoffs"), again("questions");
  keepAddress();
}

function choosePair(a, b) {
  [state.a, state.b] = [a, b];
  chosen();
}

const PARTS = {
  tradeoffs: drawPlot,
  spread: drawSpread,
  questions: () => (D.questions.length ? (drawMatrix(), drawChanged(), drawAnswers()) : null),
  stages: drawStages,
};
const seen = new Set();
const again = (part) => seen.has(part) && PARTS[part]();

function show(part) {
  if (seen.has(part)) return;
  seen.add(part);
  PARTS[part]();
}

function everything() {
  drawBoard();
  for (const part of seen) PARTS[part]();
}

function listen(id, name, act) {
  by(id).addEventListener("change", () => {
    state[name] = typeof state[name] === "number" ? Number(by(id).value) : by(id).value;
    act();
    keepAddress();
  });
}

// The question whose score differs most between two points.
function farthest(a, b) {
  const steps = D.questions.map((_, q) => Math.abs((scoreOf(b, q, state.metric) || 0) - (scoreOf(a, q, state.metric) || 0)));
  return Math.max(0, steps.indexOf(Math.max(0, ...steps)));
}

function start() {
  state.b = D.variants.findIndex((_, v) => v !== D.baseline);
  if (state.b < 0) state.b = 0;
  state.q = farthest(state.a, state.b);
  const across = ["usd", "p50", "tokens"].find(varies) || "p50";
  [state.x, state.y] = [across, state.metric < 0 ? "errors" : "m" + state.metric];
  readAddress();
  by("title").textContent = D.title;
  by("subtitle").textContent = `${plural(D.variants.length, "point")}, ${plural(D.questions.length, "question")} each, ${plural(D.metrics.length, "metric")}`;
  by("said").replaceChildren(...D.said.map((text) => el("li", { text })));
  by("cut").replaceChildren(...D.cut.map((text) => el("li", { text })));
  options(by("metric"), D.metrics.map(([name], m) => [m, name]), state.metric);
  for (const id of ["x", "y"]) options(by(id), AXES.map(([key, name]) => [key, name]), state[id]);
  const variants = D.variants.map((_, v) => [v, cutText(called(v), 90)]);
  options(by("a"), variants, state.a), options(by("b"), variants, state.b);
  options(by("q"), D.questions.map((_, q) => [q, questionName(q)]), state.q);
  options(by("whose"), [[-1, "all points"], ...variants], state.whose);
  listen("metric", "metric", () => ((state.y = "m" + state.metric), (by("y").value = state.y), everything()));
  listen("x", "x", drawPlot), listen("y", "y", drawPlot), listen("whose", "whose", drawStages);
  for (const id of ["a", "b", "q"]) listen(id, id, chosen);
  const step = (by) => () => {
    const n = grid.order.indexOf(state.q) + by;
    if (n >= 0 && n < grid.order.length) (state.q = grid.order[n]), chosen();
  };
  by("before").addEventListener("click", step(-1)), by("after").addEventListener("click", step(1));
  by("more").addEventListener("click", () => ((spread = D.variants.length), drawSpread()));
  const matrix = by("matrix");
  matrix.addEventListener("keydown", moveBy);
  matrix.addEventListener("mousemove", (event) => { const at = cellAt(event); if (at) tellCell(...at); });
  matrix.addEventListener("click", (event) => { const at = cellAt(event); if (at) [state.b, state.q] = at, chosen(); });
  drawBoard();
  for (const part of Object.keys(PARTS)) setTimeout(show, 0, part);
  setTimeout(() => (document.documentElement.dataset.drawn = Math.round(performance.now())));
  let waiting = 0;
  const redraw = () => { clearTimeout(waiting), (waiting = setTimeout(() => again("questions"), 120)); };
  window.addEventListener("resize", redraw);
  window.addEventListener("beforeprint", () => Object.keys(PARTS).forEach(show));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => again("questions"));
}
start();
