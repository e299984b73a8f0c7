// Figures enlarge on a click; arrow keys go through them, Escape closes.
const frame = $("#enlarged");
const figures = $$(".gallery figure");
let shownFigure = 0;

function enlarge(place) {
  shownFigure = (place + figures.length) % figures.length;
  const figure = figures[shownFigure];
  $("#enlarged-title").textContent = $("figcaption strong", figure).textContent;
  $("img", frame).src = $("img", figure).src;
  $("img", frame).alt = $("img", figure).alt;
  $("p", frame).textContent = [...$("figcaption", figure).childNodes].slice(1).map((node) => node.textContent).join("").trim();
  if (!frame.open) frame.showModal();
}

figures.forEach((figure, place) => $("button", figure).addEventListener("click", () => enlarge(place)));
$$("[data-step]", frame).forEach((button) => {
  button.hidden = figures.length < 2;
  button.addEventListener("click", () => enlarge(shownFigure + Number(button.dataset.step)));
});
frame.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") enlarge(shownFigure - 1);
  if (event.key === "ArrowRight") enlarge(shownFigure + 1);
});
$(".close", frame).addEventListener("click", () => frame.close());
frame.addEventListener("click", (event) => { if (event.target === frame) frame.close(); });
