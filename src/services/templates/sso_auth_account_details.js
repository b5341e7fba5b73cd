const field = document.getElementById("field-username");
const output = document.getElementById("field-username-output");
let last = 0;
field.addEventListener("input", async () => {
  const current = ++last;
  output.textContent = "";
  if (field.value === "") return;
  const response = await fetch("check?username=" + encodeURIComponent(field.value), { credentials: "same-origin" });
  const body = await response.json();
  if (current !== last) return;
  output.textContent = body.available ? "This name is free." : body.error || "Somebody has this name.";
});
