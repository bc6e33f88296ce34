// Drawing with mouse, pen or finger. `element` is what Gradio put around pad.html.
const canvas = element.querySelector("canvas");
const hint = element.querySelector(".pad-place").classList;
const pen = canvas.getContext("2d");
pen.lineWidth = 9;
pen.lineCap = pen.lineJoin = "round";
pen.strokeStyle = "#101010";
let last = null;
const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
};
const draw = (to) => {
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...to);
  pen.stroke();
  last = to;
};
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  hint.add("drawn", "chosen");
  draw(last = place(event)); // a point by itself is drawn too
});
canvas.addEventListener("pointermove", (event) => { if (last) draw(place(event)); });
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
element.querySelector("button").addEventListener("click", () => {
  pen.clearRect(0, 0, canvas.width, canvas.height);
  hint.remove("drawn");
});
// What was given last races: a drawing, an example, an image.
for (const kind of ["click", "change", "drop", "paste"])
  document.addEventListener(kind, (event) => {
    if (event.target.closest?.("#examples, #image")) hint.remove("chosen");
  }, true);
