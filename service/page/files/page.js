// The page: hears the events of the device and hands them to the lines.
import { Line } from "./line.js";
import * as words from "./words.js";
import { element, icon, tell } from "./words.js";

const SILENT_MS = 5000;
const lines = new Map();
let heard = Date.now();
let told = null;

const find = (selector) => document.querySelector(selector);

function update(news) {
  heard = Date.now();
  told = news;
  const names = news.lines.map((line) => line.name);
  for (const [name, line] of lines) {
    if (!names.includes(name)) {
      line.leave();
      lines.delete(name);
    }
  }
  const main = find("#lines");
  for (const now of news.lines) {
    let line = lines.get(now.name);
    if (now.about && line) line.come(now.about, now.history);
    if (!line) {
      if (!now.about) {
        connect(); // a line that is new: ask for all about it
        return;
      }
      line = new Line(now.name, now.about, now.history);
      lines.set(now.name, line);
    }
    line.update(now, news.now_ms);
    line.gallery.update(news.evidence);
  }
  const cards = names.map((name) => lines.get(name).card);
  if (cards.some((card, place) => main.children[place] !== card) || main.children.length !== cards.length) {
    main.replaceChildren(...cards);
  }
  main.dataset.count = Math.min(cards.length, 4);
  tellNode(news);
  tellDevice(news);
  find("#lost").hidden = true;
  document.body.classList.remove("away");
}

function tellNode({ node, shift, now_ms, broker, outbox, note, device, lines: states }) {
  tell(find("#node"), node);
  const worst = ["fault", "blind", "waiting"].find((state) => states.some((line) => line.state === state));
  document.title = `${worst ? `${words.STATES[worst]} – ` : ""}${node}`;
  tell(find("#shift"), `Shift ${words.timeOfDay(shift.since_ms)}–${words.timeOfDay(shift.until_ms)}`);
  tell(find("#time"), words.timeWithSeconds(now_ms));
  const facts = [
    [broker.connected ? "good" : "bad", broker.connected ? "Broker connected" : "Broker away"],
    [outbox.problem ? "bad" : "good", outbox.waiting ? `${words.count(outbox.waiting)} waiting` : "All delivered"],
  ];
  if (device.temperature_c != null) {
    facts.push([device.problems.length ? "bad" : "good", `${words.decimal(device.temperature_c, 0)} °C`]);
  }
  list(find("#facts"), facts, ([kind, text]) => element("li", { class: kind }, icon(kind === "good" ? "pass" : "fault"), text));
  const problems = [broker.connected ? "" : broker.problem, outbox.problem, note, ...(device.problems ?? [])].filter(Boolean);
  find("#notes").hidden = problems.length === 0;
  list(find("#notes"), problems, (text) => element("li", {}, icon("fault"), words.sentence(text)));
}

function tellDevice({ device, outbox, broker, version }) {
  const shown = [];
  if (device.model) shown.push(["Device", device.model]);
  if (device.temperature_c != null) shown.push(["Temperature", device.temperature ?? `${device.temperature_c} °C`]);
  if (device.throttling) shown.push(["Throttling", device.throttling]);
  if (device.power_mode) shown.push(["Power mode", device.power_mode]);
  if (device.memory) {
    const { total_mib, available_mib, ours_mib } = device.memory;
    shown.push(["Memory", `${words.mib(available_mib)} of ${words.mib(total_mib)} free, edgecls has ${words.mib(ours_mib ?? 0)}`]);
  }
  if (device.disk) shown.push(["Disk", `${words.mib(device.disk.free_mib)} of ${words.mib(device.disk.total_mib)} free`]);
  if (device.cores) shown.push(["Processor", `load ${words.decimal(device.load, 2)} of ${device.cores} cores`]);
  shown.push(["Broker", `${broker.where}: ${broker.connected ? "connected" : broker.problem || "away"}`]);
  shown.push(["Outbox", outbox.problem || (outbox.waiting ? `${words.count(outbox.waiting)} decisions wait` : "everything is delivered")]);
  shown.push(...ofLines("Model", ({ model, engine }) => `${model}, as ${engine}`));
  shown.push(...ofLines("Tuning", ({ tuned }) => (tuned
    ? `${tuned.plan}: ${words.milliseconds(tuned.p50_ms)}, ${words.decimal(tuned.fps, 0)} inferences/s`
    : "not tuned: edgecls tune finds the quickest engine")));
  shown.push(["Version", `edgecls ${version}${device.up_s ? `, device up for ${words.span(device.up_s * 1000)}` : ""}`]);
  list(find("#device-facts"), shown, ([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  find("#device").hidden = false;
}

// What is the same for several lines is told once.
function ofLines(name, tell) {
  const told = new Map();
  for (const line of lines.values()) told.set(tell(line.about), [...(told.get(tell(line.about)) ?? []), line.name]);
  return [...told].map(([text, names]) => [told.size > 1 ? `${name} of ${names.join(", ")}` : name, text]);
}

function list(where, entries, make) {
  const text = JSON.stringify(entries);
  if (where.dataset.shown === text) return;
  where.dataset.shown = text;
  where.replaceChildren(...entries.map(make));
}

let events = null;

function connect() {
  events?.close();
  events = new EventSource("/events");
  for (const name of ["all", "now"]) events.addEventListener(name, (event) => update(JSON.parse(event.data)));
}

// What is no longer true must not look as if it were.
setInterval(() => {
  if (document.hidden) return;
  const silent = Date.now() - heard;
  if (silent < SILENT_MS) return;
  document.body.classList.add("away");
  const lost = find("#lost");
  lost.hidden = false;
  tell(lost, told
    ? `No connection to the device. What you see is from ${words.timeWithSeconds(told.now_ms)}.`
    : "No connection to the device.");
  if (events.readyState === EventSource.CLOSED) connect();
}, 1000);

// Who does not look costs the device nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) events.close();
  else {
    heard = Date.now();
    connect();
  }
});
connect();
