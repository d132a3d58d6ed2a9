// A button that copies a text; without this script it is not shown.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const status = button.parentElement.querySelector("[role=status]");
  button.parentElement.hidden = false;
  button.addEventListener("click", async () => {
    // Browsers give the clipboard to pages from https and from the machine itself only.
    try {
      await navigator.clipboard.writeText(source.textContent);
      status.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(source);
      status.textContent = "Selected; copy it with Ctrl+C or ⌘C.";
    }
  });
}
