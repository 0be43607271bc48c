// One line: its card, kept up to date, and its live picture.
import { draw } from "./charts.js";
import { Gallery } from "./gallery.js";
import * as words from "./words.js";
import { drawn, element, icon, tell } from "./words.js";

const EVERY_MS = 250;
const AGAIN_MS = 2000;
const FRESH_MS = 3000;
const POINTS = 180;

export class Line {
  constructor(name, about, history) {
    const card = document.querySelector("template#line").content.firstElementChild.cloneNode(true);
    this.card = card;
    this.name = name;
    this.find = (selector) => card.querySelector(selector);
    tell(this.find(".name"), name);
    card.setAttribute("aria-label", `Line ${name}`);
    this.find(".picture img").alt = `What line ${name} sees now`;
    this.gallery = new Gallery(this.find(".kept"), name);
    this.size = null;
    this.now = null;
    this.visible = false;
    new IntersectionObserver((seen) => { this.visible = seen.some((one) => one.isIntersecting); }).observe(card);
    this.come(about, history);
    this.show();
  }

  come(about, history) {
    this.about = about;
    this.rate = about.per === "part" ? "Parts per minute" : "Decisions per minute";
    tell(this.find(".throughput h3"), this.rate);
    this.points = history;
    this.drawCharts();
  }

  update(now, at) {
    this.now = now;
    this.card.dataset.state = now.state;
    const use = this.find(".state use");
    if (use.getAttribute("href") !== `#${now.state}`) use.setAttribute("href", `#${now.state}`);
    tell(this.find(".word"), words.STATES[now.state]);
    tell(this.find(".state .reason"), words.sentence(now.reason));
    tell(this.find(".since"), `for ${words.span(at - now.since_ms)}`);
    this.countShift(now);
    this.rankDefects(now.shift);
    this.tellLast(now.last, at);
    const known = this.points[this.points.length - 1];
    if (now.point && (!known || known[0] !== now.point[0])) {
      this.points = [...this.points, now.point].slice(-POINTS);
      this.drawCharts();
    }
    this.tellRates(now);
    this.overlay();
    this.nothing();
  }

  countShift({ shift, before, dropped, withheld, evicted, bad_frames }) {
    tell(this.find(".yield strong"), words.shareOf(shift.yield));
    let left = 0;
    this.find(".split").replaceChildren(...["pass", "review", "reject"].map((verdict) => {
      const width = shift.decided ? (shift[verdict] / shift.decided) * 100 : 0;
      const part = drawn("rect", { class: verdict, x: left, y: 0, width, height: 6 });
      left += width;
      return part;
    }));
    const counts = this.find(".counts");
    const shown = [...["pass", "reject", "review"].map((v) => [v, words.VERDICTS[v], shift[v]])];
    if (withheld) shown.push(["lost", "Withheld", withheld]);
    if (dropped) shown.push(["", "Frames dropped", dropped]);
    if (bad_frames) shown.push(["lost", "Bad frames", bad_frames]);
    if (evicted) shown.push(["lost", "Messages evicted", evicted]);
    const text = JSON.stringify(shown);
    if (counts.dataset.shown !== text) {
      counts.dataset.shown = text;
      counts.replaceChildren(...shown.map(([kind, name, n]) =>
        element("div", { class: kind }, element("dt", {}, kind in words.VERDICTS ? icon(kind) : null, name),
          element("dd", {}, words.count(n)))));
    }
    tell(this.find(".before"), before.decided
      ? `Shift before: ${words.shareOf(before.yield)} of ${words.count(before.decided)}` : "");
  }

  rankDefects({ defects, reject }) {
    const list = this.find(".defects ol");
    const text = JSON.stringify(defects);
    if (list.dataset.shown === text) return;
    list.dataset.shown = text;
    this.find(".defects .hint").hidden = defects.length > 0;
    let sum = 0;
    list.replaceChildren(...defects.slice(0, 6).map(([label, n]) => {
      sum += n;
      const bar = element("span", { class: "bar" });
      bar.style.width = `${(n / defects[0][1]) * 100}%`;
      return element("li", {}, element("bdi", {}, label), element("b", {}, words.count(n)),
        element("span", { class: "sum", title: "of all rejects, with those above" }, words.percent(sum / reject)), bar);
    }));
  }

