// Figures and times as people read them, and elements to put them into.

export const STATES = { inspecting: "Inspecting", waiting: "Waiting", blind: "Blind", fault: "Fault" };
export const VERDICTS = { pass: "Pass", reject: "Reject", review: "Review" };

const whole = new Intl.NumberFormat();
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const count = (n) => whole.format(n);
export const decimal = (n, places) =>
  n.toLocaleString(undefined, { minimumFractionDigits: places, maximumFractionDigits: places });
export const percent = (share, places = 0) => `${decimal(share * 100, places)} %`;
export const milliseconds = (ms) => (ms == null ? "–" : `${decimal(ms, ms < 10 ? 1 : 0)} ms`);
export const timeOfDay = (ms) => clock.format(ms);
export const timeWithSeconds = (ms) => seconds.format(ms);
export const moment = (ms) => full.format(ms);
export const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : "");

export function mib(n) {
  return n >= 1024 ? `${decimal(n / 1024, n < 10240 ? 1 : 0)} GiB` : `${count(n)} MiB`;
}

// For how long something has been so.
export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

// Its yield: never 100 % when something was not passed.
export function shareOf(share) {
  if (share == null) return "–";
  return percent(share === 1 ? 1 : Math.min(share, 0.999), 1);
}

// An element; `of` are attributes, children are elements or text.
export function element(name, of = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(of)) if (value != null) made.setAttribute(key, value);
  made.append(...children.filter((child) => child != null));
  return made;
}

export function drawn(name, of = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(of)) if (value != null) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const icon = (name) => drawn("svg", { class: `icon ${name}`, "aria-hidden": "true" }, drawn("use", { href: `#${name}` }));

// Only what differs is written: the page changes every second, and most of it stays.
export function tell(where, text) {
  if (where.textContent !== text) where.textContent = text;
}
