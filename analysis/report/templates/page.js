"use strict";
const page = (() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  function made(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  /* Storage may be forbidden to a page from a file: then nothing is remembered. */
  function remember(store, key, value) {
    try { window[store].setItem(key, value); } catch {}
  }
  function remembered(store, key) {
    try { return window[store].getItem(key); } catch { return null; }
  }

  /* Light or dark: the system's until the button was used. Figures take the text's colour, so nothing is drawn anew. */
  function theme() {
    const button = document.getElementById("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
    const name = () => { button.textContent = dark() ? "Light" : "Dark"; button.title = `Show the page ${dark() ? "light" : "dark"}`; };
    button.onclick = () => {
      root.dataset.theme = dark() ? "light" : "dark";
      remember("localStorage", "theme", root.dataset.theme);
      name();
    };
    system.addEventListener("change", name);
    button.hidden = false;
    name();
  }

  /* Tables: a header sorts up, down, and back to the order of the page; numbers by their full precision. */
  const FILTERED_FROM = 8;
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function key(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    return text === "" || text === "–" ? null : text;
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null); // what is missing comes last, whichever way
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? a - b : collator.compare(a, b));
  }

  function sort(table, rows, header) {
    const next = { none: "ascending", ascending: "descending", descending: "none" }[header.ariaSort];
    for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
    header.ariaSort = next;
    let order = rows;
    if (next !== "none") {
      const sign = next === "ascending" ? 1 : -1;
      const keyed = rows.map((row) => [row, key(row, header.cellIndex)]);
      order = keyed.sort((a, b) => compare(a[1], b[1], sign)).map(([row]) => row);
      table.dataset.sorted = next;
    } else delete table.dataset.sorted;
    table.tBodies[0].append(...order);
  }

  function filter(region, rows) {
    const count = made("output", { ariaLive: "polite" });
    const input = made("input", { type: "search", placeholder: `Filter ${rows.length} rows`, ariaLabel: `Filter, ${region.getAttribute("aria-label")}` });
    const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
    input.oninput = () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        const fits = wanted.every((word) => texts[i].includes(word));
        row.classList.toggle("out", !fits);
        shown += fits;
      });
      count.textContent = wanted.length ? `${shown} of ${rows.length}` : "";
    };
    region.before(made("div", { className: "tools" }, input, count));
  }

  /* Columns that the page has no room for fold, the lesser ones first, and are named below the table. */
  function rank(header, i) {
    const is = (name) => header.classList.contains(name);
    return i === 0 || is("kept") ? 0 : is("lesser") ? 3 : is("setting") ? 2 : is("num") ? 1 : 0;
  }

  function fit(region, table, button) {
    const headers = [...table.tHead.rows[0].cells];
    const rows = [...table.rows];
    const fold = (i, on) => { for (const row of rows) row.cells[i]?.classList.toggle("folded", on); };
    headers.forEach((header, i) => { if (header.classList.contains("folded")) fold(i, false); });
    const order = headers.map((header, i) => [rank(header, i), i]).filter(([first]) => first).sort((a, b) => b[0] - a[0] || b[1] - a[1]);
    const names = [];
    while (order.length && table.offsetWidth > region.clientWidth) {
      const [[, i]] = order.splice(0, 1);
      fold(i, true);
      names.unshift(headers[i].textContent);
    }
    button.hidden = !names.length;
    button.textContent = `${names.length} more column${names.length === 1 ? "" : "s"}: ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", …" : ""}`;
  }

  const LONG = /\S{21}/; // a word that may break anywhere

  function folding(region, table) {
    for (const cell of all("td.text", table)) if (LONG.test(cell.textContent)) cell.classList.add("long");
    const button = made("button", { type: "button", className: "fold", hidden: true });
    button.onclick = () => button.setAttribute("aria-expanded", table.classList.toggle("whole"));
    button.setAttribute("aria-expanded", false);
    region.after(button);
    let width = 0;
    new ResizeObserver(() => {
      if (region.clientWidth === width || table.classList.contains("whole")) return;
      width = region.clientWidth;
      fit(region, table, button);
    }).observe(region);
  }

  function tables() {
    for (const region of all(".scroll")) {
      const table = region.querySelector("table");
      const rows = [...table.tBodies[0].rows];
      if (rows.length > 1) {
        for (const header of table.tHead.rows[0].cells) {
          const button = made("button", { type: "button", onclick: () => sort(table, rows, header) }, ...header.childNodes);
          header.ariaSort = "none";
          header.append(button);
        }
      }
      if (rows.length >= FILTERED_FROM) filter(region, rows);
      folding(region, table);
    }
  }

  /* The section that is being read, in the contents beside the page. */
  function contents() {
    const links = new Map(all(".side a").map((link) => [link.hash.slice(1), link]));
    const parts = all("header[id], section[id]").filter((part) => links.has(part.id));
    const mark = () => {
      const here = parts.findLast((part) => part.getBoundingClientRect().top < innerHeight / 3) || parts[0];
      for (const [id, link] of links) id === here?.id ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
    };
    addEventListener("scroll", mark, { passive: true });
    mark();
  }

  /* Figures. */
  const PANEL = 250, SINGLE = 760;

  /* A specification whose panels fill `room` pixels, `slack` of each being for axes and space between. */
  function shaped(spec, room, slack) {
    const panels = spec.concat || spec.hconcat;
    if (panels) {
      const { hconcat, ...rest } = spec;
      const columns = Math.max(1, Math.min(spec.columns || panels.length, Math.floor(room / PANEL)));
      return { ...rest, columns, concat: panels.map((panel) => shaped(panel, room / columns, slack)) };
    }
    if (spec.vconcat) return { ...spec, vconcat: spec.vconcat.map((panel) => shaped(panel, room, slack)) };
    if (spec.facet && spec.spec) {
      const columns = Math.max(1, Math.min(spec.columns || 1, Math.floor(room / PANEL)));
      return { ...spec, columns, spec: shaped(spec.spec, room / columns, slack) };
    }
    if (spec.width !== undefined && typeof spec.width !== "number") return spec;
    if (spec.width && spec.width === spec.height) {
      const side = Math.max(60, Math.min(1.6 * spec.width, room - slack)); // a square stays one
      return { ...spec, width: side, height: side };
    }
    return { ...spec, width: Math.max(60, room - slack) };
  }

  function columnsOf(spec, room) {
    const panels = spec.concat || spec.hconcat || (spec.facet && spec.spec ? Array(spec.columns || 1) : [spec]);
    return Math.max(1, Math.min(spec.columns || panels.length, panels.length, Math.floor(room / PANEL)));
  }

  /* The names of a legend, where the specification lists them; the longest says how many stand side by side. */
  function legendColumns(spec, room) {
    let longest = 0;
    JSON.stringify(spec, (key, value) => {
      if (key === "datasets") return undefined;
      if (key === "color" && Array.isArray(value?.scale?.domain)) longest = Math.max(longest, ...value.scale.domain.map((name) => String(name).length));
      return value;
    });
    return longest ? Math.min(6, Math.max(1, Math.floor(room / (7 * Math.min(longest, 45) + 40)))) : room < 520 ? 1 : 2;
  }

  function themed(config, spec, room) {
    return {
      ...config,
      axis: { ...config.axis, labelLimit: Math.min(config.axis.labelLimit, Math.round(room * 0.42)) },
      legend: { ...config.legend, columns: legendColumns(spec, room), labelLimit: Math.min(room - 40, 420) },
    };
  }

  const views = new Map(), lists = new Map();

  async function embed(chart, drawing) {
    const spec = drawing.specs[chart.dataset.figure];
    const room = Math.min(chart.clientWidth, chart.closest(".wide") ? Infinity : SINGLE);
    const options = { actions: false, renderer: "svg", defaultStyle: false, config: themed(drawing.config, spec, room), tooltip: { disableDefaultStyle: true } };
    let slack = 70;
    for (const last of [false, true]) {
      views.get(chart)?.finalize();
      chart.replaceChildren();
      views.set(chart, await vegaEmbed(chart, shaped(spec, room, slack), options));
      const over = chart.querySelector("svg").width.baseVal.value - room;
      if (last || (over <= 0 && over > -12)) break;
      slack += Math.ceil(over / columnsOf(spec, room));
    }
    chart.classList.add("drawn");
    chart.dataset.room = room;
    if (lists.get(chart)?.value) await pick(chart, lists.get(chart).value);
  }

  async function drawn(chart, drawing) {
    try {
      await embed(chart, drawing);
    } catch (error) {
      console.error(chart.dataset.figure, error);
      chart.replaceChildren(made("p", { className: "soft" }, `This figure could not be drawn here; it is in figures/${chart.dataset.figure}.svg.`));
    }
  }

  const breath = () => new Promise((resume) => setTimeout(resume));

  async function draw() {
    const drawing = JSON.parse(document.getElementById("drawing").textContent);
    const charts = all("[data-figure]");
    for (const chart of charts) {
      await drawn(chart, drawing);
      await breath();
    }
    choices();
    let waiting;
    new ResizeObserver(() => {
      clearTimeout(waiting);
      waiting = setTimeout(async () => {
        if (matchMedia("print").matches) return;
        for (const chart of charts) {
          const room = Math.min(chart.clientWidth, chart.closest(".wide") ? Infinity : SINGLE);
          if (Math.abs(room - chart.dataset.room) > 8) await drawn(chart, drawing);
        }
      }, 150);
    }).observe(document.querySelector("main"));
    ready();
  }

  /* Legends answer to a mouse only: a list above the figures of a section picks a cell in all of them. Learning rates
     that agree share a line, whose name is no cell's. */
  function choices() {
    for (const section of all("section")) {
      const charts = all("[data-figure]", section).filter((chart) => views.get(chart) && signal(chart));
      const named = charts.filter((chart) => chart.dataset.figure !== "curves_lr");
      const cells = new Set(named.flatMap((chart) => views.get(chart).view.scale("color").domain()));
      if (cells.size < 2) continue;
      const list = made("select", { onchange: () => charts.forEach((chart) => pick(chart, list.value)) });
      list.append(made("option", { value: "" }, "all cells"), ...[...cells].map((cell) => made("option", { value: cell }, cell)));
      charts.forEach((chart) => lists.set(chart, list));
      section.querySelector(".figures").before(made("div", { className: "tools" }, made("label", {}, "Bring out", list)));
    }
  }

  const PICKED = "pick_cell_legend";
  const signal = (chart) => PICKED in (views.get(chart).view.getState({ signals: (name) => name === PICKED }).signals);
  function pick(chart, cell) {
    const { view } = views.get(chart);
    const known = view.scale("color").domain().includes(cell);
    return view.signal(PICKED, known ? cell : null).runAsync();
  }

  /* Paper shows everything. */
  function paper() {
    let closed = [];
    addEventListener("beforeprint", () => { closed = all("details:not([open])"); closed.forEach((part) => { part.open = true; }); });
    addEventListener("afterprint", () => closed.forEach((part) => { part.open = false; }));
  }

  /* The page of a run that goes on loads itself again, but not under a reader's hands, nor for ever. */
  const SECONDS = 20, DAY = 86_400_000;
  function reload() {
    const written = Number(document.body.dataset.written);
    if (!written || Date.now() - written > DAY) return;
    const busy = () => all("input, select").some((control) => control.value) || !getSelection().isCollapsed;
    document.getElementById("reload").textContent = `; this page loads itself again every ${SECONDS} s while the run goes on`;
    setInterval(() => {
      if (busy()) return;
      remember("sessionStorage", "scroll", scrollY);
      location.reload();
    }, SECONDS * 1000);
  }

  function ready() {
    const place = document.body.dataset.written && remembered("sessionStorage", "scroll");
    if (place) scrollTo(0, Number(place));
    try { sessionStorage.removeItem("scroll"); } catch {}
    root.dataset.ready = "";
  }

  theme();
  tables();
  contents();
  paper();
  reload();
  return { draw, ready };
})();
