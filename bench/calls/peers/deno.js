// Deno's hello world: one isolate answers every request.
const port = Number(Deno.args[0]);
Deno.serve({ hostname: "127.0.0.1", port }, () => Response.json("hello"));
