"use strict";

/** Keeps the chosen picture, `{file, name, address}`; `address` is that of a sample. Shows it in the form. */
class PictureChoice {
  constructor(form) {
    this.chosen = null;
    this.mostBytes = Number(form.dataset.mostBytes);
    this.file = form.querySelector("#file");
    this.drop = form.querySelector("#drop");
    this.preview = form.querySelector("#preview");
    this.text = form.querySelector("#chosen");
    this.samples = [...form.querySelectorAll(".sample")];
    this.file.addEventListener("change", () => this.file.files.length && this.take(this.file.files[0]));
    for (const sample of this.samples) sample.addEventListener("click", () => this.takeSample(sample));
    this.listenForDrops();
  }

  listenForDrops() {
    // A picture that is dropped beside the field must not replace the page.
    for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
    this.drop.addEventListener("dragover", () => this.drop.classList.add("over"));
    this.drop.addEventListener("dragleave", () => this.drop.classList.remove("over"));
    this.drop.addEventListener("drop", (event) => {
      this.drop.classList.remove("over");
      if (event.dataTransfer.files.length) this.take(event.dataTransfer.files[0]);
    });
  }

  take(file, name = file.name || "picture", sample = null) {
    this.chosen = { file, name, address: sample?.dataset.address };
    for (const each of this.samples) each.setAttribute("aria-pressed", String(each === sample));
    if (this.preview.src) URL.revokeObjectURL(this.preview.src);
    this.preview.src = URL.createObjectURL(file);
    this.preview.hidden = false;
    // Browsers show no HEIC; the API takes it.
    this.preview.onerror = () => (this.preview.hidden = true);
    this.text.textContent = `${name}, ${size(file.size)}`;
  }

  async takeSample(sample) {
    const response = await fetch(sample.dataset.address);
    this.file.value = "";
    this.take(await response.blob(), sample.dataset.name, sample);
  }

  /** Returns why there is no picture to send, as a sentence; nothing if there is. */
  refused() {
    if (!this.chosen) return "Picture: choose a file, drop one, or take a sample.";
    if (this.chosen.file.size > this.mostBytes)
      return `Picture: the file has ${size(this.chosen.file.size)}; send at most ${size(this.mostBytes)}.`;
    return "";
  }
}

function size(bytes) {
  const megabyte = 1024 * 1024;
  return bytes < megabyte ? `${Math.ceil(bytes / 1024)} KB` : `${(bytes / megabyte).toFixed(1).replace(".0", "")} MB`;
}
