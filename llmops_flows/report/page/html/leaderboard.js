// The leaderboard: a table that sorts by any column, drawn in slices so that hundreds of rows do not block the page.
const SLICE = 60;

function boardColumns() {
  const m = state.metric;
  const plain = (head, value, shown, more) => ({ key: head, head, value, shown, ...more });
  const columns = [
    plain("rank", (v) => v, (v) => String(v + 1)),
    plain("point", (v) => (Number.isNaN(+D.points[v].name) ? D.points[v].name : +D.points[v].name),
      (v) => D.points[v].name),
    ...D.axes.map((axis, n) => plain(axis, (v) => sortable(D.points[v].values[n]),
      (v) => D.points[v].values[n], { text: true })),
  ];
  if (m >= 0) {
    const base = D.points[D.baseline].name;
    columns.push(
      plain(metricName(m), (v) => D.points[v].scores[m][0], (v) => number(D.points[v].scores[m][0]), { m }),
      plain("95 %", (v) => D.points[v].scores[m][1], (v) => interval(D.points[v].scores[m])),
      plain("vs " + base, (v) => D.points[v].against[m][0],
        (v) => (v === D.baseline ? "" : signed(D.points[v].against[m][0]))),
      plain("verdict", (v) => D.points[v].against[m][5], (v) => D.points[v].against[m][5],
        { text: true, style: (v) => verdictStyle(D.points[v].against[m][5]) }),
    );
  }
  columns.push(
    plain("p50 s", (v) => D.points[v].p50, (v) => short(D.points[v].p50)),
    plain("p95 s", (v) => D.points[v].p95, (v) => short(D.points[v].p95)),
    plain("USD", (v) => D.points[v].usd, (v) => short(D.points[v].usd)),
    plain("tokens", (v) => D.points[v].tokens, (v) => short(D.points[v].tokens)),
    plain("known", (v) => D.points[v].known, (v) => share(D.points[v].known)),
    plain("errors", (v) => D.points[v].errors, (v) => (D.points[v].errors ? String(D.points[v].errors) : ""),
      { style: () => "bad" }),
  );
  D.metrics.forEach(([name], n) => {
    if (n !== m) columns.push(plain(name, (v) => D.points[v].scores[n][0], (v) => number(D.points[v].scores[n][0]),
      { m: n, style: (v) => (n === D.metric ? "" : verdictStyle(D.points[v].against[n][5], true)) }));
  });
  const hasValues = (column) => !["USD", "tokens", "errors"].includes(column.key) || D.points.some((_, v) => column.value(v));
  return columns.filter(hasValues);
}

const sortable = (text) => (text !== "" && !Number.isNaN(+text) ? +text : text);
const interval = (score) => (score[1] === null ? "" : number(score[1], 2) + " to " + number(score[2], 2));
const verdictStyle = (verdict, quiet) =>
  verdict === "better" || verdict === "worse" ? verdict : quiet ? "" : "same";

function ordered(columns) {
  const column = columns.find((candidate) => candidate.key === state.sort) || columns[0];
  const rows = D.points.map((_, v) => [column.value(v), v]);
  rows.sort(([first, v], [second, w]) => {
    if (first === null || second === null) return (first === null) - (second === null) || v - w;
    if (typeof first === typeof second && first !== second) return (first < second ? -1 : 1) * state.down;
    if (typeof first !== typeof second) return (typeof first === "number" ? -1 : 1) * state.down;
    return v - w;
  });
  return rows.map(([, v]) => v);
}

function sortBy(column) {
  const best = column.m === undefined ? 1 : lower(column.m) ? 1 : -1;
  state.down = state.sort === column.key ? -state.down : best;
  state.sort = column.key;
  drawBoard();
  saveAddress();
}

let drawing = 0;
function drawBoard() {
  const columns = boardColumns();
  const table = by("lines");
  const heads = columns.map((column) => {
    const sorted = column.key === state.sort ? (state.down > 0 ? "ascending" : "descending") : null;
    const press = el("button", { type: "button", text: breakable(column.head), on: { click: () => sortBy(column) } });
    return el("th", { scope: "col", class: column.text ? "text" : null, "aria-sort": sorted }, press);
  });
  table.tHead.replaceChildren(el("tr", {}, ...heads));
  const order = ordered(columns);
  const body = table.tBodies[0];
  body.replaceChildren();
  const generation = ++drawing;
  const next = (from) => {
    if (generation !== drawing) return;
    body.append(...order.slice(from, from + SLICE).map((v) => boardRow(columns, v)));
    if (from + SLICE < order.length) setTimeout(next, 0, from + SLICE);
  };
  next(0);
}

function boardRow(columns, v) {
  const cells = columns.map((column) => {
    const shown = column.shown(v);
    const style = [column.text ? "text" : "", column.style ? column.style(v) : ""].join(" ").trim();
    return el("td", { class: style || null, title: column.text && shown.length > 24 ? shown : null, text: shown });
  });
  const choose = () => choosePair(state.a, v);
  const key = (event) => {
    if (event.key === "Enter") choose();
    const direction = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const row = direction && event.currentTarget[direction];
    if (row) row.focus(), event.preventDefault();
  };
  const style = [v === state.b ? "chosen" : "", v === D.baseline ? "baseline" : ""].join(" ").trim();
  return el("tr", { tabindex: 0, "data-v": v, class: style || null, on: { click: choose, keydown: key } }, ...cells);
}

function markBoard() {
  for (const row of by("lines").tBodies[0].rows) row.classList.toggle("chosen", +row.dataset.v === state.b);
}
