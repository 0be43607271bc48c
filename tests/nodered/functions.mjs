// Runs the code of function nodes as Node-RED does, without Node-RED: `node functions.mjs FLOW < STEPS`.
// STEPS: a JSON list of {node: name of a function node, now: ms since 1970, msg}.
// Prints a JSON list: for each step a list of outputs, each of them a list of the messages that leave there.
import { readFileSync } from "node:fs";

const flow = JSON.parse(readFileSync(process.argv[2], "utf8"));
const steps = JSON.parse(readFileSync(0, "utf8"));
let now = 0;
const clock = { now: () => now, parse: Date.parse };
const functions = {};
for (const { type, name, func, outputs } of flow) {
  if (type === "function") {
    const kept = {};
    // A copy, as Node-RED keeps nothing that a function has not set.
    const context = {
      get: (key) => (key in kept ? JSON.parse(kept[key]) : undefined),
      set: (key, value) => (kept[key] = JSON.stringify(value)),
    };
    const code = new Function("msg", "context", "Date", func);
    functions[name] = (msg) => listed(code(msg, context, clock), outputs);
  }
}

// What a function may return: nothing, a message, or a list with nothing, a message or a list of them per output.
function listed(result, outputs) {
  const perOutput = Array.isArray(result) ? result : [result];
  return Array.from({ length: outputs }, (_, output) => [perOutput[output]].flat().filter((msg) => msg != null));
}

const results = steps.map((step) => {
  now = step.now;
  return functions[step.node](step.msg);
});
console.log(JSON.stringify(results));
