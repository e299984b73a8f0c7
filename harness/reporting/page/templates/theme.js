// Runs before the page is drawn, so that neither a chosen theme nor folded tables flash.
(() => {
  document.documentElement.classList.add("js");
  let chosen = null;
  let printing = false;
  try { chosen = localStorage.getItem("theme"); } catch { /* storage may be off */ }
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const dark = !printing && (chosen ? chosen === "dark" : system.matches);
    const root = document.documentElement;
    root.classList.toggle("printing", printing);
    root.classList.toggle("dark", dark);
    root.style.colorScheme = dark ? "dark" : "light";
    dispatchEvent(new Event("themechange"));
  };
  system.addEventListener("change", apply);
  // Charts are as wide as when they were drawn: on paper they are drawn anew, on white ground.
  for (const [when, begins] of [["beforeprint", true], ["afterprint", false]])
    addEventListener(when, () => {
      printing = begins;
      for (const folded of document.querySelectorAll("details.caption")) {
        if (begins) folded.dataset.was = folded.open;
        folded.open = begins || folded.dataset.was === "true";
      }
      apply();
    });
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => {
      button.textContent = document.documentElement.classList.contains("dark") ? "Light theme" : "Dark theme";
    };
    button.addEventListener("click", () => {
      chosen = document.documentElement.classList.contains("dark") ? "light" : "dark";
      try { localStorage.setItem("theme", chosen); } catch { /* then it lasts as long as the page */ }
      apply();
    });
    addEventListener("themechange", name);
    name();
  });
  apply();
})();
