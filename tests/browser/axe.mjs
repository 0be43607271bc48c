// node axe.mjs URL: what axe-core finds on the page, in both themes, on a wall panel, and with a picture opened.
import { readFileSync } from "node:fs";
import { withPage } from "./browser.mjs";

const [url] = process.argv.slice(2);
const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const found = [];

async function look(page, where) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  found.push({
    where,
    passes: passes.length,
    violations: violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map((node) => node.html) })),
  });
}

for (const [name, of, more] of [
  ["desktop, light", { viewport: { width: 1440, height: 900 }, colorScheme: "light" }, ""],
  ["desktop, dark", { viewport: { width: 1440, height: 900 }, colorScheme: "dark" }, ""],
  ["phone, light", { viewport: { width: 390, height: 844 }, colorScheme: "light" }, ""],
  ["phone, dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark" }, ""],
  ["wall, dark", { viewport: { width: 1920, height: 1080 }, colorScheme: "dark" }, "?wall"],
]) {
  await withPage({ ...of, bypassCSP: true }, async (page) => {
    await page.goto(url + more);
    await page.waitForSelector(".line .word:not(:empty)");
    await look(page, name);
    const kept = page.locator(".kept button").first();
    if (await kept.count()) {
      await kept.click();
      await page.getByRole("dialog").waitFor();
      await look(page, `${name}, opened`);
    }
  });
}
console.log(JSON.stringify(found));
