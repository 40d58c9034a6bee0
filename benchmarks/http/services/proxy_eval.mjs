// GrowthBook's remote evaluation behind the smallest server: POST {"attributes": {…}}.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { evaluateFeatures } from "@growthbook/proxy-eval";

const [port, file] = process.argv.slice(2);
const payload = JSON.parse(readFileSync(file, "utf8"));

createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", async () => {
    const { attributes } = JSON.parse(Buffer.concat(parts));
    const body = JSON.stringify(await evaluateFeatures({ payload, attributes }));
    response.writeHead(200, {
      "Content-Type": "application/json",
      "Content-Length": Buffer.byteLength(body),
    });
    response.end(body);
  });
}).listen(Number(port), "127.0.0.1");
