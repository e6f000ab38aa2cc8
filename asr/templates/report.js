"use strict";
(() => {
  // The order of a row of the data block; asr/report_page.py writes it.
  const COLUMNS = { id: 0, speaker: 1, duration: 2, words: 3, errors: 4, wer: 5, cer: 6,
    reference: 7, hypothesis: 8, alignment: 9, missing: 10, audio: 11 };
  const PAGE = 50;
  const MOST_PAIRS = 2000;
  const NOTHING = "∗∗∗";
  const rows = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const body = byId("rows");
  const haystack = rows.map((row) => [row[0], row[1], row[7], row[8]].join("\n").toLowerCase());
  const state = { sort: "errors", descending: true, page: 0, confusion: null, shown: [] };

  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  // An id out of a file name that is no UTF-8 holds half a character, of which no link can be made.
  const whole = (id) => (id.toWellFormed ? id.toWellFormed() : id);

  function pairs(row) {
    const reference = row[COLUMNS.reference].split(" ");
    const hypothesis = row[COLUMNS.hypothesis].split(" ");
    const found = [];
    let i = 0;
    let j = 0;
    for (const [, kind, length] of row[COLUMNS.alignment].matchAll(/([=SDI])(\d+)/g)) {
      for (let step = 0; step < Number(length); step += 1) {
        found.push([kind, kind === "I" ? null : reference[i++], kind === "D" ? null : hypothesis[j++]]);
      }
    }
    return found;
  }

  function hasConfusion(row, [from, to]) {
    if (row[COLUMNS.errors] === 0) return false;
    if (from.includes(" ") || to.includes(" ")) {
      return ` ${row[COLUMNS.reference]} `.includes(` ${from} `) &&
        ` ${row[COLUMNS.hypothesis]} `.includes(` ${to} `);
    }
    return pairs(row).some(([kind, a, b]) => kind !== "=" && (a || "") === from && (b || "") === to);
  }

  const KINDS = {
    all: () => true,
    wrong: (row) => row[COLUMNS.errors] > 0,
    right: (row) => row[COLUMNS.errors] === 0,
    missing: (row) => row[COLUMNS.missing] === 1,
    empty: (row) => row[COLUMNS.words] === 0,
  };

  function select() {
    const words = byId("filter").value.toLowerCase().trim();
    const kind = KINDS[byId("kind").value];
    const column = COLUMNS[state.sort];
    const sign = state.descending ? -1 : 1;
    const shown = [];
    for (let index = 0; index < rows.length; index += 1) {
      if ((!words || haystack[index].includes(words)) && kind(rows[index]) &&
          (!state.confusion || hasConfusion(rows[index], state.confusion))) shown.push(index);
    }
    const collator = new Intl.Collator(undefined, { numeric: true });
    shown.sort((a, b) => {
      const x = rows[a][column];
      const y = rows[b][column];
      if (x === y) return a - b;
      if (x === null) return 1;
      if (y === null) return -1;
      return sign * (typeof x === "string" ? collator.compare(x, y) : x - y);
    });
    state.shown = shown;
  }

  const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)} %`);

  function alignment(row) {
    const all = pairs(row);
    const box = make("div", { class: "alignment", dir: "auto" });
    const add = (some) => box.append(...some.map(([kind, a, b]) => make("span", { class: `pair ${kind}` },
      make("bdi", { class: "top" }, a === null ? NOTHING : a),
      make("bdi", { class: "bottom" }, b === null ? NOTHING : b))));
    add(all.slice(0, MOST_PAIRS));
    if (all.length <= MOST_PAIRS) return [box];
    const more = make("button", { type: "button" }, `show all ${all.length.toLocaleString()} words`);
    more.addEventListener("click", () => { more.remove(); add(all.slice(MOST_PAIRS)); });
    return [box, more];
  }

  function details(row) {
    const cell = make("td", { colspan: "7" }, ...alignment(row));
    if (row[COLUMNS.missing]) cell.append(make("p", {}, "There was no hypothesis for this utterance."));
    if (row[COLUMNS.audio]) {
      cell.append(make("audio", { controls: "", preload: "none", src: row[COLUMNS.audio] }));
    }
    cell.append(make("a", { href: `#u=${encodeURIComponent(whole(row[0]))}` }, "link to this utterance"));
    return make("tr", { class: "details" }, cell);
  }

  function toggle(button, row) {
    const line = button.closest("tr");
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) line.nextElementSibling.remove(); else line.after(details(row));
  }

  function line(index) {
    const row = rows[index];
    const button = make("button", { class: "open", type: "button", "aria-expanded": "false" }, make("bdi", {}, row[0]));
    button.addEventListener("click", () => toggle(button, row));
    const number = (text) => make("td", { class: "n" }, text);
    return make("tr", { "data-index": String(index) }, make("td", {}, button), make("td", {}, make("bdi", {}, row[1])),
      number(row[2] === null ? "–" : row[2].toFixed(1)), number(String(row[3])), number(String(row[4])),
      number(percent(row[5])), number(percent(row[6])));
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const first = state.page * PAGE;
    body.replaceChildren(...state.shown.slice(first, first + PAGE).map(line));
    byId("status").textContent = `${state.shown.length.toLocaleString()} of ${rows.length.toLocaleString()} utterances` +
      `, page ${state.page + 1} of ${pages}` +
      (state.confusion ? `, with “${state.confusion[0] || "nothing"}” heard as “${state.confusion[1] || "nothing"}”` : "");
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page === pages - 1;
    byId("clear").hidden = !state.confusion;
    for (const head of document.querySelectorAll("#utterances th")) {
      const active = head.dataset.column === state.sort;
      head.setAttribute("aria-sort", active ? (state.descending ? "descending" : "ascending") : "none");
    }
  }

  function update() { state.page = 0; select(); draw(); }

  function followHash() {
    const found = /^#u=(.*)$/.exec(location.hash);
    if (!found) return;
    let id = "";
    try { id = decodeURIComponent(found[1]); } catch { return; }
    const index = rows.findIndex((row) => row[0] === id);
    if (index < 0) { byId("status").textContent = `There is no utterance ${id}.`; return; }
    byId("filter").value = "";
    byId("kind").value = "all";
    state.confusion = null;
    select();
    state.page = Math.floor(state.shown.indexOf(index) / PAGE);
    draw();
    const button = body.querySelector(`tr[data-index="${index}"] button`);
    toggle(button, rows[index]);
    button.focus();
    button.scrollIntoView({ block: "center" });
  }

  for (const head of document.querySelectorAll("#utterances th")) {
    head.querySelector("button").addEventListener("click", () => {
      const column = head.dataset.column;
      const text = column === "id" || column === "speaker";
      state.descending = state.sort === column ? !state.descending : !text;
      state.sort = column;
      update();
    });
  }
  for (const button of document.querySelectorAll("button.confusion")) {
    button.addEventListener("click", () => {
      state.confusion = [button.dataset.reference, button.dataset.hypothesis];
      update();
      byId("utterances-title").scrollIntoView();
      byId("filter").focus({ preventScroll: true });
    });
  }
  let waiting = 0;
  byId("filter").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(update, 120); });
  byId("kind").addEventListener("change", update);
  byId("previous").addEventListener("click", () => { state.page -= 1; draw(); });
  byId("next").addEventListener("click", () => { state.page += 1; draw(); });
  byId("clear").addEventListener("click", () => { state.confusion = null; update(); byId("filter").focus(); });
  addEventListener("hashchange", followHash);
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA|AUDIO)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); byId("filter").focus(); return; }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const buttons = [...body.querySelectorAll("button.open")];
    const at = buttons.indexOf(document.activeElement);
    const to = at < 0 ? undefined : buttons[at + (event.key === "ArrowDown" ? 1 : -1)];
    if (to) { event.preventDefault(); to.focus(); }
  });
  update();
  followHash();
  document.documentElement.dataset.ready = "true";
})();
