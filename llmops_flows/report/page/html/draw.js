"use strict";
// Elements, numbers and colors. Everything that a sweep says becomes text nodes: no string is ever read as markup.
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
const plural = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;
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
const brief = (v) => [D.variants[v].name, ...D.variants[v].values.map((value) => cutText(value, 32))].join(" · ");
const broken = (name) => name.replace(/[_.]/g, "$&\u200b");
const called = (v) => {
  const apart = D.axes.map((axis, n) => axis + "=" + cutText(D.variants[v].values[n], 32)).join(", ");
  return D.variants[v].name + (apart ? ": " + cutText(apart, 110) : "");
};
const outcome = (v, q) => (D.cells[v][q] < 0 ? null : D.outcomes[q][D.cells[v][q]]);
const scoreOf = (v, q, m) => {
  const found = outcome(v, q);
  return found && found[1] < 0 && m >= 0 ? found[2 + m] : null;
};
const questionName = (q) => D.questions[q][0] + "  " + cutText((words(D.questions[q][1]) || "").replace(/\s+/g, " "), 90);

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => el("option", { value, text })));
  select.value = String(chosen);
}

// -- what is chosen, kept in the page's address so that a view can be shared ------------------------------------------
const state = { metric: D.metric, sort: "rank", down: 1, x: "", y: "", a: D.baseline, b: 0, q: 0, whose: -1 };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of given) {
    if (!Object.hasOwn(state, name)) continue;
    state[name] = typeof state[name] === "number" ? Number.parseInt(value, 10) || 0 : value;
  }
  const within = (value, size, otherwise) => (value >= 0 && value < size ? value : otherwise);
  state.metric = within(state.metric, D.metrics.length, D.metric);
  state.a = within(state.a, D.variants.length, 0);
  state.b = within(state.b, D.variants.length, 0);
  state.q = within(state.q, D.questions.length, 0);
  state.whose = within(state.whose, D.variants.length, -1);
}

function keepAddress() {
  const given = new URLSearchParams();
  for (const name of ["metric", "a", "b", "q"]) given.set(name, state[name]);
  if (state.sort !== "rank") given.set("sort", state.sort), given.set("down", state.down);
  try {
    history.replaceState(null, "", "#" + given);
  } catch {
    // A page from a file may not be allowed to: then the address stays as it is.
  }
}

// -- colors ----------------------------------------------------------------------------------------------------------
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const channels = (hex) => [1, 3, 5].map((n) => Number.parseInt(hex.slice(n, n + 2), 16));
const mixed = (one, other, part) => {
  const [from, to] = [channels(one), channels(other)];
  return "rgb(" + from.map((value, n) => Math.round(value + (to[n] - value) * part)).join(",") + ")";
};
