const at = (id) => document.getElementById(id);
const show = (id) => { for (const part of ["start", "ask", "end"]) at(part).hidden = part !== id; };

async function call(address, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const reply = await fetch(address, options);
  const value = await reply.json();
  if (!reply.ok) throw new Error(value.error || reply.statusText);
  at("error").textContent = "";
  return value;
}
