// Elements, text and colours. Text from records is only ever set as text.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null).map((child) => child instanceof Node ? child : String(child)));
  return element;
}

const isDark = () => document.documentElement.classList.contains("dark");

// A custom property may hold light-dark(), which only a real property resolves.
const probe = document.body.appendChild(el("span", { hidden: "" }));
function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

const plain = (value) => value === null || value === undefined ? "n/a"
  : typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(6)))
  : typeof value === "number" && Math.abs(value) >= 10000 ? value.toLocaleString("en")
  : String(value);

const percent = (fraction) => fraction === null || fraction === undefined ? "n/a" : (100 * fraction).toFixed(2);

const shorten = (text, length) => text.length > length ? `${text.slice(0, length - 1)}\u2026` : text;

// A library lies in the page as text, so that what does not need it comes first.
async function fromPage(id, load) {
  const stored = document.getElementById(id);
  const address = URL.createObjectURL(new Blob([JSON.parse(stored.textContent)], { type: "text/javascript" }));
  stored.remove();
  try { return await load(address); } finally { URL.revokeObjectURL(address); }
}

const runScript = (address) => new Promise((resolve, reject) => {
  const script = document.createElement("script");
  script.src = address;
  script.onload = resolve;
  script.onerror = reject;
  document.head.append(script);
});
