// Numbers where the pointer is, the age of the page, and a reload while the run lives.
"use strict";
(() => {
  const number = (v) => {
    const size = Math.abs(v);
    if (size !== 0 && (size >= 1e7 || size < 1e-3)) return v.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e").replaceAll("-", "−");
    return String(Number(v.toPrecision(4))).replace("-", "−");
  };
  let tip = null, cross = null;
  const hide = () => { tip?.remove(); cross?.remove(); tip = cross = null; };
  const show = (event, title, rows) => {
    tip ??= document.body.appendChild(Object.assign(document.createElement("div"), { className: "tip" }));
    const head = document.createElement("strong");
    head.textContent = title;
    tip.replaceChildren(head, ...rows.map(([colour, text]) => {
      const row = document.createElement("div");
      if (colour !== null) row.append(Object.assign(document.createElement("b"), { className: "c" + colour }));
      row.append(text);
      return row;
    }));
    const box = tip.getBoundingClientRect();
    const left = event.clientX + 14 + box.width > innerWidth ? event.clientX - 14 - box.width : event.clientX + 14;
    const top = event.clientY + 14 + box.height > innerHeight ? event.clientY - 14 - box.height : event.clientY + 14;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, top) + "px";
  };
  const share = (event, element) => {
    const box = element.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  const nearest = (places, at) => {
    let low = 0, high = places.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places[middle] < at) low = middle + 1; else high = middle;
    }
    return low > 0 && at - places[low - 1] < places[low] - at ? low - 1 : low;
  };
  const onPoint = (element, react) => {
    for (const name of ["pointermove", "pointerdown"]) element.addEventListener(name, react);
    element.addEventListener("pointerleave", hide);
  };
  for (const area of document.querySelectorAll(".area")) {
    const lines = JSON.parse(area.dataset.h).filter((line) => line.p.length > 0);
    onPoint(area, (event) => {
      const at = share(event, area);
      const found = lines.map((line) => [line, nearest(line.p, at)]);
      if (found.length === 0) return;
      const [closest, n] = found.reduce((a, b) => Math.abs(a[0].p[a[1]] - at) <= Math.abs(b[0].p[b[1]] - at) ? a : b);
      if (!cross?.isConnected || cross.parentNode !== area) {
        cross?.remove();
        cross = area.appendChild(Object.assign(document.createElement("div"), { className: "cross" }));
      }
      cross.style.left = 100 * closest.p[n] + "%";
      const rows = found.map(([line, k]) => {
        const elsewhere = line.x[k] === closest.x[n] ? "" : " at " + number(line.x[k]);
        return [line.c, line.n + ": " + number(line.v[k]) + elsewhere];
      });
      show(event, area.dataset.x + " " + closest.x[n], rows);
    });
  }
  for (const strip of document.querySelectorAll(".strip")) {
    const values = strip.dataset.v.split(" "), rows = strip.closest(".rows"), xs = JSON.parse(rows.dataset.xs);
    onPoint(strip, (event) => {
      const n = Math.min(values.length - 1, Math.floor(share(event, strip) * values.length));
      show(event, rows.dataset.x + " " + (xs[n] ?? n), [[null, strip.dataset.n + ": " + values[n]]]);
    });
  }
  for (const bars of document.querySelectorAll("[data-tip]")) {
    onPoint(bars, (event) => show(event, bars.dataset.tip, []));
  }
  addEventListener("scroll", hide, { passive: true });

  for (const [n, details] of document.querySelectorAll("details").entries()) {
    const key = "details " + n;
    try {
      if (sessionStorage.getItem(key) !== null) details.open = sessionStorage.getItem(key) === "true";
      details.addEventListener("toggle", () => sessionStorage.setItem(key, String(details.open)));
    } catch { /* Pages from files have no storage in some browsers. */ }
  }

  const written = Number(document.body.dataset.written), running = document.body.dataset.state === "running";
  const age = document.getElementById("age");
  const say = () => {
    const seconds = Math.max(0, (Date.now() - written) / 1000);
    const ago = seconds < 90 ? Math.round(seconds) + " s" : seconds < 5400 ? Math.round(seconds / 60) + " min" : Math.round(seconds / 3600) + " h";
    const lost = running && seconds > 900 ? " No news for so long: the run may have been killed." : "";
    if (age) age.textContent = (seconds < 86400 ? "Written " + ago + " ago." : "Written " + new Date(written).toLocaleString() + ".") + lost;
    return seconds;
  };
  say();
  setInterval(say, 1000);
  if (running) {
    setInterval(() => {
      const idle = tip === null && String(getSelection()) === "" && document.visibilityState === "visible";
      if (idle && (say() < 900 || Math.random() < 0.1)) location.reload();
    }, 5000);
  }
})();
