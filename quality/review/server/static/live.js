// Keeps the overview up to date while it is looked at.

const SECONDS = 5;
const part = document.getElementById("live");

setInterval(async () => {
  if (document.hidden || part.contains(document.activeElement) || part.querySelector("details[open]")) return;
  try {
    const response = await fetch("/lead/live");
    if (response.redirected) location.assign("/login");
    else if (response.ok) part.innerHTML = await response.text(); // made and escaped by our own server
  } catch {
    // no server just now: the next round asks again
  }
}, SECONDS * 1000);
