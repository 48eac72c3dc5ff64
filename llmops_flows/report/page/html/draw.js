"use strict";
// Elements, numbers and colors. The data of a sweep is shown in text nodes: no string is parsed as markup.
const D = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (name === "text") node.textContent = value;
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const el = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
const draw = (tag, properties, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);

const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const signed = (value, digits = 3) => (value === null ? "–" : (value > 0 ? "+" : "") + value.toFixed(digits));
const share = (value) => (value === null ? "–" : Math.round(value * 100) + " %");
const short = (value) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return (value / 1e6).toFixed(1) + " M";
  if (size >= 1e4) return (value / 1e3).toFixed(1) + " k";
  return String(+value.toPrecision(3));
};
const cutText = (value, most) => (value.length > most ? value.slice(0, most - 1) + "…" : value);
const words = (n) => (n < 0 ? null : D.texts[n]);

const metricName = (m) => (m < 0 ? "" : D.metrics[m][0]);
const lower = (m) => m >= 0 && D.metrics[m][1];
const brief = (v) => [D.points[v].name, ...D.points[v].values.map((value) => cutText(value, 32))].join(" · ");
const breakable = (name) => name.replace(/[_.]/g, "$&\u200b");
const called = (v) => {
  const values = D.axes.map((axis, n) => axis + "=" + cutText(D.points[v].values[n], 32)).join(", ");
  return D.points[v].name + (values ? ": " + cutText(values, 110) : "");
};
const outcome = (v, q) => (D.cells[v][q] < 0 ? null : D.outcomes[q][D.cells[v][q]]);
const scoreOf = (v, q, m) => {
  const cell = outcome(v, q);
  return cell && cell[1] < 0 && m >= 0 ? cell[2 + m] : null;
};
const questionName = (q) => D.questions[q][0] + "  " + cutText((words(D.questions[q][1]) || "").replace(/\s+/g, " "), 90);

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => el("option", { value, text })));
  select.value = String(chosen);
}

// -- the selection, saved in the address of the page so that a view can be shared ----------------------------------------
const state = { metric: D.metric, sort: "rank", down: 1, x: "", y: "", a: D.baseline, b: 0, q: 0, stagePoint: -1 };

function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of parameters) {
    if (!Object.hasOwn(state, name)) continue;
    state[name] = typeof state[name] === "number" ? Number.parseInt(value, 10) || 0 : value;
  }
  const within = (value, size, otherwise) => (value >= 0 && value < size ? value : otherwise);
  state.metric = within(state.metric, D.metrics.length, D.metric);
  state.a = within(state.a, D.points.length, 0);
  state.b = within(state.b, D.points.length, 0);
  state.q = within(state.q, D.questions.length, 0);
  state.stagePoint = within(state.stagePoint, D.points.length, -1);
}

function saveAddress() {
  const parameters = new URLSearchParams();
  for (const name of ["metric", "a", "b", "q"]) parameters.set(name, state[name]);
  if (state.sort !== "rank") parameters.set("sort", state.sort), parameters.set("down", state.down);
  try {
    history.replaceState(null, "", "#" + parameters);
  } catch {
    // A browser may refuse this for a page from disk. The address stays unchanged.
  }
}

// -- colors ----------------------------------------------------------------------------------------------------------
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const channels = (hex) => [1, 3, 5].map((n) => Number.parseInt(hex.slice(n, n + 2), 16));
const mixed = (low, high, part) => {
  const [from, to] = [channels(low), channels(high)];
  return "rgb(" + from.map((value, n) => Math.round(value + (to[n] - value) * part)).join(",") + ")";
};
