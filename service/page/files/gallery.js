// The rejects and reviews that are kept: small pictures, and one of them in full, with what it really is.
import { boxes, surroundings } from "./line.js";
import * as words from "./words.js";
import { element, icon, tell } from "./words.js";

const dialog = document.querySelector("dialog#case");
const find = (selector) => dialog.querySelector(selector);
const SHOWN = 12;
let open = null;

export class Gallery {
  constructor(section, line) {
    this.section = section;
    this.line = line;
    this.items = [];
    this.changes = -1;
    this.old = true;
  }

  // `changes` grows with whatever is kept or relabelled; null: nothing is kept.
  async update(changes) {
    if (changes === this.changes || this.loading) return;
    const hint = this.section.querySelector(".hint");
    if (changes == null) {
      tell(hint, "No pictures are kept.");
      this.changes = changes;
      return;
    }
    this.loading = true;
    try {
      const answer = await fetch(`/evidence?line=${encodeURIComponent(this.line)}`, { cache: "no-store" });
      if (!answer.ok) return;
      this.items = await answer.json();
      this.changes = changes;
      tell(hint, this.items.length ? "" : "None yet.");
      this.show();
    } catch {
      // The device is away: the page says so, and the next event tries again.
    } finally {
      this.loading = false;
    }
  }

  show() {
    const list = this.section.querySelector("ul");
    const there = new Map([...list.children].map((entry) => [entry.dataset.shown, entry]));
    list.replaceChildren(...this.items.slice(0, SHOWN).map((item) => {
      const key = `${item.id} ${item.relabelled ?? ""}`;
      return there.get(key) ?? this.entry(item, key);
    }));
  }

  entry(item, key) {
    const image = element("img", { src: `/evidence/${item.id}/small.jpg`, alt: "", loading: "lazy", decoding: "async" });
    const label = item.relabelled ?? item.label;
    const button = element("button", { type: "button" }, image,
      element("span", { class: `badge ${item.verdict}` }, icon(item.verdict), words.VERDICTS[item.verdict]),
      element("span", { class: "what" }, item.relabelled == null ? null : icon("person"), element("bdi", {}, label)),
      element("span", { class: "when" }, item.relabelled == null ? element("b", {}, words.percent(item.score)) : "a person",
        element("time", { datetime: item.at }, words.timeWithSeconds(Date.parse(item.at)))));
    button.addEventListener("click", () => show(this, item.id));
    return element("li", { "data-shown": key, "data-id": item.id }, button);
  }
}

function title(item) {
  const label = item.relabelled ?? item.label;
  return `${words.VERDICTS[item.verdict]}, ${label}${item.relabelled == null ? ` ${words.percent(item.score)}` : ", as a person said"}`;
}

function show(gallery, id) {
  const item = gallery.items.find((one) => one.id === id);
  if (!item) return;
  open = { gallery, item };
  find("h2").replaceChildren(
    element("span", { class: `badge ${item.verdict}` }, icon(item.verdict), words.VERDICTS[item.verdict]),
    element("bdi", {}, item.label), element("span", { class: "score" }, words.percent(item.score, 1)));
  const image = find("img");
  image.src = `/evidence/${item.id}/picture.jpg`;
  image.alt = `Part ${item.part} of line ${item.line}: ${title(item)}`;
  const svg = find(".overlay");
  const [width, height] = item.size;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  find(".picture").style.aspectRatio = `${width} / ${height}`;
  svg.replaceChildren(...surroundings(item.roi, item.size), ...boxes(item.regions));
  tell(find(".reason"), words.sentence(item.reason));
  const scores = Object.entries(item.scores).sort((a, b) => b[1] - a[1]);
  find(".scores").replaceChildren(...scores.slice(0, 8).map(([label, score]) => {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${score * 100}%`;
    return element("li", {}, element("bdi", {}, label), element("b", {}, words.percent(score, 1)), bar);
  }));
  find(".choices").replaceChildren(...item.labels.map((label) => {
    const choice = element("input", { type: "radio", name: "label", value: label, required: "" });
    choice.checked = label === item.relabelled;
    return element("label", {}, choice, element("bdi", {}, label));
  }));
  find(".undo").hidden = item.relabelled == null;
  tell(find(".told"), item.relabelled == null ? "" : `A person said: ${item.relabelled}`);
  find(".facts").replaceChildren(...facts(item));
  const place = gallery.items.indexOf(item);
  find(".newer").disabled = place === 0;
  find(".older").disabled = place === gallery.items.length - 1;
  if (!dialog.open) dialog.showModal();
}

function facts(item) {
  const shown = [
    ["Line", item.line],
    ["Part", words.count(item.part)],
    ["Decided", words.moment(Date.parse(item.at))],
    ["Model", `${item.model.name} ${item.model.version}, ${item.model.precision}`],
    ["Id", item.id],
  ];
  return shown.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, element("bdi", {}, value))));
}

async function relabel(label) {
  const { gallery, item } = open;
  try {
    const answer = await fetch(`/evidence/${item.id}/label`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ label }),
    });
    if (!answer.ok) {
      tell(find(".told"), (await answer.text()).trim());
      return;
    }
    Object.assign(item, await answer.json());
    gallery.show();
    show(gallery, item.id);
    tell(find(".told"), label == null ? "Taken back" : `Kept: ${label}. The next export has it.`);
  } catch {
    tell(find(".told"), "The device does not answer: try again.");
  }
}

function go(step) {
  const { gallery, item } = open;
  const next = gallery.items[gallery.items.indexOf(gallery.items.find((one) => one.id === item.id)) + step];
  if (next) show(gallery, next.id);
}

find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  relabel(new FormData(event.target).get("label"));
});
find(".undo").addEventListener("click", () => relabel(null));
find(".close").addEventListener("click", () => dialog.close());
find(".newer").addEventListener("click", () => go(-1));
find(".older").addEventListener("click", () => go(1));
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener("keydown", (event) => {
  if (event.target.name === "label") return;
  if (event.key === "ArrowLeft") go(-1);
  if (event.key === "ArrowRight") go(1);
});
