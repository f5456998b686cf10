// Serves the page, opens it in headless Chromium and prints its report. Ends with an error after two minutes without one:
// a page whose thread is blocked never sends it.
//
//     node tools/web/run.mjs FOLDER CHROMIUM [CHROMIUM'S ARGUMENTS...]
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";

const [folder, chromium, ...flags] = process.argv.slice(2);
const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
let finish;
const finished = new Promise((resolve) => (finish = resolve));

const server = createServer(async (request, response) => {
  if (request.method === "POST") {
    let body = "";
    for await (const part of request) body += part;
    response.end();
    finish(body);
    return;
  }
  const path = normalize(new URL(request.url, "http://localhost").pathname);
  try {
    const file = await readFile(join(folder, path === "/" ? "index.html" : path));
    response.setHeader("Content-Type", types[extname(path) || ".html"] ?? "application/octet-stream");
    response.end(file);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const profile = await mkdtemp(join(tmpdir(), "rnn-web-"));
const browser = spawn(
  chromium,
  ["--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", `--user-data-dir=${profile}`, ...flags, `http://127.0.0.1:${server.address().port}/`],
  { stdio: ["ignore", "ignore", process.env.VERBOSE ? "inherit" : "ignore"] },
);
browser.on("error", (error) => finish(`failed ${error.message}`));
const timer = setTimeout(() => finish("failed: no report after 120 s; the page's thread is blocked"), 120_000);
const report = await finished;
clearTimeout(timer);
const gone = new Promise((resolve) => browser.once("exit", resolve));
if (browser.exitCode === null && browser.kill()) await gone;
server.close();
await rm(profile, { recursive: true, force: true, maxRetries: 5 });
console.log(report);
process.exit(report.startsWith("ok ") ? 0 : 1);
