// node relabel.mjs URL LABEL: watches a reject arrive, opens it, says what it really is; prints what it saw.
import { withPage } from "./browser.mjs";

const [url, label] = process.argv.slice(2);

await withPage({ viewport: { width: 1280, height: 900 } }, async (page, complaints) => {
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(url);
  await page.waitForSelector(".kept li");
  const before = await page.$$eval(".kept li", (entries) => entries.map((entry) => entry.dataset.id));
  const reject = await page.waitForFunction((known) => [...document.querySelectorAll(".kept li")]
    .find((entry) => !known.includes(entry.dataset.id) && entry.querySelector(".badge.reject")), before, { timeout: 60000 });
  const id = await reject.evaluate((entry) => entry.dataset.id);
  await page.locator(`.kept li[data-id="${id}"] button`).click();
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  const seen = await dialog.locator("img").evaluate(async (image) => {
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  });
  const was = await dialog.locator("h2 bdi").textContent();
  await dialog.getByRole("radio", { name: label, exact: true }).check();
  await dialog.getByRole("button", { name: "Save the label" }).click();
  await dialog.getByText(`Kept: ${label}`).waitFor();
  await dialog.getByRole("button", { name: "Close" }).click();
  const elsewhere = asked.filter((address) => !address.startsWith(url) && !address.startsWith("blob:"));
  console.log(JSON.stringify({ id, was, seen, complaints, elsewhere }));
});