  tellLast(last, at) {
    const where = this.find(".last");
    const text = last ? JSON.stringify([last.at_ms, words.span(at - last.at_ms)]) : "";
    if (where.dataset.shown === text) return;
    where.dataset.shown = text;
    if (!last) {
      tell(where, "No decision yet");
      return;
    }
    where.dataset.verdict = last.verdict;
    const what = last.label == null ? last.reason : element("bdi", {}, last.label);
    where.replaceChildren(
      element("span", { class: `badge ${last.verdict}` }, icon(last.verdict), words.VERDICTS[last.verdict]),
      element("span", { class: "what" }, what, last.score == null ? "" : ` ${words.percent(last.score)}`),
      element("span", { class: "when" }, `${words.span(at - last.at_ms)} ago`));
  }

  tellRates({ point, fps, latency_ms }) {
    const throughput = this.find(".throughput .figure");
    tell(throughput, `${point ? words.decimal(point[4], 0) : "–"} · ${words.decimal(fps, 1)} frames/s`);
    const { p50, p99 } = latency_ms;
    tell(this.find(".latency .figure"), `${words.milliseconds(p50)} · p99 ${words.milliseconds(p99)}`);
  }

  drawCharts() {
    const last = this.points[this.points.length - 1];
    draw(this.find(".throughput svg"), this.points, [{ name: "rate", of: (point) => point[4], filled: true }],
      `${this.rate} in the last half hour${last ? `, now ${last[4]}` : ""}`);
    draw(this.find(".latency svg"), this.points,
      [{ name: "p99", of: (point) => point[3] }, { name: "p50", of: (point) => point[2], filled: true }],
      `Milliseconds from capture to decision, median and p99${last && last[2] != null ? `, now ${last[2]} and ${last[3]}` : ""}`);
  }

  // The region of interest always, what the last decision found as long as it is new.
  overlay() {
    if (!this.size) return;
    const [width, height] = this.size;
    const svg = this.find(".seen .overlay");
    const last = this.now?.last;
    const regions = last && Date.now() - last.at_ms < FRESH_MS ? last.regions : [];
    const text = JSON.stringify([this.size, this.about.roi, regions.map((region) => region.box)]);
    if (svg.dataset.shown === text) return;
    svg.dataset.shown = text;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren(...surroundings(this.about.roi, this.size), ...boxes(regions));
  }

  nothing() {
    const where = this.find(".nothing");
    const old = !this.came || Date.now() - this.came > FRESH_MS;
    where.hidden = !old;
    this.find(".picture").classList.toggle("old", old);
    tell(where, this.now && this.now.state !== "inspecting" ? "No picture" : "Waiting for a picture");
  }

  // Asks for the next picture when the one before is shown: a slow phone gets fewer, and who does not look none.
  async show() {
    const image = this.find(".picture img");
    while (!this.gone) {
      let pause = EVERY_MS;
      if (this.visible && !document.hidden) {
        const begun = performance.now();
        try {
          const answer = await fetch(`/lines/${encodeURIComponent(this.name)}/picture.jpg`, { cache: "no-store" });
          if (answer.status === 200) {
            await put(image, await answer.blob());
            this.size = answer.headers.get("X-Frame-Size").split("x").map(Number);
            this.find(".picture").style.aspectRatio = `${this.size[0]} / ${this.size[1]}`;
            this.card.style.setProperty("--shape", this.size[0] / this.size[1]);
            this.came = Date.now();
            this.overlay();
            this.nothing();
          } else pause = AGAIN_MS;
        } catch {
          pause = AGAIN_MS;
        }
        pause = Math.max(20, pause - (performance.now() - begun));
      }
      await new Promise((done) => setTimeout(done, pause));
    }
  }

  leave() {
    this.gone = true;
    this.card.remove();
  }
}

// The region of interest, if there is one, and what lies beside it darker.
export function surroundings(roi, [width, height]) {
  if (!roi) return [];
  const [x, y, w, h] = roi;
  const outline = `M0 0H${width}V${height}H0ZM${x} ${y}V${y + h}H${x + w}V${y}Z`;
  return [drawn("path", { class: "beside", d: outline }), drawn("rect", { class: "roi", x, y, width: w, height: h })];
}

export function boxes(regions) {
  return regions.map(({ box: [x, y, width, height] }) => drawn("rect", { class: "region", x, y, width, height }));
}

async function put(image, blob) {
  const before = image.src, next = URL.createObjectURL(blob);
  image.src = next;
  await image.decode();
  image.hidden = false;
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
}
