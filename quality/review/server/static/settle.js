// The sharp image of a task that a lead settles: the look is recorded first.

import { call } from "./calls.js";

const image = document.getElementById("image");
const button = document.getElementById("reveal");
const blurred = image.getAttribute("src");

button.addEventListener("click", async () => {
  const sharp = button.getAttribute("aria-pressed") !== "true";
  const task = image.dataset.task;
  if (sharp) await call("/api/reveal", { task }, { csrf: document.querySelector(".split").dataset.csrf });
  image.src = sharp ? `/image/${task}?sharp=1` : blurred;
  button.setAttribute("aria-pressed", sharp);
});
