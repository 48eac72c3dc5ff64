// The stages: the states of their answers, their seconds, and their seconds without the cache.
function drawStages() {
  const { names, states, points } = D.stages;
  const chosen = state.stagePoint < 0 ? points : [points[state.stagePoint]];
  const sums = names.map((_, s) => states.concat("seconds", "without the cache").map((_, n) => chosen.reduce((sum, v) => sum + v[s][n], 0)));
  const heads = ["stage", "stage answers", "", ...states, "seconds", "without the cache"];
  by("parts").tHead.replaceChildren(el("tr", {}, ...heads.map((text, n) =>
    el("th", { text, scope: "col", class: n === 0 || n === 2 ? "text" : null }))));
  by("parts").tBodies[0].replaceChildren(...names.map((name, s) => {
    const counts = sums[s].slice(0, states.length);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const bar = el("div", { class: "shares", role: "img", "aria-label": states.map((name, n) => `${counts[n]} ${name}`).join(", ") });
    counts.forEach((count, n) => {
      if (!count) return;
      const piece = el("i", { class: states[n], title: `${counts[n]} ${states[n]}` });
      piece.style.width = (count / total) * 100 + "%";
      bar.append(piece);
    });
    const [seconds, uncached] = sums[s].slice(states.length);
    return el("tr", {}, el("td", { class: "text", text: name }), el("td", { text: String(total) }), el("td", { class: "text" }, bar),
      ...counts.map((count) => el("td", { text: count ? `${count}` : "" })),
      el("td", { text: seconds.toFixed(2) }), el("td", { text: uncached.toFixed(2) }));
  }));
  by("states").replaceChildren(...states.map((name) => el("span", { class: "key" }, el("i", { class: "square " + name }), name)));
  const [seconds, uncached] = [0, 1].map((n) => sums.reduce((sum, row) => sum + row[states.length + n], 0));
  const saved = uncached > 0 ? `: ${share(1 - seconds / uncached)} of the work was reused` : "";
  by("saved").textContent = `${seconds.toFixed(1)} s of work instead of ${uncached.toFixed(1)} s${saved}.`;
}
