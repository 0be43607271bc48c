// Before the first paint: `?wall`, `?dark`, `?light`; without the last two the device's own choice.
(() => {
  const asked = new URLSearchParams(location.search);
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const choose = () => {
    root.dataset.theme = asked.has("dark") || (dark.matches && !asked.has("light")) ? "dark" : "light";
  };
  dark.addEventListener("change", choose);
  choose();
  root.classList.toggle("wall", asked.has("wall"));
})();
