// node shoot.mjs URL FOLDER NAME...: pictures of the page as a desktop, a phone and a wall panel show it. A name is
// desktop-light, phone-dark and so on; with -whole all of the page, with -opened one of the rejects.
import { withPage } from "./browser.mjs";

const [url, folder, ...names] = process.argv.slice(2);
const SIZES = {
  desktop: { viewport: { width: 1440, height: 900 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
  wall: { viewport: { width: 1920, height: 1080 } },
};

for (const name of names) {
  const [size, scheme, more] = name.split("-");
  await withPage({ ...SIZES[size], colorScheme: scheme, locale: "en-GB" }, async (page, complaints) => {
    await page.goto(url + (size === "wall" ? "?wall" : ""));
    await page.waitForSelector(".line .word:not(:empty)");
    await page.waitForTimeout(Number(process.env.WAIT_MS ?? 2500));
    if (more === "opened") {
      await page.locator(".kept button").first().click();
      await page.locator("dialog .picture img").evaluate((image) => image.decode());
    }
    await page.screenshot({ path: `${folder}/${name}.png`, fullPage: more === "whole" });
    if (complaints.length) console.log(`${name}: ${complaints.join("; ")}`);
  });
}
