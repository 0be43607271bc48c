// Holds an AsyncAPI document against the official parser: `node check.mjs FILE`.
// Prints what it finds as one JSON list of {where, severity, message}; severity 0 is an error, 1 a warning, 2 a hint.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Parser } from "@asyncapi/parser";

const file = resolve(process.argv[2]);
const { document, diagnostics } = await new Parser().parse(await readFile(file, "utf8"), { source: file });
const found = diagnostics.map(({ path, severity, message, source }) => ({
  where: path.join("."),
  severity,
  message: source ? `${source}: ${message}` : message,
}));
if (!document && found.length === 0) {
  found.push({ where: "", severity: 0, message: "there is no document" });
}
console.log(JSON.stringify(found));
