"use strict";
(() => {
  // asr/training/run_page.py writes the data block: charts[figure][line] = [steps, values, unit].
  const data = JSON.parse(document.getElementById("data").textContent);
  const figures = [...document.querySelectorAll("figure.curves")];
  const newest = figures.map((figure) => [...figure.querySelectorAll(".key b")].map((b) => b.textContent));

  function nearest(steps, step) {
    let low = 0;
    let high = steps.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] < step) low = middle + 1; else high = middle;
    }
    return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low;
  }

  function shown(value, unit) {
    if (unit === "%") return `${(100 * value).toFixed(2)} %`;
    return String(Number(value.toPrecision(4)));
  }

  function read(step) {
    const inner = data.width - data.left - data.right;
    const x = data.left + (inner * step) / data.last_step;
    const [steps, epochs] = data.epochs;
    const epoch = steps && steps.length ? `, epoch ${epochs[nearest(steps, step)]}` : "";
    figures.forEach((figure, index) => {
      const cursor = figure.querySelector(".cursor");
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.removeAttribute("hidden");
      figure.querySelector(".at").textContent = `step ${Math.round(step) + 1}${epoch}`;
      figure.querySelectorAll(".key b").forEach((b, line) => {
        const [at, values, unit] = data.charts[index][line];
        b.textContent = at.length ? shown(values[nearest(at, step)], unit) : "–";
      });
    });
  }

  function leave() {
    figures.forEach((figure, index) => {
      figure.querySelector(".cursor").setAttribute("hidden", "");
      figure.querySelector(".at").textContent = "";
      figure.querySelectorAll(".key b").forEach((b, line) => { b.textContent = newest[index][line]; });
    });
  }

  for (const figure of figures) {
    const drawing = figure.querySelector("svg");
    drawing.addEventListener("pointermove", (event) => {
      const box = drawing.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * data.width;
      const share = (x - data.left) / (data.width - data.left - data.right);
      read(Math.min(Math.max(share, 0), 1) * data.last_step);
    });
    drawing.addEventListener("pointerleave", leave);
  }
  document.documentElement.dataset.ready = "true";
})();
