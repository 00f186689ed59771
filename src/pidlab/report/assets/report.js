"use strict";
// The page's own script: tables of numbers and ROOT objects, made when somebody asks for them and not before.
(() => {
  const content = (id) => document.getElementById(id).textContent.trim();
  const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

  function element(tag, properties = {}, children = []) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // Tables of numbers, from the file that the link beside them downloads.

  function rowsOf(csv) {
    const rows = [];
    for (const line of csv.matchAll(/(?:"(?:[^"]|"")*"|[^"\r\n])+/g)) {
      const cells = line[0].match(/"(?:[^"]|"")*"|[^,"]+|(?<=^|,)(?=,|$)/g) ?? [];
      rows.push(cells.map((cell) => cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell));
    }
    return rows;
  }

  function shown(cell) {
    const number = Number(cell);
    if (cell === "" || Number.isNaN(number) || Number.isInteger(number)) return cell === "" ? "–" : cell;
    return String(Number(number.toPrecision(5)));
  }

  function fill(details) {
    const place = details.querySelector(".table");
    if (place.childElementCount) return;
    const source = details.querySelector("a[download]").href;
    const [header, ...rows] = rowsOf(new TextDecoder().decode(bytes(source.slice(source.indexOf(",") + 1))));
    const row = (cells, tag) => element("tr", {}, cells.map((cell) => element(tag, { textContent: shown(cell) })));
    const table = element("table", {}, [
      element("thead", {}, [row(header, "th")]),
      element("tbody", {}, rows.map((cells) => row(cells, "td"))),
    ]);
    table.querySelectorAll("th").forEach((cell) => { cell.scope = "col"; });
    place.append(table);
  }

  document.querySelectorAll("details.numbers").forEach((details) => {
    details.addEventListener("toggle", () => { if (details.open) fill(details); });
  });

  // ROOT objects: JSROOT and the file are unpacked at the first click.

  let opened;

  async function start() {
    const packed = new Blob([bytes(content("jsroot"))]).stream();
    const code = await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).text();
    document.head.append(element("script", { textContent: code }));
    if (!globalThis.JSROOT) throw new Error("JSROOT did not start");
    JSROOT.gStyle.fOptStat = 0;
    return JSROOT.openFile(bytes(content("results-root")).buffer);
  }

  function options(name, object) {
    const log = /rejection|score_|^inputs\/(?!correlation_)/.test(name) ? ";logy" : "";
    const kind = object._typename;
    if (kind.startsWith("TH2")) return object.fXaxis.fNbins * object.fYaxis.fNbins > 400 ? "colz" : "colz;text";
    if (kind.startsWith("TH1")) return "hist" + log;
    if (kind === "TGraph") return "AL" + log;
    if (kind.startsWith("TGraph")) return (object.fNpoints > 60 ? "A3L" : "AP") + log;
    return "";
  }

  // One drawing after the other in each viewer: JSROOT must finish before its place is cleared.
  const turns = new WeakMap();

  function draw(viewer, name) {
    viewer.dataset.wanted = name;
    viewer.querySelector("[role=status]").textContent = `${name} is being drawn.`;
    turns.set(viewer, (turns.get(viewer) ?? Promise.resolve()).then(() => drawNow(viewer, name)));
  }

  async function drawNow(viewer, name) {
    const [canvas, status] = [viewer.querySelector(".canvas"), viewer.querySelector("[role=status]")];
    if (viewer.dataset.wanted !== name) return;
    try {
      opened ??= start();
      const object = await (await opened).readObject(name);
      if (object.fPassedHistogram?.fArray.some((sum) => sum < 0)) {
        throw new Error(`JSROOT has no intervals for negative sums of weights; ${name}_graph or _value has them`);
      }
      JSROOT.cleanup(canvas);
      canvas.replaceChildren();
      if (object.fNpoints > 60) Object.assign(object, { fFillColor: 17, fFillStyle: 1001 });
      if (object._typename === "TObjString") canvas.append(element("pre", { textContent: object.fString }));
      else await JSROOT.draw(canvas, object, options(name, object));
      if (viewer.dataset.wanted === name) status.textContent = `${name} (${object._typename})`;
    } catch (error) {
      status.textContent = `${name} cannot be drawn: ${error?.message ?? error}`;
    }
  }

  function viewer(names) {
    const select = element("select", {}, names.map((name) => element("option", { value: name, textContent: name })));
    const made = element("div", { className: "viewer" }, [
      element("label", {}, ["Object of results.root: ", select]),
      element("div", { className: "canvas" }),
      element("p", { className: "soft" }),
    ]);
    made.querySelector("p").setAttribute("role", "status");
    select.addEventListener("change", () => draw(made, select.value));
    return made;
  }

  document.querySelectorAll("button.interactive").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => {
      const figure = button.closest("figure, details");
      const there = figure.querySelector(":scope > .viewer");
      if (there) {
        there.hidden = !there.hidden;
        button.setAttribute("aria-expanded", String(!there.hidden));
        return;
      }
      const names = JSON.parse(button.dataset.objects);
      const made = viewer(names);
      figure.append(made);
      button.setAttribute("aria-expanded", "true");
      draw(made, names[0]);
    });
  });
})();
