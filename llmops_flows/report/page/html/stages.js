// What each stage did: how often its answer was known, how long it worked, and how long it would have worked.
function drawStages() {
  const { names, states, variants } = D.stages;
  const chosen = state.whose < 0 ? variants : [variants[state.whose]];
  const sums = names.map((_, s) => states.concat("spent", "whole").map((_, n) => chosen.reduce((sum, v) => sum + v[s][n], 0)));
  const heads = ["stage", "stage answers", "", ...states, "seconds", "without the cache"];
  by("parts").tHead.replaceChildren(el("tr", {}, ...heads.map((text, n) =>
    el("th", { text, scope: "col", class: n === 0 || n === 2 ? "text" : null }))));
  by("parts").tBodies[0].replaceChildren(...names.map((name, s) => {
    const counts = sums[s].slice(0, states.length);
    const whole = counts.reduce((sum, count) => sum + count, 0);
    const bar = el("div", { class: "shares", role: "img", "aria-label": states.map((one, n) => `${counts[n]} ${one}`).join(", ") });
    counts.forEach((count, n) => {
      if (!count) return;
      const piece = el("i", { class: states[n], title: `${counts[n]} ${states[n]}` });
      piece.style.width = (count / whole) * 100 + "%";
      bar.append(piece);
    });
    const [spent, all] = sums[s].slice(states.length);
    return el("tr", {}, el("td", { class: "text", text: name }), el("td", { text: String(whole) }), el("td", { class: "text" }, bar),
      ...counts.map((count) => el("td", { text: count ? `${count}` : "" })),
      el("td", { text: spent.toFixed(2) }), el("td", { text: all.toFixed(2) }));
  }));
  by("states").replaceChildren(...states.map((one) => el("span", { class: "key" }, el("i", { class: "square " + one }), one)));
  const [spent, whole] = [0, 1].map((n) => sums.reduce((sum, one) => sum + one[states.length + n], 0));
  const saved = whole > 0 ? `: ${share(1 - spent / whole)} of the work was reused` : "";
  by("saved").textContent = `${spent.toFixed(1)} s of work instead of ${whole.toFixed(1)} s${saved}.`;
}
