// A real Chromium, which talks to nobody but the page under test.
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

// Runs `work` on a page of its own, with what it complained about; `of` is what playwright takes for a context.
export async function withPage(of, work) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
  try {
    const context = await browser.newContext(of);
    const page = await context.newPage();
    const complaints = [];
    page.on("console", (said) => { if (["error", "warning"].includes(said.type())) complaints.push(said.text()); });
    page.on("pageerror", (error) => complaints.push(String(error)));
    await work(page, complaints);
  } finally {
    await browser.close();
  }
}
