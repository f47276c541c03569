// Copies a secret that is shown once: each button names the field `secret-…` beside it.
document.addEventListener("click", (event) => {
  const button = event.target.closest('button[name="copy"]');
  const field = button && document.getElementById(`secret-${button.value}`);
  if (field) {
    field.select();
    if (navigator.clipboard) {
      navigator.clipboard.writeText(field.value);
    } else {
      document.execCommand("copy");
    }
  }
});
