// Small charts of the last half hour: SVG, drawn anew when there is a new point.
import { drawn, decimal } from "./words.js";

const WIDTH = 300, HEIGHT = 112, TOP = 6, BOTTOM = 16;
const SPAN_MS = 30 * 60 * 1000;

// `series`: for each curve its class and a function from a point to its value, or null where there is none.
export function draw(svg, points, series, label) {
  const now = points.length ? points[points.length - 1][0] : Date.now();
  const first = points.length ? points[0][0] : now;
  const length = Math.min(SPAN_MS, Math.max(5 * 60 * 1000, now - first));
  const x = (at) => WIDTH - ((now - at) / length) * WIDTH;
  const values = points.flatMap((point) => series.map(({ of }) => of(point))).filter((value) => value != null);
  const top = rounded(Math.max(0, ...values));
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
  const parts = [
    drawn("path", { class: "grid", d: `M0 ${y(top)}H${WIDTH}M0 ${y(top / 2)}H${WIDTH}M0 ${y(0)}H${WIDTH}` }),
  ];
  for (const { name, of, filled } of series) {
    const d = curve(points, of, x, y);
    if (filled && d) parts.push(drawn("path", { class: `${name} area`, d: area(points, of, x, y) }));
    parts.push(drawn("path", { class: `${name} curve`, d }));
  }
  parts.push(written(0, y(top) + 10, decimal(top, top < 10 ? 1 : 0), "start"));
  parts.push(written(0, HEIGHT - 3, `${Math.round(length / 60000)} min ago`, "start"));
  parts.push(written(WIDTH, HEIGHT - 3, "now", "end"));
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("aria-label", label);
  svg.replaceChildren(...parts);
}

function curve(points, of, x, y) {
  let d = "", drawing = false;
  for (const point of points) {
    const value = of(point);
    if (value == null) drawing = false;
    else {
      d += `${drawing ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(value).toFixed(1)}`;
      drawing = true;
    }
  }
  return d;
}

function area(points, of, x, y) {
  const there = points.filter((point) => of(point) != null);
  const line = curve(there, of, x, y);
  return `${line}L${x(there[there.length - 1][0]).toFixed(1)} ${y(0)}L${x(there[0][0]).toFixed(1)} ${y(0)}Z`;
}

function written(x, y, text, anchor) {
  const made = drawn("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

// The end of an axis: 1, 2, 3, 5 or 10 times a power of ten.
function rounded(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((times) => times * power >= value) * power;
}
